"""The stage ``report``: pages rewritten from recorded runs."""

import pytest

from pipeline.errors import InputError
from pipeline.report.record import recorded_reproduction
from pipeline.stages.report import rewrite_report
from pipeline.stages.reproduce import reproduce
from pipeline.tracking import recorded
from tests.pools import not_trained, pool_with
from tests.stages.reproductions import ONE, SAID

pytestmark = pytest.mark.usefixtures("_stand_in")


def test_the_pages_are_on_disk_and_among_the_artifacts(done, lab):
    assert done.folder == lab / "mlruns" / "report-quick"
    for name in ("report.html", "result.json", "epochs.csv"):
        text = (done.folder / name).read_text()
        assert text == recorded.read_text(done.reproduction.run_id, f"report/{name}")
        assert "gru-scratch-1x8" in text
    assert (done.folder / "report.md").is_file()
    assert list((done.folder / "figures").glob("*.svg"))
    (run,) = done.reproduction["gru-scratch-1x8"].runs
    assert run.seconds[-1] == run.train_seconds > 0


def test_the_report_judges_the_statements_of_a_file(done, tmp_path):
    path = tmp_path / "said.csv"
    path.write_text(f"{SAID}\nsmall,size,gru-scratch-1x8,It is.,1 k,parameters\n")
    said = rewrite_report(done.reproduction.run_id, str(path))
    assert said.result["verdicts"] == {"small": {"verdict": "reproduced"}}
    assert said.reproduction.commands[-1] == "mlflow run . --env-manager local -e report -P statements=said.csv"
    path.write_text(path.read_text().replace("gru-scratch-1x8", "unknown"))
    with pytest.raises(InputError, match=r"--statements .*said.csv, line 2: configurations has 'unknown'"):
        rewrite_report(done.reproduction.run_id, str(path))


def test_a_report_on_nothing_is_refused(store):
    with pytest.raises(InputError, match="there is no reproduction yet; run `tmlm reproduce` first"):
        rewrite_report("")
    with pytest.raises(InputError, match="0123 is not a run of"):
        recorded_reproduction("0123")


@pytest.mark.slow
def test_a_quick_reproduction_is_reported_on_only_if_there_is_no_other(own):
    assert rewrite_report("").reproduction.run_id == own.reproduction.run_id
    whole = reproduce(ONE, make_pool=pool_with([], not_trained))
    reproduce(ONE, quick=True, make_pool=pool_with([], not_trained))
    assert rewrite_report("").reproduction.run_id == whole.reproduction.run_id


def test_a_reproduction_that_has_not_come_far_enough_says_so(own):
    recorded.artifact_path(own.reproduction.run_id, "text.json").unlink()
    with pytest.raises(InputError, match="has not come far enough to report on; run `tmlm reproduce` again"):
        rewrite_report(own.reproduction.run_id)
