"""Facts about the lab, one file for each module."""
