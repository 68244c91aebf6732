"""What any program needs: files, signals, workers, processes, progress, plots, statistics."""
