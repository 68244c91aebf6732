"""Character-level recurrent language models: configuration, cells, complexity, generation and n-gram baselines."""
