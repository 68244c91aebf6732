"""The table of d2l's own trainings; no training."""

from tests.benchmarks import record_d2l
from tests.benchmarks.record_d2l import COLUMNS, keep, rows


def test_the_longer_training_of_a_seed_is_kept_and_the_table_stays_alone_in_its_folder(monkeypatch, tmp_path):
    table = tmp_path / "data" / "curves.csv"
    table.parent.mkdir()
    monkeypatch.setattr(record_d2l, "TABLE", table)
    monkeypatch.setattr(record_d2l, "LOCK", tmp_path / "lock")
    for seed, epochs in ((1, 2), (0, 1), (1, 3), (1, 2)):
        keep(dict(zip(COLUMNS, ("gru", str(seed), str(epochs), "1", "9 8", "9 8"), strict=True)))
    assert [(key, row["epochs"]) for key, row in rows().items()] == [(("gru", 0), "1"), (("gru", 1), "3")]
    assert list(table.parent.iterdir()) == [table]
