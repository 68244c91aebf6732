"""Character-level recurrent language models: configuration, cells, complexity, generation, n-grams and mixtures."""
