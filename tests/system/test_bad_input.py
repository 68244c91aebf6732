"""Bad input through the commands: one message that says what was given and what to do, exit code 2, no run RUNNING."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from safetensors.torch import save_file
from torch import nn

from models.config import ConfigError, ModelConfig
from models.decoding import Decoding
from models.language_model import LanguageModel
from pipeline.cli.main import cli
from pipeline.cli.options import checked, option_fields
from pipeline.config import TrainConfig, resolve
from pipeline.errors import InputError
from pipeline.text.vocabulary import LETTERS, Vocabulary
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import setup
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.samples import continuations
from tests.labs import make_artifacts_plain

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--hidden-size", "8", "--epochs", "1", "--batch-size", "8", "--precision", "fp32", "--device", "cpu"]


@dataclass(frozen=True)
class Lab:
    """A store with one small training, and the commands in this process."""

    folder: Path
    text: Path
    run_id: str
    checkpoint: Path

    def refused(self, *words: str, code: int = 2) -> str:
        """The message of a command that has to fail; nothing else is printed, and no run is left open."""
        message = refusal(*words, code=code)
        assert "RUNNING" not in statuses()
        return message


def refusal(*words: str, code: int = 2) -> str:
    result = CliRunner().invoke(cli, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len([line for line in lines if line.startswith("Error: ")]) == 1, result.stderr
    assert lines[-1].startswith("Error: ") and len(lines) <= 4, result.stderr  # noqa: PT018
    return lines[-1]


def statuses() -> set[str]:
    setup()
    experiments = [each.experiment_id for each in MlflowClient().search_experiments()]
    return {run.info.status for run in MlflowClient().search_runs(experiments)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, small_text: Path) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        setup.cache_clear()
        with pytest.MonkeyPatch.context() as plain:
            make_artifacts_plain(plain)
            done = CliRunner().invoke(cli, ["train", "--corpus", str(small_text), *TINY, "--json"])
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        yield Lab(folder, small_text, result["run_id"], Path(result["checkpoint"]))
        setup.cache_clear()


@pytest.fixture(autouse=True)
def _store(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{lab.folder}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--hidden-size", "0", "--hidden-size is 0; it must be at least 1"),
        ("--hidden-size", "-1", "--hidden-size is -1; it must be at least 1"),
        ("--hidden-size", "1000000000", "needs about 432,000,0"),
        ("--hidden-size", "abc", "'--hidden-size': 'abc' is not a valid integer"),
        ("--num-layers", "1000000000", "GB: lower --hidden-size or --num-layers"),
        ("--learning-rate", "nan", "--learning-rate is nan; it must be above 0 and at most 1,000"),
        ("--learning-rate", "inf", "--learning-rate is inf; it must be above 0"),
        ("--learning-rate", "-inf", "--learning-rate is -inf; it must be above 0"),
        ("--learning-rate", "0", "--learning-rate is 0.0; it must be above 0"),
        ("--learning-rate", "1e400", "--learning-rate is inf; it must be above 0"),
        ("--cell", "transformer", "'transformer' is not one of 'rnn', 'gru', 'lstm'"),
        ("--no-such-option", "1", "No such option"),
        ("--batch-size", "0", "--batch-size is 0; it must be at least 1"),
        ("--batch-size", "1000000000", "cannot fill 1000000000 rows of 32; lower --batch-size"),
        ("--epochs", "0", "--epochs is 0; it must be at least 1"),
        ("--seed", "-1", "--seed is -1; it must be at least 0"),
        ("--seed", str(2**63), f"--seed is {2**63}; it must be at least 0"),
        ("--max-seconds", "nan", "--max-seconds is nan; it must be at least 0"),
        ("--corpus", "", "--corpus is empty; give a name, a file or an https address, or auto"),
    ],
)
def test_an_option_that_can_not_be_is_refused_in_one_message(lab, option, value, says):
    corpus = [] if option == "--corpus" else ["--corpus", str(lab.text)]
    assert says in lab.refused("train", *corpus, option, value)


def test_a_text_shorter_than_a_batch_is_refused_before_anything_is_trained(lab, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("so it will be convenient to speak of him. " * 30)
    assert "cannot fill 2048 rows of 32" in lab.refused("train", "--corpus", str(short), "--batch-size", "2048")
    assert "--preset report needs 15,032" in lab.refused("train", "--corpus", str(short), "--preset", "report")


def test_the_run_that_mlflow_has_begun_gets_the_reason(lab, monkeypatch):
    run = MlflowClient().create_run(setup().experiment_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    refusal("train", "--corpus", str(lab.text), "--hidden-size", "1000000000")
    MlflowClient().set_terminated(run.info.run_id, "FAILED")  # as `mlflow run` does next
    assert "GB of memory" in MlflowClient().get_run(run.info.run_id).data.tags["failure"]


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


def test_a_name_that_is_not_utf_8_is_refused(lab):
    name = os.fsdecode(b"caf\xe9.txt")
    assert r"'caf\udce9.txt' is not UTF-8" in lab.refused("train", "--corpus", name)


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        "0" * 32, "xyz", "", "a/b", "é" * 300, "'; DROP TABLE runs; --", "models:/nowhere/1", "models:/m-123",
        "models:/", "runs:/", f"runs:/{'0' * 32}/model", "models:/a/b/c/d", "s3://bucket/key", "/dev/null", "/dev/zero",
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_model_that_is_not_there_is_refused_by_its_name(lab, command, model):
    message = refusal(command, model)
    assert f"MODEL {model}" in message
    assert "give a run id" in message


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_no_run_is_left_open_by_a_model_that_is_not_there(lab, command):
    lab.refused(command, "xyz")


def test_an_artifact_that_is_not_a_model_is_refused(lab):
    assert "can't be" in lab.refused("sample", f"runs:/{lab.run_id}/plots")


def with_facts(lab: Lab, path: Path, **changed: Any) -> None:
    """A whole checkpoint of ours, digest included, whose facts are others."""
    tensors, facts = load_checkpoint(lab.checkpoint)
    save_checkpoint(path, tensors, {**facts, **changed})


def with_symbols(*symbols: Any) -> Callable[[Lab, Path], None]:
    return lambda lab, path: with_facts(lab, path, vocabulary={"alphabet": "raw", "symbols": list(symbols)})


def with_model(**changed: Any) -> Callable[[Lab, Path], None]:
    return lambda lab, path: with_facts(lab, path, model={**load_checkpoint(lab.checkpoint)[1]["model"], **changed})


def with_tensors(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Lab, Path], None]:
    def write(lab: Lab, path: Path) -> None:
        tensors, facts = load_checkpoint(lab.checkpoint)
        save_checkpoint(path, {name: change(tensor) for name, tensor in tensors.items()}, facts)

    return write


def cut(lab: Lab, path: Path) -> None:
    path.write_bytes(lab.checkpoint.read_bytes()[:-7])


def claim(lab: Lab, path: Path) -> None:
    path.write_bytes((2**60).to_bytes(8, "little") + lab.checkpoint.read_bytes()[8:])


def large(lab: Lab, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte of nothing


def zipped(lab: Lab, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(lab.checkpoint, "best.safetensors")


LIST = [" ", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]
CHECKPOINTS: dict[str, tuple[Callable[[Lab, Path], Any], str]] = {
    "truncated": (cut, "is damaged: its sha256 does not match"),
    "claims 2**60 bytes": (claim, "is not a checkpoint of this project"),
    "a terabyte": (large, "is not a checkpoint of this project"),
    "empty": (lambda lab, path: path.touch(), "is not a checkpoint of this project"),
    "safetensors of something else": (
        lambda lab, path: save_file(nn.Linear(2, 2).state_dict(), path),
        "is not a checkpoint of this project",
    ),
    "torch pickle": (lambda lab, path: torch.save(nn.Linear(2, 2), path), "is not a checkpoint of this project"),
    "zip": (zipped, "is not a checkpoint of this project"),
    "directory": (lambda lab, path: path.mkdir(), "nor a file"),
    "pipe": (lambda lab, path: os.mkfifo(path), "nor a file"),
    "other vocabulary size": (with_symbols(*LIST, "é"), "as its configuration and vocabulary say"),
    "symbols twice": (with_symbols(*LIST[:-1], "a"), "symbols; they must differ"),
    "symbols that are numbers": (with_symbols(*LIST[:-1], 7), "has 7, which is not one character"),
    "symbols of two characters": (with_symbols(*LIST[:-1], "zz"), "has 'zz', which is not one character"),
    "symbols that can't be written": (with_symbols(*LIST[:-1], "\ud800"), "which is not one character"),
    "no <unk>": (with_symbols("é", *LIST[2:], " "), "one must be <unk>"),
    "symbols in a string": (
        lambda lab, path: with_facts(lab, path, vocabulary={"alphabet": "raw", "symbols": "abc"}),
        "its symbols a str",
    ),
    "other letters": (
        lambda lab, path: with_facts(lab, path, vocabulary={"alphabet": "letters", "symbols": LIST[::-1]}),
        "is not the 28 symbols of the alphabet letters",
    ),
    "other alphabet": (
        lambda lab, path: with_facts(lab, path, vocabulary={"alphabet": "greek", "symbols": LIST}),
        "its alphabet is 'greek'",
    ),
    "10^9 units": (with_model(hidden_size=10**9), "parameters; there are"),
    "10^6 layers": (with_model(num_layers=10**6), "parameters; there are"),
    "another cell": (with_model(cell="gru"), "as its configuration and vocabulary say"),
    "a size in words": (with_model(hidden_size="8"), "holds no model that this version can build"),
    "an option of another version": (with_model(attention=True), "attention"),
    "no text": (lambda lab, path: with_facts(lab, path, corpus=None), "holds no model that this version can build"),
    "no preset": (lambda lab, path: with_facts(lab, path, train={"seed": 0}), "no 'preset'"),
    "facts of another kind": (lambda lab, path: save_checkpoint(path, {}, []), "holds no model"),  # type: ignore[arg-type]
    "no tensors": (
        lambda lab, path: save_checkpoint(path, {}, load_checkpoint(lab.checkpoint)[1]),
        "parameters; there are 0",
    ),
    "weights that are no numbers": (with_tensors(lambda t: t * float("nan")), "has values that are not finite"),
    "weights of another type": (with_tensors(torch.Tensor.double), "torch.float64"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_that_is_none_of_ours_is_refused_in_one_message(lab, tmp_path, kind):
    write, says = CHECKPOINTS[kind]
    path = tmp_path / "other.safetensors"
    write(lab, path)
    for command in ("sample", "evaluate"):
        message = refusal(command, str(path))
        assert says in message
        assert str(path) in message


def test_a_pipe_in_a_checkpoints_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a checkpoint of this project"):
        load_checkpoint(tmp_path / "pipe")


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_changed_byte_anywhere_is_refused_through_the_command(lab, tmp_path, data):
    content = bytearray(lab.checkpoint.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "changed").write_bytes(content)
    message = refusal("sample", str(tmp_path / "changed"))
    assert "is damaged" in message or "is not a checkpoint of this project" in message


# --- prompts ---------------------------------------------------------------------------------------------------------

characters = st.text(st.characters(codec=None), max_size=30)  # every code point, lone surrogates and NUL included


@given(prompt=characters)
def test_any_prompt_is_gone_on_from_or_refused_in_words(tiny_model, prompt):
    model, vocabulary = tiny_model
    try:
        (text,) = continuations(model, vocabulary, [prompt], 3, Decoding(method="greedy"))
    except ConfigError as error:
        reason = str(error)
        reason.encode()  # in characters that can be written
    else:
        reason = "prompt"
        assert text == vocabulary.decode(vocabulary.encode_prompt(prompt)) + text[-3:]
    assert reason.startswith("prompt")


@pytest.fixture(scope="module", params=["letters", "raw"])
def tiny_model(request: pytest.FixtureRequest) -> tuple[LanguageModel, Vocabulary]:
    alphabet = request.param
    vocabulary = Vocabulary("letters", LETTERS) if alphabet == "letters" else Vocabulary.of("it has\0 é\x1b\n", "raw")
    return LanguageModel(ModelConfig(hidden_size=4), len(vocabulary)).eval(), vocabulary


def test_an_empty_prompt_is_refused(lab):
    assert "--prompt is empty; give at least one character" in lab.refused("sample", lab.run_id, "--prompt", "")


# --- what the system refuses -----------------------------------------------------------------------------------------


def test_a_file_that_may_not_grow_at_checkpoint_time_fails_the_run_in_a_sentence_and_keeps_what_was_recorded(
    lab, file_size_limit
):
    words = ["train", "--corpus", str(lab.text), *TINY, "--hidden-size", "300", "--batch-size", "256"]
    with file_size_limit(4_000_000):
        line = lab.refused(*words, code=1)
    assert line.startswith("Error: File too large: ")
    assert re.search(
        r"last.safetensors; raise the limit \(ulimit -f\); then resume it with: .*tmlm train --resume ", line
    )
    run = MlflowClient().get_run(line.split()[-1])
    assert run.info.status == "FAILED"
    assert "File too large" in run.data.tags["failure"]
    folder = local_path(run.info.artifact_uri)
    assert folder is not None
    assert list((folder / "checkpoints").iterdir()) == []
    assert (folder / "config.yaml").is_file()


def test_a_full_disk_leaves_the_checkpoint_before_whole_and_nothing_beside_it(small_disk):
    path = small_disk / "last.safetensors"
    save_checkpoint(path, {"weights": torch.zeros(600_000)}, {"epoch": 1})
    with pytest.raises(OSError, match="No space left on device") as full:
        save_checkpoint(path, {"weights": torch.ones(600_000)}, {"epoch": 2})
    assert full.value.filename == str(path)
    assert load_checkpoint(path)[1] == {"epoch": 1}
    assert list(small_disk.iterdir()) == [path]


@pytest.mark.parametrize(("room", "full_at"), [(20_000, "checkpoints"), (90_000, "plots")])
def test_a_full_disk_fails_the_run_in_a_sentence_and_keeps_what_was_recorded(
    lab, small_disk, monkeypatch, room, full_at
):
    """The artifacts are on the full disk; the database is not."""
    setup()
    MlflowClient().create_experiment(f"full {room}", str(small_disk))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"full {room}")
    setup.cache_clear()
    with (small_disk / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(small_disk).free - room))
    message = lab.refused("train", "--corpus", str(lab.text), *TINY, code=1)
    setup.cache_clear()
    assert message.startswith("Error: ")
    assert re.search("No space left on device.*; free .*; then resume it with: .*tmlm train --resume ", message)
    folder = small_disk / message.split()[-1] / "artifacts"
    assert {path.name for path in folder.iterdir()} & {"checkpoints", "plots", "samples"} <= {"checkpoints", full_at}
    assert (folder / full_at).is_dir()
    assert (folder / "config.yaml").read_text().startswith("corpus:")
    for checkpoint in (folder / "checkpoints").iterdir():
        load_checkpoint(checkpoint)


def test_nobody_reading_the_output_is_no_traceback(lab):
    words = ["complexity", "--hidden-size", "8", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    script = "import sys; from pipeline.cli.main import main; sys.argv = ['tmlm', *sys.argv[1:]]; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
def test_a_terminal_that_can_not_write_a_character_is_no_traceback(lab):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--corpus", "日本"],
        cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--corpus \\u65e5\\u672c is not a known text" in done.stdout
