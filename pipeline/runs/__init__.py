"""What to do with what was recorded."""
