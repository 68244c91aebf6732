"""Statements of the report: evidence, verdicts, corrections and explanations."""
