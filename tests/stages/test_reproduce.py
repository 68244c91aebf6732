"""A reproduction as a tracked run: what it trains, what it goes on with, and what is put together from its runs."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipeline.cli import doctor
from pipeline.config import ReproduceConfig, report_preset
from pipeline.errors import CheckFailedError, DataUnavailableError, InputError, TrainingDivergedError
from pipeline.report import checks
from pipeline.report.record import COMMANDS_FILE, recorded_commands, recorded_reproduction
from pipeline.report.statements.table import KINDS
from pipeline.report.statements.verdicts import HOLDS, WORDS, Verdict
from pipeline.stages.report import rewrite_report
from pipeline.stages.reproduce import COUNTS, ChecksNotMetError, reproduce
from pipeline.stages.tasks import TrainingTask, do
from pipeline.support.workers import Event, Loss
from pipeline.text.corpus import load_corpus
from pipeline.tracking import recorded
from pipeline.tracking import store as store_module
from pipeline.tracking.names import bare_tags
from pipeline.tracking.store import setup
from pipeline.training.loop import Training
from tests.pools import Inline
from tests.stages.reproductions import ONE, SAID, TWO, WithoutOwnRecipe, trainings

pytestmark = pytest.mark.usefixtures("_stand_in")


class Counting(Inline):
    """How many trainings were submitted, of all pools of a test."""

    given: list[TrainingTask]

    def submit(self, task: Any) -> None:
        super().submit(task)
        if isinstance(task, TrainingTask):
            self.given.append(task)


@pytest.fixture
def given() -> list[TrainingTask]:
    return []


@pytest.fixture
def pool(given) -> Callable[[int], Inline]:
    def make(count: int) -> Inline:
        made = Counting(count)
        made.given = given
        return made

    return make


def test_each_training_is_a_finished_run_nested_in_the_reproductions(done):
    found = trainings(done.reproduction.run_id)
    assert set(found) == {"gru-scratch-1x8", "lstm-scratch-1x8"}
    for each in found.values():
        assert (each.state, len(each.curves["perplexity/val"])) == ("finished", 1)
        assert each.configuration["train"]["preset"] == "report"
    parent = MlflowClient().get_run(done.reproduction.run_id)
    assert (parent.info.status, parent.data.tags["stage"]) == ("FINISHED", "reproduce")
    assert bare_tags(parent.data.tags).get("reproduction.quick", "") == "true"


def test_what_the_runs_came_to_is_put_together_from_the_record(done):
    found = done.reproduction["gru-scratch-1x8"]
    (run,) = found.runs
    (recorded,) = (
        each for each in trainings(done.reproduction.run_id).values() if each.tags["configuration"] == found.id
    )
    assert run.val == recorded.curves["perplexity/val"]
    assert (run.epochs, run.epochs_planned, run.is_whole, run.seed) == (1, 1, True, 0)
    assert run.train_pooled != run.train
    assert [prompt for prompt, _ in run.texts] == ["it has", "proceeded the", "staring hard"]
    assert all(text.startswith(prompt) and len(text) == len(prompt) + 20 for prompt, text in run.texts)
    assert run.test_perplexity is not None
    assert run.train_seconds > 0
    assert not done.reproduction["rnn-torch-1x128"].runs


def test_the_same_command_again_trains_nothing_and_takes_the_same_run(done, given, pool):
    again = reproduce(TWO, quick=True, make_pool=pool)
    assert given == []
    assert again.reproduction.run_id == done.reproduction.run_id
    assert again.reproduction.configurations == done.reproduction.configurations


def test_more_epochs_go_on_with_the_same_run(own, given, pool):
    before = trainings(own.reproduction.run_id)["gru-scratch-1x8"]
    again = reproduce(replace(ONE, epochs=2), quick=True, make_pool=pool)
    assert [task.resumed_run for task in given] == [before.run_id]
    (run,) = again.reproduction["gru-scratch-1x8"].runs
    assert run.run_id == before.run_id
    assert (run.epochs, run.epochs_planned, run.val[0]) == (2, 2, before.curves["perplexity/val"][0])


@pytest.mark.slow
def test_another_seed_is_another_run(own, given, pool):
    again = reproduce(replace(ONE, seeds=2), quick=True, make_pool=pool)
    assert [task.train.seed for task in given] == [1]
    first, second = again.reproduction["gru-scratch-1x8"].runs
    assert (first.seed, second.seed) == (0, 1)
    assert first.val != second.val


@pytest.mark.slow
def test_the_whole_report_has_each_shape_by_our_own_recipe_on_each_text(store, pool, given, monkeypatch):
    class NothingDone(Counting):
        def done(self, task: Any) -> list[Event]:
            if isinstance(task, TrainingTask):
                return [Event("failed", task, TrainingDivergedError("not trained here"), 0)]
            return super().done(task)

    def make(count: int) -> Inline:
        made = NothingDone(count)
        made.given = given
        return made

    done = reproduce(ReproduceConfig(only="gru-*-1x128,gru-torch-2x32", seeds=2), make_pool=make)
    asked = [(task.role, task.model.shape, task.model.implementation, task.train.seed) for task in given]
    assert asked == [
        ("report", "gru-1x128", "scratch", 0),
        ("report", "gru-1x128", "torch", 0),
        ("report", "gru-2x32", "torch", 0),
        ("report", "gru-1x128", "scratch", 1),
        ("report", "gru-1x128", "torch", 1),
        ("report", "gru-2x32", "torch", 1),
        ("same-text", "gru-2x32", "torch", 0),
        ("same-text", "gru-1x128", "torch", 0),
        ("same-text", "gru-2x32", "torch", 1),
        ("same-text", "gru-1x128", "torch", 1),
        ("stream", "gru-2x32", "torch", 0),
        ("stream", "gru-1x128", "torch", 0),
    ]
    assert len(done.result["failed"]) == 12
    assert "not trained here" in done.result["failed"][0]


def test_a_worker_that_is_killed_costs_its_training_once_and_twice_leaves_it_out(store, given):
    class Dying(Counting):
        def done(self, task: Any) -> list[Event]:
            if isinstance(task, TrainingTask) and task.model.cell == "gru":
                return [Event("lost", task, Loss("the process died"), 4711)]
            return super().done(task)

    def make(count: int) -> Inline:
        made = Dying(count)
        made.given = given
        return made

    done = reproduce(TWO, quick=True, make_pool=make)
    assert [task.model.cell for task in given] == ["lstm", "gru", "gru"]
    assert [run.status for run in done.reproduction["lstm-scratch-1x8"].runs] == ["finished"]
    assert done.result["failed"] == ["gru-scratch-1x8, seed 0: the process died; it was lost before"]


@pytest.mark.slow
def test_what_is_stopped_is_gone_on_with(store, given, pool):
    class Stopping(Counting):
        def done(self, task: Any) -> list[Event]:
            if isinstance(task, TrainingTask) and task.model.cell == "gru":
                raise KeyboardInterrupt
            return super().done(task)

    def make(count: int) -> Inline:
        made = Stopping(count)
        made.given = given
        return made

    with pytest.raises(KeyboardInterrupt):
        reproduce(TWO, quick=True, make_pool=make)
    parent = recorded.latest_run({"stage": "reproduce"})
    assert parent is not None
    assert MlflowClient().get_run(parent).info.status == "KILLED"
    given.clear()
    done = reproduce(TWO, quick=True, make_pool=pool)
    assert done.reproduction.run_id == parent
    assert [task.model.cell for task in given] == ["gru"]


def test_a_check_that_is_not_met_says_so_after_all_is_recorded(own, monkeypatch):
    curves = {"train": [[3.0], [3.01], [3.02]], "val": [[3.0], [3.01], [3.02]]}
    monkeypatch.setattr(checks, "d2l_curves", lambda: {"gru-scratch-1x8": curves})
    with pytest.raises(CheckFailedError, match=r"--check is not met by 2 of .*gru-scratch-1x8, seed 0: ") as raised:
        reproduce(ONE, quick=True, check=True, make_pool=Inline)
    assert raised.value.exit_code == 4
    parent = MlflowClient().get_run(own.reproduction.run_id)
    assert parent.info.status == "FAILED"
    assert "outside" in recorded.read_text(own.reproduction.run_id, "report/report.md")
    met = json.loads(recorded.read_text(own.reproduction.run_id, "result.json"))["checks"]
    assert sum(each["is_met"] is False for each in met) == 2


def test_statements_of_a_file_are_judged_and_kept_with_the_reproduction(store, tmp_path, pool):
    statements = tmp_path / "said.csv"
    statements.write_text(f"{SAID}\nbig,size,gru-scratch-1x8,It has 9 k.,9 k,parameters\n")
    done = reproduce(replace(ONE, statements=str(statements)), quick=True, make_pool=pool)
    assert done.result["verdicts"] == {"big": {"verdict": "not reproduced"}}
    assert recorded_reproduction(done.reproduction.run_id).statements == done.reproduction.statements
    assert done.reproduction.commands[0].endswith("-P statements=said.csv -P quick=true")
    again = rewrite_report(done.reproduction.run_id, str(tmp_path / "out"))
    assert [verdict.statement.id for verdict in again.verdicts] == ["big"]


def test_a_training_is_no_reproduction(done):
    (child, _) = trainings(done.reproduction.run_id).values()
    with pytest.raises(InputError, match="is no reproduction"):
        recorded_reproduction(child.run_id)


def test_quick_and_only_that_exclude_each_other_are_refused(store):
    with pytest.raises(InputError, match="--quick trains configurations of at most 64 units"):
        reproduce(ReproduceConfig(only="*-1x128"), quick=True)


def test_without_the_exact_text_nothing_is_begun(store, monkeypatch):
    monkeypatch.setattr("pipeline.stages.reproduce.load_corpus", load_corpus)
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    with pytest.raises(DataUnavailableError) as raised:
        reproduce(TWO, quick=True)
    assert raised.value.exit_code == 3
    assert recorded.latest_run({"stage": "reproduce"}) is None


def test_a_second_command_at_the_same_time_is_refused(store, pool):
    def meanwhile(count: int) -> Any:
        reproduce(TWO, quick=True, make_pool=pool)

    with pytest.raises(InputError, match="is being reproduced by another command"):
        reproduce(TWO, quick=True, make_pool=meanwhile)


def test_only_trainings_by_the_reports_protocol_take_the_precision(store, given, monkeypatch):
    class Planned(Counting):
        def done(self, task: Any) -> list[Event]:
            if isinstance(task, TrainingTask):
                return [Event("failed", task, TrainingDivergedError("not trained here"), 0)]
            return super().done(task)

    def make(count: int) -> Inline:
        made = Planned(count)
        made.given = given
        return made

    reproduce(replace(ONE, precision="bf16"), make_pool=make)
    assert [(task.role, task.train.precision) for task in given] == [
        ("report", "bf16"),
        ("same-text", "fp32"),
        ("stream", "auto"),
    ]


def test_what_it_will_take_is_said_before_it_begins(store, pool, given):
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(ONE, quick=True, say=say, make_pool=pool)
    assert said[0].startswith("1 training by the report's protocol: less than a minute with 2 workers")
    assert "/runs/" in said[0]
    assert given == []


def test_no_more_workers_train_than_the_memory_holds(store, monkeypatch):
    counts = []

    def no_pool(count: int) -> Inline:
        counts.append(count)
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.training.hardware.usable_cores", lambda: 64)
    monkeypatch.setattr("pipeline.training.hardware.memory_of_this_machine", lambda: 10**9)
    with pytest.raises(KeyboardInterrupt):
        reproduce(replace(ONE, workers=None), quick=True, make_pool=no_pool)
    assert counts == [2]


def test_more_workers_than_the_memory_holds_are_refused_before_a_run_is_started(store, monkeypatch):
    monkeypatch.setattr("pipeline.training.hardware.memory_of_this_machine", lambda: 10**9)
    with pytest.raises(InputError, match=r"in 6 workers at once needs about 3 GB of memory; .* lower --workers to 1$"):
        reproduce(replace(ONE, only="*", workers=64), quick=True, make_pool=Inline)
    assert MlflowClient().search_runs(["0"]) == []


def stopped_halfway(count: int) -> Inline:
    """A pool that is stopped by Ctrl-C when half of a training is done."""

    class Interrupted(Inline):
        def done(self, task: Any) -> list[Event]:
            if isinstance(task, TrainingTask):
                do(task, press_ctrl_c)
            return super().done(task)

    def press_ctrl_c(share: float) -> None:
        if share >= 0.5:
            raise KeyboardInterrupt

    return Interrupted(count)


@pytest.mark.slow
def test_what_was_stopped_and_is_asked_for_fewer_epochs_ends_where_it_stands(store, pool):
    with pytest.raises(KeyboardInterrupt):
        reproduce(replace(ONE, epochs=5), quick=True, make_pool=stopped_halfway)
    done = reproduce(ONE, quick=True, make_pool=pool)
    (run,) = done.reproduction["gru-scratch-1x8"].runs
    assert (run.status, run.epochs) == ("finished", 2)


@pytest.mark.slow
def test_what_its_time_cut_short_after_all_epochs_that_are_asked_for_has_nothing_left(store, given, pool):
    reproduce(replace(ONE, epochs=3, max_seconds=0.001), quick=True, make_pool=pool)
    given.clear()
    again = reproduce(ONE, quick=True, make_pool=pool)
    assert given == []
    (run,) = again.reproduction["gru-scratch-1x8"].runs
    assert (run.epochs, run.stopped) == (1, "--max-seconds 0.001")


@pytest.mark.slow
def test_more_time_goes_on_with_what_was_cut_short(store, given, pool):
    first = reproduce(replace(ONE, epochs=2, max_seconds=0.001), quick=True, make_pool=pool)
    given.clear()
    again = reproduce(replace(ONE, epochs=2, max_seconds=100), quick=True, make_pool=pool)
    assert [task.resumed_run for task in given] == [first.reproduction["gru-scratch-1x8"].runs[0].run_id]
    (run,) = again.reproduction["gru-scratch-1x8"].runs
    assert (run.epochs, run.stopped) == (2, "")


@pytest.mark.slow
def test_a_stopped_training_whose_checkpoints_are_gone_is_trained_anew(store, pool, caplog):
    with pytest.raises(KeyboardInterrupt):
        reproduce(replace(ONE, epochs=4), quick=True, make_pool=stopped_halfway)
    (begun,) = trainings(recorded.latest_run({"stage": "reproduce"}) or "").values()
    shutil.rmtree(recorded.artifact_path(begun.run_id, "checkpoints"))
    done = reproduce(replace(ONE, epochs=4), quick=True, make_pool=pool)
    (run,) = done.reproduction["gru-scratch-1x8"].runs
    assert run.run_id != begun.run_id
    assert (run.status, run.epochs) == ("finished", 4)
    assert "has lost its checkpoints" in caplog.text


@pytest.mark.slow
def test_after_a_reproduction_was_deleted_another_one_has_trainings_of_its_own(own, given, pool):
    MlflowClient().delete_run(own.reproduction.run_id)
    again = reproduce(ONE, quick=True, make_pool=pool)
    assert again.reproduction.run_id != own.reproduction.run_id
    assert [run.epochs for run in again.reproduction["gru-scratch-1x8"].runs] == [1]
    assert len(given) == 1


@pytest.mark.slow
def test_a_training_that_was_deleted_is_trained_again(own, given, pool):
    MlflowClient().delete_run(own.reproduction["gru-scratch-1x8"].runs[0].run_id)
    again = reproduce(ONE, quick=True, make_pool=pool)
    assert [run.epochs for run in again.reproduction["gru-scratch-1x8"].runs] == [1]
    assert len(given) == 1


def test_each_word_of_a_verdict_has_its_metric():
    assert tuple(COUNTS) == WORDS
    assert len(set(COUNTS.values())) == len(WORDS)


@pytest.mark.slow
def test_the_runs_counts_are_those_of_the_last_time(own, pool, monkeypatch):
    name = "reproduction/statements_reproduced"
    before = MlflowClient().get_run(own.reproduction.run_id).data.metrics[name]
    monkeypatch.setattr("pipeline.report.statements.judging.EVALUATORS", dict.fromkeys(KINDS, _reproduced))
    reproduce(ONE, quick=True, make_pool=pool)
    after = MlflowClient().get_run(own.reproduction.run_id).data.metrics[name]
    assert before < after == len(own.verdicts)


def _reproduced(statement, evidence):
    return Verdict(statement, HOLDS, "It is.")


def test_a_folder_that_cant_be_written_is_told_before_anything_is_trained(store, tmp_path, given, pool):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output .*file can't be written: .*; give another folder"):
        reproduce(replace(ONE, output=str(tmp_path / "file")), quick=True, make_pool=pool)
    assert given == []


@pytest.mark.slow
def test_a_check_is_not_met_where_a_training_could_not_be_made(store):
    class Failing(Inline):
        def done(self, task: Any) -> list[Event]:
            if isinstance(task, TrainingTask):
                return [Event("failed", task, TrainingDivergedError("the loss is no number"), 0)]
            return super().done(task)

    with pytest.raises(CheckFailedError, match="--check lacks 1 of the trainings: gru-scratch-1x8, seed 0: the loss"):
        reproduce(ONE, quick=True, check=True, make_pool=Failing)


@pytest.mark.slow
@pytest.mark.parametrize("again", [ONE, replace(ONE, epochs=2)])
def test_a_training_that_has_diverged_is_not_made_again_and_misses_the_check_each_time(
    store, monkeypatch, given, again
):
    """By the record: it is the run of the first command that the second one finds."""

    class Reporting(Counting):
        def done(self, task: Any) -> list[Event]:
            try:
                return super().done(task)
            except TrainingDivergedError as error:
                return [Event("failed", task, error, 0)]

    def make(count: int) -> Inline:
        made = Reporting(count)
        made.given = given
        return made

    def not_a_number(training: Training, loss: Any, epoch: int) -> None:
        raise TrainingDivergedError(f"the loss is nan in epoch {epoch}: no number")

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_check_finite", not_a_number)
        with pytest.raises(ChecksNotMetError) as first:
            reproduce(ONE, quick=True, check=True, make_pool=make)
    with pytest.raises(ChecksNotMetError) as second:
        reproduce(again, quick=True, check=True, make_pool=make)
    assert len(given) == 1
    lacking = "gru-scratch-1x8, seed 0: the loss is nan in epoch 1: no number"
    for raised in (first, second):
        assert raised.value.done.result["failed"] == [lacking]
        assert f"--check lacks 1 of the trainings: {lacking}" in str(raised.value)


@pytest.mark.slow
def test_each_command_is_kept_once_and_shown_as_it_was_given(own, pool):
    named = "mlflow run . --env-manager local -e reproduce -P only=gru-scratch-1x8 -P epochs=1"
    assert own.reproduction.commands == (f"{named.replace('-1x8', '-1x8,lstm-scratch-1x8')} -P quick=true",)
    assert own.reproduction.commands_known
    reproduce(replace(ONE, max_seconds=100), quick=True, make_pool=pool)
    again = reproduce(replace(ONE, workers=2), quick=True, make_pool=pool)  # which trains nothing else
    assert again.reproduction.commands == (
        *own.reproduction.commands,
        f"{named} -P max_seconds=100 -P quick=true",
        f"{named} -P quick=true",
    )
    for page in ("report.md", "report.html"):
        text = (again.folder / page).read_text()
        assert all(command in text for command in again.reproduction.commands)
    assert len(recorded_commands(again.reproduction.run_id)[0]) == 3


def test_of_a_reproduction_that_kept_no_commands_the_first_and_the_last_are_known(own, pool):
    recorded.artifact_path(own.reproduction.run_id, COMMANDS_FILE).unlink()  # as before this was kept
    old = recorded_reproduction(own.reproduction.run_id)
    assert (old.commands, old.commands_known) == (own.reproduction.commands, False)
    again = reproduce(replace(ONE, max_seconds=100), quick=True, make_pool=pool)
    assert [each.rpartition("epochs=1 ")[2] for each in again.reproduction.commands] == [
        "-P quick=true",
        "-P max_seconds=100 -P quick=true",
    ]
    assert not again.reproduction.commands_known
    assert "what was asked for between them was not kept" in (again.folder / "report.md").read_text()


def test_what_is_kept_of_a_reproduction_names_no_folder_of_the_machine(done, lab):
    kept = recorded.read_text(done.reproduction.run_id, "result.json")
    assert json.loads(kept)["report"] == "report/report.html"
    pages = [(done.folder / name).read_text() for name in ("report.html", "report.md", "summary.md", "result.json")]
    for text in (kept, *pages):
        assert str(lab) not in text
        assert "/home/" not in text
    assert done.result["report"] == str(done.folder / "report.html")  # what the command prints
    assert "in the UI of the machine it was trained on" in pages[0]


@pytest.mark.slow
def test_more_epochs_than_the_protocols_are_said(store, monkeypatch):
    """With a protocol of two epochs, which is sooner done."""

    def short(model: Mapping[str, Any]) -> dict[str, Any]:
        return {**report_preset(model), "epochs": 2}

    monkeypatch.setattr("pipeline.config.report_preset", short)
    of_the_protocol = reproduce(ReproduceConfig(only="gru-scratch-1x8"), make_pool=WithoutOwnRecipe)
    (run,) = of_the_protocol.reproduction["gru-scratch-1x8"].runs
    assert (run.epochs, run.epochs_planned, run.is_whole) == (2, 2, True)
    page = (of_the_protocol.folder / "report.md").read_text()
    assert "where the protocol has" not in page
    more = reproduce(ReproduceConfig(only="gru-scratch-1x8", epochs=3), make_pool=WithoutOwnRecipe)
    (run,) = more.reproduction["gru-scratch-1x8"].runs
    assert (run.epochs, run.epochs_planned, run.is_whole) == (3, 3, True)
    page = (more.folder / "report.md").read_text()
    assert "GRU scratch 1x8: trained for 3 epochs, where the protocol has 2." in page


@pytest.mark.slow
def test_a_moved_checkout_is_repaired_first_and_nothing_is_trained_twice(own, tmp_path, given, pool, monkeypatch):
    home = store_module.root()
    moved = home.rename(home.with_name("moved"))
    monkeypatch.setattr(store_module, "root", lambda: moved)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # set by the command for what it calls
    setup.cache_clear()
    for command in (lambda: reproduce(ONE, quick=True, make_pool=pool), lambda: rewrite_report("", "", "auto")):
        with pytest.raises(InputError, match=r"moved or copied.*; run `tmlm doctor --repair` first"):
            command()
    assert given == []
    doctor.repair()
    again = reproduce(ONE, quick=True, make_pool=pool)
    assert given == []
    assert again.reproduction["gru-scratch-1x8"].runs == own.reproduction["gru-scratch-1x8"].runs
