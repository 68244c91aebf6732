"""The main job, one module for each stage, and the sweep of search, answer, reproduce and seeds: start with main."""
