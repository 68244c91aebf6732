"""What people look at: pages, plots, and what an export writes."""
