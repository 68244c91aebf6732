"""MLflow's UI: its saved views, links into it, and the command that starts it."""
