"""Lose what was not synced at every operation of a command, and look at what is left: ``python -m tests.anomalies``."""
