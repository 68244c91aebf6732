"""The earlier path of pipeline/known_cost; the next release drops it."""
