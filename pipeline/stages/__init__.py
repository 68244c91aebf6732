"""One module for each entry point of MLproject, of the same name, and what they share: bar, page, sweep.

Start with main.
"""
