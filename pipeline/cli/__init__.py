"""Commands and options."""
