"""Recorded configurations: which of their trainings are shown, and how far these have come."""

from dataclasses import replace

from pipeline.report.reproduction import Configuration
from pipeline.report.table import report_rows
from tests.report.page.pages import cut
from tests.report.reproductions import reproduction, training


def test_a_configuration_is_shown_by_its_whole_trainings_or_else_the_furthest():
    row = report_rows()[0]
    ran = [training(row, 5.7, 6.7, seed) for seed in range(3)]
    complexity = reproduction().configurations[0].complexity
    cases = {
        "": (ran[0], ran[1]),
        "not run": (),
        "0 of 50 epochs": (cut(ran[0], 0),),
        "12 of 50 epochs": (cut(ran[0], 12), cut(ran[1], 3)),
        "2 of 3 seeds": (ran[0], ran[1], cut(ran[2], 49)),
        "7 of 50 epochs, stopped by --max-seconds 150": (replace(cut(ran[0], 7), stopped="--max-seconds 150"),),
    }
    shown = {"": 2, "not run": 0, "0 of 50 epochs": 0, "12 of 50 epochs": 1, "2 of 3 seeds": 2}
    for state, runs in cases.items():
        configuration = Configuration(row, complexity, runs)
        assert configuration.state == state
        assert len(configuration.furthest) == shown.get(state, 1)
