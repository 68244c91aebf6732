"""The search for configurations that trade perplexity against MACs."""
