"""Nothing runs that shouldn't: no pickle, no shell, no markup, no escape sequence, no file outside of the cache."""

import contextlib
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.cli.group import Failure, printable
from pipeline.cli.main import cli
from pipeline.config import CorpusConfig
from pipeline.errors import TmlmError
from pipeline.support.markdown import plain
from pipeline.text.corpus import load_corpus
from pipeline.text.downloads import cache_dir
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.text.vocabulary import Vocabulary
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import setup
from pipeline.tracking.ui import views
from pipeline.tracking.ui.links import HOST
from pipeline.training import figures
from pipeline.training.checkpoints import flatten, save_checkpoint
from pipeline.training.samples import SampleText
from pipeline.training.summary import samples_table
from tests.checkout import Checkout

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("models/**/*.py"), *ROOT.glob("pipeline/**/*.py")])
TINY = {"hidden_size": 4, "epochs": 1, "batch_size": 8, "precision": "fp32", "device": "cpu"}


# --- no pickle -------------------------------------------------------------------------------------------------------

UNSAFE = {
    "exec('1')": "S102",
    "pickle.loads(b'')": "S301",
    "dill.loads(b'')": "S301",
    "shelve.open('x')": "S301",
    "pandas.read_pickle('x')": "S301",
    "marshal.loads(b'')": "S302",
    "eval('1')": "S307",
    "yaml.load('1')": "S506",
    "yaml.load('1', yaml.UnsafeLoader)": "S506",
    "subprocess.run('ls', shell=True)": "S602",
    "os.system(f'ls {os.sep}')": "S605",
    "os.popen(f'ls {os.sep}')": "S605",
    "torch.load('x')": "TID251",
    "torch.save({}, 'x')": "TID251",
    "torch.hub.load('x', 'y')": "TID251",
    "numpy.load('x', allow_pickle=True)": "TID251",
    "import joblib": "TID251",
    "import cloudpickle": "TID251",
}


def test_the_linter_refuses_what_unpickles_evaluates_or_opens_a_shell():
    """In any module of ours but workers.py, which may unpickle; that the modules are clean is for ``ruff check``."""
    lines = [
        "import marshal, os, pickle, shelve, subprocess",
        "import dill, numpy, pandas, torch, yaml",
        *UNSAFE,
    ]
    command = [sys.executable, "-m", "ruff", "check", "--output-format=json", "--stdin-filename=pipeline/any.py", "-"]
    checked = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, cwd=ROOT, check=False)
    refused = {(lines[each["location"]["row"] - 1], each["code"]) for each in json.loads(checked.stdout)}
    assert set(UNSAFE.items()) <= refused


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def bomb(tmp_path: Path) -> tuple[Path, Path]:
    """A malicious pickle, which works, and what it would leave behind."""
    trace = tmp_path / "ran"
    armed = tmp_path / "bomb.safetensors"
    armed.write_bytes(pickle.dumps(Bomb(trace)))
    pickle.loads(armed.read_bytes())
    trace.rmdir()
    return armed, trace


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.stderr


def test_a_pickle_in_place_of_a_checkpoint_does_not_run(store, bomb):
    armed, trace = bomb
    for command in ("sample", "evaluate"):
        code, message = run(command, str(armed))
        assert (code, "is not a checkpoint of this project" in message) == (2, True)
    torch.save({"weights": Bomb(trace)}, armed)
    assert run("sample", str(armed))[0] == 2
    assert not trace.exists()


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_a_pickle_in_place_of_a_text_does_not_run(store, bomb, alphabet):
    armed, trace = bomb
    code, message = run("prepare", "--corpus", str(armed), "--alphabet", alphabet)
    assert code == 2
    assert "--corpus" in message
    assert not trace.exists()


def test_a_pickle_in_place_of_a_logged_models_checkpoint_does_not_run(trained, bomb):
    armed, trace = bomb
    (found,) = MlflowClient().search_logged_models([setup().experiment_id])
    location = local_path(found.artifact_location)
    assert location is not None
    (location / "artifacts" / "best.safetensors").write_bytes(armed.read_bytes())
    (location / "python_model.pkl").write_bytes(armed.read_bytes())
    code, message = run("sample", f"runs:/{trained.run_id}/lstm-1x8")
    assert (code, "is not a checkpoint of this project" in message) == (2, True)
    assert not trace.exists()


def test_pickles_in_place_of_what_the_cache_keeps_do_not_run(small_text, bomb):
    armed, trace = bomb
    config = CorpusConfig(str(small_text))
    corpus = load_corpus(config)
    expected = corpus.baselines("stream"), corpus.ids.tobytes()
    for kept in [path for path in cache_dir().rglob("*") if path.is_file()]:
        before = kept.read_bytes()
        kept.write_bytes(armed.read_bytes())
        found = expected
        with contextlib.suppress(TmlmError, ValueError):  # or refused
            again = load_corpus(config)
            found = again.baselines("stream"), again.ids.tobytes()
        assert found == expected, kept
        kept.write_bytes(before)
    assert not trace.exists()


# --- no shell --------------------------------------------------------------------------------------------------------

HOSTILE = [
    "$(touch owned)", "`touch owned`", "'; touch owned; '", '"; touch owned; "', "a\ntouch owned\n",
    "--help; touch owned", "-x && touch owned", "| touch owned", "${IFS}touch${IFS}owned", "{model}", "%s", "\\",
]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "parameter"),
    [("prepare", "corpus"), ("evaluate", "model"), ("evaluate", "text"), ("sample", "prompt"), ("sample", "model")],
)
def test_what_mlflow_makes_of_a_parameter_is_one_word_for_the_shell(entry, parameter):
    """The command line as ``mlflow run`` builds it, read as a shell reads it."""
    from mlflow.projects.utils import load_project

    entry_point = load_project(str(ROOT)).get_entry_point(entry)
    plain_words = shlex.split(entry_point.compute_command({"model": "m", parameter: "x"}, None))
    option = f"--{parameter}"
    at = plain_words.index(option) + 1 if option in plain_words else plain_words.index(entry) + 1
    for value in HOSTILE:
        words = shlex.split(entry_point.compute_command({"model": "m", parameter: value}, None))
        assert words[at] == value
        assert len(words) == len(plain_words)


@pytest.mark.slow
def test_no_parameter_of_mlflow_run_reaches_a_shell(tmp_path):
    checkout = Checkout(tmp_path)
    everything = " ".join(value for value in HOSTILE if "\n" not in value)
    for entry, *words in (
        ("sample", f"model={everything}", f"prompt=a\ntouch owned\n`touch owned` {everything}"),
        ("train", f"cell={everything}", f"corpus={everything}", f"learning_rate={everything}"),
    ):
        given = [part for word in words for part in ("-P", word)]
        done = checkout.mlflow_run("-e", entry, *given, code=1)
        assert "Error: " in done.stderr
        assert not list(checkout.folder.rglob("owned")), entry
    assert "RUNNING" not in {run["status"] for run in checkout.runs()}


# --- no markup, no escape sequences ----------------------------------------------------------------------------------

NAMES = [
    "<img src=x onerror=alert(1)>", "a|b", "a`b``c", "**bold** [link](javascript:alert(1)) ![i](http://x/y.png)",
    "$\\frac{$", "$x$", "a\x1b]0;owned\x07\x1b[2Jb", "<script>alert(1)<!--", "# title", "&lt;b&gt;",
    "__init__", "~~x~~",
]  # fmt: skip


MARKUP = set("\\`*_{}[]<>#|~!&$")  # parentheses make a link only after brackets


def unescaped(markdown: str) -> str:
    """What is left to mean something: CommonMark takes a punctuation character after a backslash as itself."""
    return re.sub(r"\\[!-/:-@\[-`{-~]", "", markdown)


@given(st.text(st.sampled_from("ab \n\r\t\u2028\\`*_{}[]<>()#|~!&$'\"-+.:/=x1")) | st.text())
def test_no_name_is_markup_whatever_is_in_it(name):
    shown = plain(name)
    assert not MARKUP & set(unescaped(shown))
    assert len(shown.splitlines()) <= 1
    assert re.sub(r"\\(.)", r"\1", shown) == " ".join(name.split())


@pytest.mark.parametrize("text", NAMES)
def test_a_prompt_is_no_markup_above_its_text(text):
    heading, *_ = samples_table([SampleText(text, "greedy", text)]).splitlines()
    assert unescaped(heading.removeprefix("**").removesuffix("** (greedy)")) == unescaped(plain(text))
    assert heading == f"**{plain(text)}** (greedy)"


@pytest.mark.parametrize("name", ["$\\frac{$", "$x$ <script>", "a\x1b]0;owned\x07\x1b[2Jb", "日本語", "a\nb"])
def test_a_title_is_drawn_as_it_stands(name):
    for png in (
        figures.perplexity_curves([3.0], [3.0], 1, {}, name),
        figures.generalisation_gap([3.0], [3.0], name),
    ):
        assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_a_view_is_whole_whatever_the_text_is_called(name):
    assert json.loads(views.models(name, "0" * 64).tag[1])["name"] == f"Models of {name}"


@given(st.text())
def test_nothing_that_is_printed_steers_the_terminal(text):
    shown = printable(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert printable(json.dumps({"texts": text}, ensure_ascii=False)).count("\n") == 0
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_an_error_does_not_steer_the_terminal():
    assert Failure("no \x1b[2J file", 2).format_message() == "no \\u001b[2J file"


def test_a_model_that_has_learnt_escape_characters_does_not_steer_the_terminal(store, tmp_path):
    vocabulary = Vocabulary.of("a\x1b\x07\n", "raw")
    model = LanguageModel(ModelConfig(hidden_size=4), len(vocabulary))
    facts = {
        "vocabulary": {"alphabet": "raw", "symbols": list(vocabulary.symbols)},
        "model": {"hidden_size": 4},
        "train": {"seed": 0, "preset": "stream"},
        "corpus": {"name": "\x1b[2J", "source": "\x1b[2J", "corpus_sha256": "0" * 64},
    }
    path = tmp_path / "escapes.safetensors"
    save_checkpoint(path, flatten("model", model.state_dict()), facts)
    for more in ([], ["--json"]):
        done = CliRunner().invoke(cli, ["sample", str(path), "--prompt", "a\x1b", "--length", "50", *more])
        assert done.exit_code == 0
        assert "\x1b" not in done.stdout
        assert "\\u001b" in done.stdout
    done = CliRunner().invoke(cli, ["evaluate", str(path)])
    assert done.exit_code == 2
    assert "\x1b" not in done.output


@pytest.mark.usefixtures("plain_artifacts")
def test_a_text_by_any_name_is_recorded_and_told_without_markup(store, tmp_path, small_text, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    text = tmp_path / "<img src=x onerror=alert(1)> $\\frac{$ `a` |b| **c**\n# d\x1b[2J.txt"
    text.write_text(small_text.read_text())
    options = [word for key, value in TINY.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    done = CliRunner().invoke(cli, ["train", "--corpus", str(text), *options])
    assert done.exit_code == 0, done.output
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.output)
    prepared = CliRunner().invoke(cli, ["prepare", "--corpus", str(text)])
    assert prepared.exit_code == 0
    for found in MlflowClient().search_runs(["0"]):
        heading = found.data.tags["mlflow.note.content"].splitlines()[0]
        assert f"**{plain(found.data.tags['corpus'])}**" in heading
        assert not set("<`[$") & set(unescaped(heading))


# --- no file outside of its folder -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["..", "../../x", "a/../../b", "auto", "time-machine", "%2e%2e", "..%2f..%2fx", "CON", " ", "é" * 125]
)
def test_a_text_is_prepared_inside_of_the_cache_whatever_it_is_called(tmp_path, small_text, name):
    place = tmp_path / "texts" / "deep" / f"{name}.txt"
    place.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "texts" / "deep" / "a").mkdir(exist_ok=True)
    place.write_text(small_text.read_text())
    corpus = load_corpus(CorpusConfig(str(place)))
    assert corpus.folder.resolve().parent == (cache_dir() / "prepared").resolve()
    assert corpus.name not in ("auto", *KNOWN_TEXTS)
    assert "/" not in corpus.name


@pytest.mark.parametrize(
    "corpus",
    [
        "..",
        ".",
        "/",
        "a\0b",
        "x" * 300,
        "/" + "x/" * 3000,
        "https://127.0.0.1/%2e%2e/%2e%2e/etc",
        "https://x/..",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_text_is_refused_and_nothing_is_written(store, corpus):
    code, message = run("prepare", "--corpus", corpus)
    assert code in (2, 3)
    assert message.startswith("Error: ")
    written = [path for path in cache_dir().rglob("*") if path.is_file()]
    assert written == []


def test_the_ui_listens_on_this_machine_only():
    """What `tmlm ui` does with it, test_end_to_end sees on the open port."""
    assert HOST == "127.0.0.1"
    for path in SOURCES:
        assert "0.0.0.0" not in path.read_text(), path
