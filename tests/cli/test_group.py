"""How a command ends: exit codes, one sentence on standard error, streams, signals, and the reason in its run."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

import pipeline.stages.main  # noqa: F401  # before a test puts another load_corpus into what it imports
from pipeline.cli.main import cli
from pipeline.errors import DataUnavailableError, InputError, TmlmError
from pipeline.tracking import runs
from pipeline.tracking.store import setup
from tests.checkout import ROOT
from tests.cli.commands import run


@pytest.mark.parametrize(
    ("args", "option"),
    [
        (["train", "--hidden-size", "0"], "--hidden-size is 0; it must be at least 1"),
        (["train", "--hidden-size", "-1"], "--hidden-size is -1"),
        (["train", "--learning-rate", "nan"], "--learning-rate is nan"),
        (["train", "--learning-rate", "inf"], "--learning-rate is inf"),
        (["train", "--learning-rate", "0"], "--learning-rate is 0.0; it must be above 0"),
        (["train", "--epochs", "0"], "--epochs is 0"),
        (["train", "--corpus", " "], "--corpus is empty"),
        (["pipeline", "--batch-size", "0"], "--batch-size is 0"),
        (["sample", "x", "--temperature", "0"], "--temperature is 0"),
        (["sample", "x", "--length", "-1"], "--length is -1"),
        (["complexity", "--num-layers", "0"], "--num-layers is 0"),
    ],
)
def test_a_value_out_of_range_is_exit_code_2_in_one_sentence(args, option):
    code, out, err = run(*args)
    assert code == 2
    assert out == ""
    assert option in err
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("args", [["train", "--cell", "transformer"], ["train", "--hidden-size", "abc"], ["nothing"]])
def test_what_click_refuses_is_exit_code_2(args):
    code, _, err = run(*args)
    assert code == 2
    assert "Error: " in err


@pytest.mark.parametrize(("error", "code"), [(TmlmError, 1), (InputError, 2), (DataUnavailableError, 3)])
def test_reasons_have_their_exit_codes_and_no_traceback(monkeypatch, error, code):
    monkeypatch.setattr("pipeline.text.corpus.load_corpus", lambda config: (_ for _ in ()).throw(error("the reason")))
    got, out, err = run("prepare")
    assert (got, out, err) == (code, "", "Error: the reason\n")


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MemoryError(), ""),
        (MemoryError("Unable to allocate 7 GiB for an array"), " (Unable to allocate 7 GiB for an array)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), " (DefaultCPUAllocator: can't allocate memory)"),
        (torch.OutOfMemoryError("CUDA out of memory"), " (CUDA out of memory)"),
    ],
)
def test_too_little_memory_is_told_in_a_sentence(monkeypatch, error, asked):
    monkeypatch.setattr("pipeline.text.corpus.load_corpus", lambda config: (_ for _ in ()).throw(error))
    remedy = "use a smaller text, model or --batch-size, or close other programs"
    assert run("prepare") == (1, "", f"Error: out of memory{asked}: {remedy}\n")


def test_another_error_of_torch_is_a_mistake_of_ours(monkeypatch):
    monkeypatch.setattr(
        "pipeline.text.corpus.load_corpus", lambda config: (_ for _ in ()).throw(RuntimeError("shapes"))
    )
    assert isinstance(CliRunner().invoke(cli, ["prepare"]).exception, RuntimeError)


def in_a_shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``tmlm`` in a shell that redirects its output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = command.replace("tmlm", f"{shlex.quote(sys.executable)} -m pipeline", 1)
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is /dev/full here")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param("complexity --hidden-size 8 --json >/dev/full", marks=pytest.mark.slow),  # it imports torch
        "--help >/dev/full",
        "train --hidden-size 0 2>/dev/full",
    ],
)
def test_output_that_can_not_be_written_is_exit_code_1_and_a_sentence(words):
    done = in_a_shell(f"tmlm {words}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == ("" if "2>" in words else "Error: No space left on device; free some space\n")


CLOSED = ["2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
def test_a_closed_standard_stream_is_opened_before_a_file_takes_its_number(closed):
    script = (
        "import os, sys\n"
        "from pipeline.cli.group import open_closed_streams\n"
        "open_closed_streams()\n"
        "quiet = not any(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))\n"
        "sys.exit(not quiet or os.open(os.devnull, os.O_RDONLY) < 3 or not all(map(os.get_inheritable, range(3))))"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)} {closed}"
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("closed", CLOSED)
def test_closed_standard_streams_are_no_error(store, small_text, closed):
    """As under a service manager. Libraries ask standard error whether it is a terminal, and files take its number."""
    (store / "lab.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom pipeline.cli import main\nfrom pipeline.tracking import store\n"
        "home = Path(sys.argv.pop(1))\nstore.root = lambda: home\nmain.main()"
    )
    words = f"lab.py {store} train --corpus {small_text} --hidden-size 4 --epochs 1 --batch-size 64 --json {closed}"
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} {words}"], cwd=store, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    experiment = setup().experiment_id
    (trained,) = MlflowClient().search_runs([experiment])
    assert trained.info.status == "FINISHED"
    if ">&- 2" not in closed:
        assert json.loads(done.stdout)["run_id"] == trained.info.run_id


def test_a_name_in_utf_8_is_not_called_otherwise_where_python_may_not_read_it():
    done = in_a_shell("tmlm doctor --corpus caf\u00e9.txt", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 2
    assert "can't be read under this locale, which has no UTF-8; set PYTHONUTF8=1" in done.stderr


def test_a_store_that_can_not_be_used_does_not_hide_the_reason(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "bogus://x")
    code, _, err = run("train", "--hidden-size", "0")
    assert code == 2
    assert "could not be recorded in the run" in err.splitlines()[0]
    assert err.splitlines()[-1].startswith("Error: --hidden-size is 0")


def tags_of(run_id: str) -> dict[str, str]:
    tags: dict[str, str] = MlflowClient().get_run(run_id).data.tags
    return tags


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("the reason"), "the reason"),
        (OSError(28, "No space left on device", "x"), "No space left on device: x; free some space"),
        (MemoryError("Unable to allocate 7 GiB"), "out of memory (Unable to allocate 7 GiB): use a smaller text"),
        (ZeroDivisionError("a mistake of ours"), "ZeroDivisionError: a mistake of ours"),
        (ModuleNotFoundError("", name="tqdm"), f"{sys.executable} has no tqdm: activate the project's environment"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_under_mlflow_run_whatever_ends_a_command_early_is_left_with_its_run(begun, monkeypatch, error, reason):
    monkeypatch.setattr("pipeline.text.corpus.load_corpus", lambda config: (_ for _ in ()).throw(error))
    assert CliRunner().invoke(cli, ["prepare"]).exit_code != 0
    assert tags_of(begun)["failure"].startswith(reason)
    assert tags_of(begun)["stage"] == "prepare"


def test_a_reason_that_can_not_be_left_is_told_all_the_same(begun, monkeypatch):
    monkeypatch.setattr(
        "pipeline.text.corpus.load_corpus", lambda config: (_ for _ in ()).throw(InputError("the reason"))
    )
    monkeypatch.setattr(runs, "tag_failure", lambda *words: (_ for _ in ()).throw(ImportError("no mlflow")))
    code, _, err = run("prepare")
    assert code == 2
    assert err.endswith("no mlflow\nError: the reason\n")


def test_asking_for_help_leaves_no_reason(begun):
    assert CliRunner().invoke(cli, ["prepare", "--help"]).exit_code == 0
    assert "failure" not in tags_of(begun)


def test_ctrl_c_is_exit_code_130(monkeypatch):
    monkeypatch.setattr("pipeline.text.corpus.load_corpus", lambda config: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = run("prepare")
    assert code == 130
    assert "Ctrl-C" in err


def test_an_environment_without_the_packages_is_told_as_such(monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.text.corpus", None)
    code, _, err = run("prepare")
    assert code == 1
    assert "activate the project's environment" in err


def test_sigterm_is_exit_code_143(tmp_path):
    script = (
        "import signal, time, pipeline.cli.main as c\n"
        "def wait(**options): print('ready', flush=True); time.sleep(30)\n"
        "c.cli.commands['doctor'].callback = wait\n"
        "import sys; sys.argv = ['tmlm', 'doctor']; c.main()"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert process.wait(timeout=20) == 143
    assert time.monotonic() - started < 5
    with process.stderr:
        assert process.stderr.read() == "Stopped by SIGTERM.\n"
