"""Speed, measured side by side: see README.md here."""
