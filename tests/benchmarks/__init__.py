"""Measurements, run by hand: python -m tests.benchmarks.NAME. Machines are noisy: medians and ratios, A B A B."""
