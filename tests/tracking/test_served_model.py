"""The served model: every request gets a text or a 400 that says why, and the next one is answered as before."""

import json
import shutil
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.labs import TrainedStore

GREEDY: dict[str, Any] = {"length": 5, "method": "greedy"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, trained_store: TrainedStore) -> Path:
    """The folder of a logged model."""
    return trained_store.logged_model(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return mlflow.pyfunc.load_model(str(folder))


def limits(model: Any) -> dict[str, Any]:
    """The names of the module that MLflow has loaded the model from."""
    names: dict[str, Any] = type(model.unwrap_python_model())._checked.__globals__
    return names


def answer(model: Any, prompts: Any, **params: Any) -> Any:
    return model.predict(prompts, params={**GREEDY, **params})


@pytest.mark.parametrize(
    ("prompts", "params", "says"),
    [
        ([""], {}, "prompt is empty; give at least one character"),
        (["a" * 10_001], {}, "10,001 characters of a prompt; at most 10,000 are allowed"),
        (["a" * 1000] * 201, {}, "201,000 characters of all prompts; at most 200,000"),
        (["a"] * 10_000, {}, "10,000 prompts; at most 1,000 are allowed"),
        (["日本"], {}, "prompt '日本' has no letter from A to Z"),
        (["\ud800"], {}, "surrogates not allowed|no letter from A to Z"),  # by pandas 3 or by us
        ([None], {}, None),
        (5, {}, None),
        (["the"], {"temperature": float("nan")}, "temperature is nan; it must be above 0"),
        (["the"], {"temperature": None}, "temperature is null; leave it out, or give a value"),
        (["the"], {"length": 10**9}, r"1,000,000,000 characters after each prompt \(length\); at most 10,000"),
        (["the"], {"lenght": 60}, "lenght is no parameter; there are length, method, temperature"),
        (["the"], {"method": "magic"}, "method is 'magic'; it must be one of greedy, sample, beam"),
        (["the"], {"method": "beam", "beam_width": 10_000, "length": 100}, "1,000,000 characters to generate"),
    ],
)
def test_what_can_not_be_answered_is_a_400_that_says_why(model, prompts, params, says):
    with pytest.raises(mlflow.MlflowException, match=says) as refused:
        answer(model, prompts, **params)
    assert refused.value.get_http_status_code() == 400


def test_what_would_not_fit_into_memory_is_refused(model, monkeypatch):
    monkeypatch.setitem(limits(model), "WIDEST", 1000)
    with pytest.raises(mlflow.MlflowException, match=r"[\d,]+ numbers in memory .*; at most 1,000 are allowed"):
        answer(model, ["the"], method="beam", beam_width=100)


def test_the_limits_are_allowed(model):
    assert len(answer(model, ["a" * limits(model)["LONGEST"]])[0]) == limits(model)["LONGEST"] + 5
    assert len(answer(model, ["a"] * limits(model)["MANY"], length=1)) == limits(model)["MANY"]


def test_no_file_of_the_logged_model_is_a_pickle(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    assert {"python_model.pkl", "model.pkl"}.isdisjoint(path.name for path in files)
    assert {path.suffix for path in files} <= {".py", ".yaml", ".txt", ".json", ".safetensors", ""}
    for path in files:
        assert not path.read_bytes().startswith((b"\x80\x04", b"\x80\x05", b"PK")), path
    assert "served_model.py" in (folder / "MLmodel").read_text()


@pytest.mark.slow
def test_the_model_answers_in_a_process_of_another_project_with_modules_of_the_same_names(model, folder, tmp_path):
    """Without site (-S) the editable install is not there either; the model brings the code that it needs."""
    moved = shutil.copytree(folder, tmp_path / "moved")
    for name in ("models", "pipeline"):
        (tmp_path / f"{name}.py").write_text("OF_ANOTHER_PROJECT = True")
    script = (
        "import sys, json\n"
        f"sys.path[:0] = [{str(tmp_path)!r}]\n"
        f"sys.path.append({sysconfig.get_paths()['purelib']!r})\n"
        "import models, pipeline\n"
        "assert models.OF_ANOTHER_PROJECT and pipeline.OF_ANOTHER_PROJECT\n"
        "import mlflow\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(json.dumps(model.predict(['the'], params={'length': 5, 'method': 'greedy'})))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(moved)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == answer(model, ["the"])


# --- as a stream -----------------------------------------------------------------------------------------------------


def test_a_text_is_streamed_in_pieces_the_prompt_first(model):
    pieces = list(model.predict_stream("the", params=GREEDY))
    assert pieces[0] == "the"
    assert [len(piece) for piece in pieces[1:]] == [1] * GREEDY["length"]
    assert "".join(pieces) == answer(model, ["the"])[0]


@pytest.mark.parametrize(
    ("prompt", "params", "says"), [("", {}, "prompt is empty"), ("the", {"lenght": 5}, "lenght is no parameter")]
)
def test_what_can_not_be_streamed_is_a_400_before_the_first_piece(model, prompt, params, says):
    for stream in (model.predict_stream, partial(model.unwrap_python_model().predict_stream, None)):
        with pytest.raises(mlflow.MlflowException, match=says) as refused:
            next(stream(prompt, params={**GREEDY, **params}))
        assert refused.value.get_http_status_code() == 400
