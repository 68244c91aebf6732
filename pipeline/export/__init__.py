"""A run, a study or an experiment as a page and files that need no MLflow."""
