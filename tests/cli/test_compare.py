"""``tmlm compare``."""

import json

from pipeline.tracking.runs import tracked_run
from tests.cli.commands import run


def recorded(corpus: str = "novel", sha256: str = "a", preset: str = "stream", **params: object) -> str:
    with tracked_run("train", "gru-1x4-s0", {"corpus": corpus, "corpus.sha256": sha256}) as training:
        training.params({"preset": preset, **params})
        training.metrics({"perplexity/val": 9.0}, step=1)
    return training.id


def test_compare_shows_what_differs_and_both_texts(trained):
    recorded(cell="gru", hidden_size=4)
    code, out, _ = run("compare", "latest", trained.run_id[:8])
    assert code == 0
    first = next(line for line in out.splitlines() if line.startswith("validation perplexity, last epoch"))
    assert first.split()[-2] == "9"
    assert ["cell", "gru", "lstm"] in [line.split() for line in out.splitlines()]
    assert "num_layers" in out, "which the other has not recorded"
    assert "The texts differ (novel and topics), so their perplexities can't be compared." in out


def test_compare_as_json_has_a_pair_for_each_difference(store):
    first, second = recorded(cell="gru", seed=0), recorded(cell="lstm", seed=0)
    result = json.loads(run("compare", first, second, "--json")[1])
    assert result["run_ids"] == [first, second]
    assert result["options"] == {"cell": ["gru", "lstm"]}
    assert result["figures"]["perplexity/val"] == [9.0, 9.0]
    assert result["warning"] == ""
    other = json.loads(run("compare", recorded(preset="report"), first, "--json")[1])["warning"]
    assert other.startswith("The presets report and stream validate on different characters: only the test")
