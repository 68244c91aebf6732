"""Exports of runs, studies and experiments."""
