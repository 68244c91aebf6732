"""Which sampler finds a front in few trials: surfaces, how they were recorded, all runs, and the page of tables."""
