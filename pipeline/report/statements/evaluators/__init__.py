"""One evaluator for each kind of statement."""
