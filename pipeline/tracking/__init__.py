"""MLflow: the store, runs, records and served models. The only package that imports mlflow."""
