"""Statements of a report as data, and the verdict on each."""
