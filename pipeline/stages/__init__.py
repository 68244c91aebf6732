"""One module for each entry point of MLproject, of the same name, and what they share: bar, page, sweep, tasks.

Start with main.
"""
