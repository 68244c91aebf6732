"""Tools for any program: files, signals, workers, processes, progress, statistics."""
