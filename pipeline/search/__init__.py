"""The search for configurations that trade perplexity against MACs: run, front, sentences, pictures, commands."""
