"""A sampler for any Optuna study with one objective whose value is known before a trial runs."""
