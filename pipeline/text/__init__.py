"""Where a text comes from, alphabets, splits and batches."""
