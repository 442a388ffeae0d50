"""Pages for a partner's clerk, at /console: usage, reports, and why a subscriber is billed. What they show is the API's."""
