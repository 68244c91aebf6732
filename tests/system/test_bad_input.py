"""Bad input through the commands: one message that says what was given and what to do, exit code 2, no run RUNNING."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from models.config import ModelConfig
from pipeline.cli.main import cli
from pipeline.cli.options import checked, option_fields
from pipeline.config import TrainConfig, resolve
from pipeline.tracking.store import _setup, setup
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from tests.cli.commands import run
from tests.labs import TrainedStore, store_at

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--hidden-size", "8", "--epochs", "1", "--batch-size", "8", "--precision", "fp32", "--device", "cpu"]


@dataclass(frozen=True)
class Lab:
    """A store with one small training, and the commands in this process."""

    text: Path
    run_id: str
    checkpoint: Path

    def refused(self, *words: str, code: int = 2) -> str:
        """The message of a command that has to fail; nothing else is printed, and no run is left open."""
        message = refusal(*words, code=code)
        assert "RUNNING" not in statuses()
        return message


def refusal(*words: str, code: int = 2) -> str:
    ended, out, err = run(*words)
    assert (ended, out) == (code, ""), err
    *before, last = err.splitlines()
    assert last.startswith("Error: "), err
    assert len(before) <= 3, err
    assert not [line for line in before if line.startswith("Error: ")], err
    return last


def statuses() -> set[str]:
    setup()
    experiments = [experiment.experiment_id for experiment in MlflowClient().search_experiments()]
    return {run.info.status for run in MlflowClient().search_runs(experiments)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, trained_store: TrainedStore, small_text: Path) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab")
    step = trained_store.copy(home)
    with store_at(home):
        yield Lab(small_text, step.run_id, Path(step.result["checkpoint"]))


@pytest.fixture(autouse=True)
def _no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of MLflow, which the commands turn off where they start."""
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train --corpus TEXT --hidden-size 1000000000", "GB of memory; this machine has"),
        ("train --no-such-option 1", "No such option"),
        ("train --corpus TEXT --batch-size 1000000000", "cannot fill 1000000000 rows of 32; lower --batch-size"),
        (os.fsdecode(b"train --corpus caf\xe9.txt"), r"'caf\udce9.txt' is not UTF-8"),
        ("sample latest --method greedy --top-k 3", "is 3, which greedy does not use; it needs --method sample"),
        ("sample latest --method beam --temperature 2", "--temperature is 2.0, which beam does not use"),
        ("sample latest --beam-width 8", "--beam-width is 8, which sample does not use; it needs --method beam"),
        ("evaluate latest --split val --text TEXT", "--split val is a split of the model's own text: leave it out"),
        ("export latest -o ''", "--output '' is no folder"),
        ("sample latest --length 1000001", "1000001 is not in the range 0<=x<=1000000"),
        ("runs --limit 9223372036854775808", "9223372036854775808 is not in the range"),
        ("cluster keys /dev/null", "DIR /dev/null can't have keys: File exists; give another DIR"),
    ],
)
def test_option_that_can_not_be_is_refused_in_one_message(lab, words, says):
    assert says in lab.refused(*(str(lab.text) if word == "TEXT" else word for word in shlex.split(words)))


anything = st.one_of(
    st.text(max_size=20),
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(
        ["auto", "", "nan", "-inf", "1e999", "0x10", "1_0", "١٢", " 5 ", "--", "-1", "9" * 5000, "\0", "\ud800"]
    ),
)
names = [
    f"--{field.name.replace('_', '-')}" for config in (ModelConfig, TrainConfig) for field in option_fields(config)
]


@given(st.lists(st.tuples(st.sampled_from(names), anything), min_size=1, max_size=3))
def test_any_options_make_a_configuration_or_a_usage_error(pairs):
    seen: list[Any] = []
    command = cli.commands["train"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "callback", lambda **options: seen.append(resolve(checked(options)[1])))
        result = CliRunner().invoke(cli, ["train", *(word for pair in pairs for word in pair)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    if result.exit_code == 0:
        model, train = seen[0]
        assert isinstance(model, ModelConfig)
        assert isinstance(train, TrainConfig)
    else:
        assert result.exit_code == 2
        assert result.stderr.count("Error: ") >= 1


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", ["xyz", "", "é" * 300, "0" * 32, f"runs:/{'0' * 32}/model", "models:/nowhere/1", "s3://a/b", "/dev/zero"]
)
def test_model_that_is_not_there_is_refused_by_its_name(lab, model):
    message = lab.refused("sample", model)
    assert f"MODEL {model}" in message
    assert "give a run id" in message


def test_an_artifact_that_is_not_a_model_is_refused(lab):
    assert "can't be" in lab.refused("sample", f"runs:/{lab.run_id}/plots")


def with_model(**changed: Any) -> Callable[[Lab, Path], None]:
    """Writes a whole checkpoint of ours, digest included, whose model is another."""

    def write(lab: Lab, path: Path) -> None:
        tensors, facts = load_checkpoint(lab.checkpoint)
        save_checkpoint(path, tensors, {**facts, "model": {**facts["model"], **changed}})

    return write


def with_huge_weights(lab: Lab, path: Path) -> None:
    tensors, facts = load_checkpoint(lab.checkpoint)
    save_checkpoint(path, {name: tensor.double() * 1e300 for name, tensor in tensors.items()}, facts)


CHECKPOINTS: dict[str, tuple[Callable[[Lab, Path], Any], str]] = {
    "pipe": (lambda lab, path: os.mkfifo(path), "nor a file"),
    "10^9 units": (with_model(hidden_size=10**9), "parameters; there are"),
    "another cell": (with_model(cell="gru"), "holds no model that this version can build"),
    "a size in words": (with_model(hidden_size="8"), "holds no model that this version can build"),
    "weights too large for fp32": (with_huge_weights, "has values that are not finite"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoint_that_is_none_of_ours_is_refused_in_one_message(lab, tmp_path, kind):
    write, says = CHECKPOINTS[kind]
    path = tmp_path / "other.safetensors"
    write(lab, path)
    message = refusal("sample", str(path))
    assert says in message
    assert str(path) in message


# --- what the system refuses -----------------------------------------------------------------------------------------


def test_a_full_disk_fails_the_run_in_a_sentence_and_keeps_what_was_recorded(lab, small_disk, monkeypatch):
    """The artifacts are on the full disk; the database is not."""
    setup()
    MlflowClient().create_experiment("full", str(small_disk))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "full")
    _setup.cache_clear()
    with (small_disk / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(small_disk).free - 90_000))
    message = lab.refused("train", "--corpus", str(lab.text), *TINY, code=1)
    _setup.cache_clear()
    assert re.search("^Error: .*No space left on device.*; free .*; then resume it with: .*train --resume ", message)
    folder = small_disk / message.split()[-1] / "artifacts"
    assert (folder / "config.yaml").read_text().startswith("corpus:")
    for checkpoint in (folder / "checkpoints").iterdir():
        load_checkpoint(checkpoint)


def test_nobody_reading_the_output_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pipeline", "--help"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
