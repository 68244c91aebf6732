"""The command line: the list of the commands, and how all of them read options and report errors."""
