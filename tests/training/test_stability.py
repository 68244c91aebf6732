"""``fell_over``: from the perplexities of all epochs."""

import pytest

from pipeline.training.stability import fell_over
from tests.figures import read_csv

FALLEN = [9.0, 6.0, 5.0, 4.5, 4.0, 4.5, 4.4, 4.3, 4.2, 4.1]  # 12.5 % up in the sixth epoch


@pytest.mark.parametrize(
    ("train", "best_epoch", "planned", "falls"),
    [
        (FALLEN, 5, 10, True),
        (FALLEN, 6, 10, False),  # at its best late
        (FALLEN, 6, 20, True),  # ended by its patience
        (FALLEN[:9], 5, 20, False),  # of fewer than ten epochs
        ([*FALLEN[:5], 4.39, *FALLEN[6:]], 5, 10, False),  # 9.8 % up
        ([9.0, 6.0, 5.0, 4.0, *FALLEN[5:], 4.0], 4, 10, False),  # up in the fifth epoch
    ],
)
def test_a_training_falls_over_if_it_is_best_early_and_rises_after_the_fifth_epoch(train, best_epoch, planned, falls):
    val = [4.0 + abs(epoch - best_epoch) for epoch in range(1, len(train) + 1)]
    assert fell_over(train, val, planned) == falls


def test_by_recipe_6_three_seeds_of_best_fell_over_on_the_reference_and_none_of_the_default_on_the_book():
    fallen: dict[tuple[str, str], dict[str, bool]] = {}
    for row in read_csv("recipe_trainings.csv"):
        if (row["stage"], row["options"]) == ("before", "{}"):
            train, val = ([*map(float, row[f"{split}_perplexities"].split())] for split in ("train", "val"))
            of_seeds = fallen.setdefault((row["text"], row["preset"]), {})
            of_seeds[row["seed"]] = fell_over(train, val, int(row["epochs"]))
    assert fallen["devref-fr", "best"] == {"0": False, "1": True, "2": True, "3": False, "4": True}
    assert fallen["time-machine", "stream"] == dict.fromkeys("01234", False)
