"""Recorded configurations: which of their trainings are shown, and how far these have come."""

from pipeline.report.reproduction import Configuration
from pipeline.report.table import report_rows
from tests.report.reproductions import cut, reproduction, training


def test_a_configuration_is_shown_by_its_whole_trainings():
    row = report_rows()[0]
    ran = [training(row, 5.7, 6.7, seed) for seed in range(3)]
    complexity = reproduction().configurations[0].complexity
    cases = {
        "": ((ran[0], ran[1]), 2),
        "not run": ((), 0),
        "12 of 50 epochs": ((cut(ran[0], 12), cut(ran[1], 3)), 0),
        "2 of 3 seeds": ((ran[0], ran[1], cut(ran[2], 49)), 2),
    }
    for progress, (runs, shown) in cases.items():
        configuration = Configuration(row, complexity, runs)
        assert (configuration.progress, len(configuration.whole)) == (progress, shown)
