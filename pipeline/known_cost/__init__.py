"""An Optuna sampler for a study with an objective whose value is known before a trial runs.

The folder may be copied into any project: its modules import Optuna, NumPy, SciPy and each other, and nothing else of
this project, which import-linter checks. README.md says how to use it.
"""
