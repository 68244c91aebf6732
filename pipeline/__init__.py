"""The tracked pipeline: corpus, training, evaluation, tracking and the command line."""
