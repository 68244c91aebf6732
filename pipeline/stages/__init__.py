"""One module for each entry point of MLproject, of the same name; start with main."""
