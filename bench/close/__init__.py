"""What it takes to close a month of all partners, beside one scan of the same daily rows."""
