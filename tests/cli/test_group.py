"""How a command ends: exit codes, one sentence on standard error, streams, signals, and the reason in its run."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import pipeline.stages.main  # noqa: F401  # before a test puts another load_corpus into what it imports
from pipeline.cli.main import cli
from pipeline.errors import DataUnavailableError, InputError, TmlmError
from pipeline.support.wording import printable
from pipeline.tracking import runs
from tests.checkout import ROOT
from tests.cli.commands import run


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Has ``tmlm prepare`` raise an exception."""

    def have(error: BaseException) -> None:
        def load(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("pipeline.text.corpus.load_corpus", load)

    return have


@given(st.text())
@example("\u202ereversed")
def test_nothing_that_is_printed_steers_the_terminal(text):
    shown = printable(json.dumps(text, ensure_ascii=False))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert json.loads(shown) == text


@pytest.mark.parametrize("error", [TmlmError, InputError, DataUnavailableError])
def test_reasons_have_their_exit_codes_and_no_traceback(raising, error):
    raising(error("the reason"))
    assert run("prepare") == (error.exit_code, "", "Error: the reason\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("7 GiB"),
        RuntimeError("can't allocate memory: 7 GiB"),
        torch.OutOfMemoryError("7 GiB"),
        ImportError("failed to map segment: 7 GiB"),
    ],
)
def test_too_little_memory_is_told_in_a_sentence(raising, error):
    raising(error)
    code, _, err = run("prepare")
    assert code == 1
    assert re.match(r"Error: out of memory \(.*7 GiB\): use a smaller text, model or --batch-size", err)
    raising(RuntimeError("shapes"))  # another error of torch is a mistake of ours
    assert isinstance(CliRunner().invoke(cli, ["prepare"]).exception, RuntimeError)


def test_a_store_that_fails_at_any_moment_is_told_in_a_sentence(raising):
    raising(MlflowException("(sqlite3.DatabaseError) database disk image is malformed\n[SQL: SELECT 1]"))
    code, _, err = run("prepare")
    assert (code, len(err.splitlines())) == (1, 1)
    assert err.startswith("Error: the store failed: database disk image is malformed; restore a backup")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is /dev/full here")
def test_output_that_can_not_be_written_is_exit_code_1_and_a_sentence():
    command = f"{shlex.quote(sys.executable)} -m pipeline --help >/dev/full"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: No space left on device; free some space\n"


def test_under_mlflow_run_whatever_ends_a_command_early_is_left_with_its_run(begun, raising):
    assert CliRunner().invoke(cli, ["prepare", "--help"]).exit_code == 0
    assert "failure" not in MlflowClient().get_run(begun).data.tags
    for error, reason in (
        (InputError("the reason"), "the reason"),
        (OSError(28, "No space left on device", "x"), "No space left on device: x; free some space"),
        (ZeroDivisionError("a mistake of ours"), "ZeroDivisionError: a mistake of ours"),
        (ModuleNotFoundError("", name="tqdm"), f"{sys.executable} has no tqdm: activate the project's environment"),
    ):
        raising(error)
        assert CliRunner().invoke(cli, ["prepare"]).exit_code != 0
        tags = MlflowClient().get_run(begun).data.tags
        assert tags["failure"].startswith(reason)
        assert "stage" not in tags, "no command has taken the run over"


def test_a_reason_that_can_not_be_left_is_told_all_the_same(begun, raising, monkeypatch):
    def refuse(*words: str) -> None:
        raise ImportError("no mlflow")

    raising(InputError("the reason"))
    monkeypatch.setattr(runs, "tag_failure", refuse)
    code, _, err = run("prepare")
    assert code == 2
    assert err.endswith("no mlflow\nError: the reason\n")


@pytest.mark.parametrize(
    "words",
    [
        ("search", "--cell", "gru", "--corpus", "my book.txt", "--quick"),
        ("answer", "--corpus", "my book.txt", "--scale", "3.0"),
        ("reproduce", "--only", "*x8", "--quick"),
    ],
)
def test_ctrl_c_prints_the_command_that_resumes_many_trainings(monkeypatch, words):
    def stop(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.text.corpus.find_text", stop)
    monkeypatch.setattr("pipeline.tracking.program.command", lambda: "tmlm")
    code, _, err = run(*words)
    said, _, again = err.rstrip().partition(": ")
    assert (code, said) == (130, "Stopped by Ctrl-C. The same command resumes it")
    assert sorted(shlex.split(again)) == sorted(("tmlm", *words))


def test_sigterm_is_exit_code_143_within_five_seconds():
    script = (
        "import signal, time, pipeline.cli.main as c\n"
        "def wait(**options): print('ready', flush=True); time.sleep(30)\n"
        "c.cli.commands['doctor'].callback = wait\n"
        "import sys; sys.argv = ['tmlm', 'doctor']; c.main()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, "Stopped by SIGTERM.\n")
    assert time.monotonic() - started < 5
