"""The Python API: what a script or a notebook gets, and that it agrees with the commands."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient

from models.config import ConfigError, Decoding
from pipeline import api
from pipeline.config import BUDGET_CHARS, QUICK_SEARCH, SearchConfig
from pipeline.errors import InputError
from pipeline.search.run import search
from pipeline.stages.sample import write_texts
from pipeline.tracking.names import WEIGHTS
from pipeline.tracking.queries import listed_trainings
from pipeline.tracking.store import set_tags
from pipeline.training.metrics import CURVES
from tests.checkout import ROOT, Checkout
from tests.labs import TINY, record
from tests.pools import Inline

ROW = {"name": "gru-1x8", "macs_per_char": 1220, "val_perplexity": 8.56}
RESULT: dict[str, Any] = {
    "run_id": "0" * 32, "study_name": "tiny", "corpus": "topics", "trials": 4,
    "front": [
        {**ROW, "name": "gru-1x4", "val_perplexity": 10.31, "run_ids": ["a"]},
        {**ROW, "run_ids": ["b", "c"]},
    ],
    "picks": {name: {"run_id": run_id} for name, run_id in (("small", "c"), ("knee", "a"), ("best", "c"))},
}  # fmt: skip


@pytest.fixture
def model(trained) -> api.Model:
    return api.load("latest")


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain_artifacts", "no_served_model")
def test_training_records_what_the_stage_does_and_leaves_torch_as_it_was(trained, small_text):
    torch.set_num_threads(2)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    try:
        model = api.train(small_text, alphabet="letters", **TINY)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.rand(1), expected)
    assert model.result["val_perplexities"] == trained.result["val_perplexities"]
    assert len({run.config_id for run in listed_trainings()}) == 1
    assert len([*listed_trainings()]) == 2


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (api.train, {"hiden_size": 8}, "^hiden_size is not an option of train; did you mean hidden_size?"),
        (api.train, {"recipe": 1}, "^recipe is not an option of train; it has corpus, alphabet, "),
        (api.resume, {"reference": "latest", "epoch": 3}, "^epoch is not an option of resume; did you mean epochs?"),
        (api.search, {"trails": 3}, "^trails is not an option of search; did you mean trials?"),
        (api.train, {"hidden_size": "8"}, "^hidden_size is '8'; it must be a whole number"),
        (api.train, {"epochs": 1.5}, "^epochs is 1.5; it must be a whole number"),
        (api.train, {"seed": True}, "^seed is True; it must be a whole number"),
    ],
)
def test_an_option_that_does_not_exist_or_has_a_wrong_value_is_named(function, options, message):
    with pytest.raises(ConfigError, match=message):
        function(**options)


def test_numbers_of_numpy_lists_of_choices_and_paths_are_options(store, small_text, monkeypatch):
    seen: list[Any] = []

    def stand_in(*arguments: Any) -> SimpleNamespace:
        seen.extend(arguments[:2])
        return SimpleNamespace(result=RESULT)

    monkeypatch.setattr("pipeline.search.run.search", stand_in)
    options: dict[str, Any] = {"trials": np.int64(3), "hidden_size": [4, 8], "num_layers": 1, "minutes": np.float32(2)}
    api.search(small_text, **options)
    corpus, config = seen
    assert corpus.option == str(small_text)
    assert config == SearchConfig(trials=3, hidden_size="4,8", num_layers="1", minutes=2.0)
    assert type(config.trials) is int


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.usefixtures("plain_artifacts", "no_served_model")
def test_the_readmes_block_works(store, small_text, tmp_path, monkeypatch):
    """With shorter trainings, in this process."""
    monkeypatch.setitem(BUDGET_CHARS, "stream", 1000)
    for option, value in {"trials": 1, "epochs": 1, "cell": "gru", "hidden_size": "4"}.items():
        monkeypatch.setitem(QUICK_SEARCH, option, value)
    monkeypatch.setattr("pipeline.search.run.search", partial(search, make_pool=Inline))
    monkeypatch.chdir(tmp_path)
    Path("my-book.txt").write_text(small_text.read_text()[::-1])
    (block,) = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.S)
    exec(block, {})
    assert sorted(run.study for run in listed_trainings()) == ["", "quick-my-book-raw"]


# --- a model ---------------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_by_run_prefix_checkpoint_and_model_address_and_prints_as_one_line(model, trained):
    perplexity, macs = trained.result["test_perplexity"], trained.result["macs_per_char"]
    run = trained.run_id[:8]
    shown = f"Model lstm-1x8 on topics: test perplexity {perplexity:.2f}, {macs:,} MACs per character (run {run})"
    assert repr(model) == shown
    checkpoint = api.load(trained.result["checkpoint"])
    outputs = MlflowClient().get_run(trained.run_id).outputs
    assert outputs is not None
    addresses = f"models:/{outputs.model_outputs[0].model_id}", f"runs:/{trained.run_id}/lstm-1x8"
    for other in (*map(api.load, (trained.run_id, trained.run_id[:6], *addresses)), checkpoint):
        assert other.sample("it has", 20) == model.sample("it has", 20)
    assert checkpoint.test_perplexity is None
    assert checkpoint.val_perplexity == trained.result["val_perplexity"]
    with pytest.raises(InputError, match=r"best.safetensors is not a run, so it has no history; load"):
        _ = checkpoint.history


def test_a_model_samples_what_the_command_samples(model, trained):
    decoding = Decoding(temperature=0.5, seed=3, top_k=5)
    text = model.sample("It has", 30, temperature=0.5, seed=3, top_k=5)
    assert [text] == write_texts(trained.run_id, ["It has"], 30, decoding)
    assert list(model.stream("It has", 30, temperature=0.5, seed=3, top_k=5))[1:] == list(text[6:])
    assert [model.sample()] == write_texts(trained.run_id, None, 200, Decoding())


def test_streaming_refuses_a_wrong_option_before_the_first_piece(model):
    refused: dict[str, dict[str, Any]] = {
        "^temprature is not an option of sample; did you mean temperature?": {"temprature": 1},
        "^temperature is 0.0; it must be above 0": {"temperature": 0},
        "^length is -1; it must be at least 0": {"length": -1},
        "^prompt is empty": {"prompt": ""},
    }
    for message, options in refused.items():
        with pytest.raises(ConfigError, match=message):
            model.stream(**options)


def test_logits_and_states_are_those_of_the_normalised_text_character_by_character(model):
    text, logits = "It, has", model.logits("It, has")
    hidden, cell = model.states(text)
    ids = torch.tensor(model.vocabulary.encode(text))
    assert ids.dtype == torch.uint8
    torch.testing.assert_close(model.network(ids[None])[0][0], logits)
    torch.testing.assert_close(model.network.logits(hidden[:, -1]), logits)
    assert (logits.shape, hidden.shape, cell.shape) == ((6, 28), (6, 1, 8), (6, 1, 8))
    assert not any(each.requires_grad or each.is_inference() for each in (logits, hidden, cell))
    with pytest.raises(ConfigError, match="text is empty"):
        model.states("")


def test_the_history_has_a_row_for_each_epoch(model, trained):
    history = model.history
    assert list(history.index) == [1, 2]
    assert list(history.columns) == list(CURVES.values())
    assert history.val_perplexity.to_list() == pytest.approx(trained.result["val_perplexities"], rel=1e-5)
    assert not history.isna().any(axis=None)


def test_an_evaluation_is_recorded_and_prints_as_one_line(model, trained, small_text):
    evaluation = model.evaluate("val")
    assert evaluation.perplexity == pytest.approx(trained.result["val_perplexity"])
    assert re.fullmatch(
        r"Evaluation of lstm-1x8-s0 on the val split of topics: perplexity \d+\.\d\d "
        r"\(n-grams of orders 1 to 10 \d+\.\d\d, both \d+\.\d\d\), [\d,]+ characters",
        repr(evaluation),
    )
    assert api.load(evaluation.run_id).run_id == trained.run_id
    assert model.evaluate(text=small_text).on == small_text.name
    with pytest.raises(ConfigError, match="split is 'tset'; it must be one of val, test"):
        model.evaluate("tset")


def test_loading_reads_the_checkpoint_once_and_leaves_the_threads_as_they_were(trained, monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"reads {path} again"))
    torch.set_num_threads(2)
    try:
        assert api.load(trained.run_id).run_id == trained.run_id
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


# --- a search, and the runs ------------------------------------------------------------------------------------------


def test_a_search_prints_as_one_line_and_its_front_names_the_picks(monkeypatch):
    assert repr(api.Search(RESULT)) == "Search tiny on topics: 4 trials, front of 2: gru-1x4 10.31 to gru-1x8 8.56"
    nothing = api.Search({**RESULT, "front": [], "picks": {}})
    assert repr(nothing) == "Search tiny on topics: 4 trials, no finished trial"
    monkeypatch.setattr(api, "load", lambda run_id: run_id)
    earlier: Any = api.Search(RESULT).load("lean")  # whose result has small
    assert earlier == "c"
    assert api.Search(RESULT).front.picks.to_list() == ["knee", "small, best"]
    with pytest.raises(ConfigError, match="pick is 'large'; it must be one of small, knee, best"):
        api.Search(RESULT).load("large")  # type: ignore[arg-type]


def test_runs_are_a_data_frame(trained):
    runs = api.runs()
    assert list(runs.index) == [trained.run_id]
    row = runs.loc[trained.run_id]
    assert list(row[["hidden_size", "epochs", "batch_size", "on_top_of"]]) == [8, 2, 32, "nothing"]
    assert row.mixture_test_perplexity == pytest.approx(trained.result["mixture_test_perplexity"], rel=1e-5)
    assert (runs.ended > runs.started).all()
    assert len(api.runs("gru")) == 0


def test_two_texts_are_compared_in_columns_of_different_names(store):
    first, second = record("a", corpus="novel"), record("b", corpus="essay")
    for run_id in (first, second):
        MlflowClient().log_param(run_id, "corpus", f"{run_id}.txt")
    table = api.compare(first, second)
    assert table.columns.is_unique
    assert table.corpus.to_list() == ["novel", "essay"]


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_runs_are_named_by_what_functions_have_returned_or_by_the_path_of_a_checkpoint(model, trained, tmp_path):
    search, answer = api.Search({**RESULT, "run_id": trained.run_id}), api.Answer({"run_id": trained.run_id})
    for reference in (model, search, answer, Path(trained.result["checkpoint"])):
        assert api.load(reference).sample("it has", 20) == model.sample("it has", 20)
    for reference in (model, search, answer):
        assert api.note(reference, f"by {type(reference).__name__}") == api.note("latest")
        assert api.compare(reference, "latest").index.to_list() == [trained.run_id] * 2
        assert api.open(reference).suffix == ".html"
        with pytest.raises(InputError, match=f"^resume {trained.run_id} .* has nothing left to do"):
            api.resume(reference)
    assert api.export(model, output=tmp_path / "out").read_text().startswith("<!doctype html>")
    assert {each["id"] for each in api.delete(model, dry_run=True)["deleted"]} >= {trained.run_id}
    with pytest.raises(TypeError, match=r"^reference must be .* a Model, a Search, an Answer, .*, not list$"):
        api.load([model])  # type: ignore[arg-type]


def test_messages_have_the_names_of_options_in_python_and_commands_as_they_are(trained, small_text):
    with pytest.raises(InputError, match="Raise max_macs, or search further"):
        api.best(max_macs=1)
    with pytest.raises(InputError, match=f"^corpus {small_text}-x is not a known text"):
        api.train(f"{small_text}-x")
    set_tags(trained.run_id, {WEIGHTS: "deleted"})
    with pytest.raises(InputError, match=f"to train it anew: .*tmlm train --like {trained.run_id} --corpus "):
        api.load(trained.run_id)


WRONG: list[Any] = [5, ["x"], {"a": 1}, b"x", object(), pd.DataFrame({"a": [1, 2]}), np.arange(2), torch.ones(2), "\0"]
TAKES: dict[str, Callable[[Any, api.Model, Path], object]] = {  # a function by its parameter, called with a wrong value
    "train": lambda value, model, folder: api.train(value),
    "train note": lambda value, model, folder: api.train("nowhere.txt", note=value),
    "train like": lambda value, model, folder: api.train(__file__, like=value),
    "train seeds": lambda value, model, folder: api.train(__file__, seeds=value, seed=1),
    "train hidden_size": lambda value, model, folder: api.train("nowhere.txt", hidden_size=value),
    "train cell": lambda value, model, folder: api.train("nowhere.txt", cell=value),
    "train residual": lambda value, model, folder: api.train("nowhere.txt", residual=value),
    "train learning_rate": lambda value, model, folder: api.train("nowhere.txt", learning_rate=value),
    "resume": lambda value, model, folder: api.resume(value),
    "load": lambda value, model, folder: api.load(value),
    "sample": lambda value, model, folder: model.sample(value, 1),
    "sample length": lambda value, model, folder: model.sample("it", value),
    "sample temperature": lambda value, model, folder: model.sample("it", 1, temperature=value),
    "sample method": lambda value, model, folder: model.sample("it", 1, method=value),
    "logits": lambda value, model, folder: model.logits(value),
    "evaluate": lambda value, model, folder: model.evaluate(value),
    "evaluate text": lambda value, model, folder: model.evaluate(text=value),
    "search": lambda value, model, folder: api.search(value),
    "search trials": lambda value, model, folder: api.search("nowhere.txt", trials=value),
    "search cell": lambda value, model, folder: api.search("nowhere.txt", cell=value),
    "Search.load": lambda value, model, folder: api.Search(RESULT).load(value),
    "runs": lambda value, model, folder: api.runs(value),
    "runs corpus": lambda value, model, folder: api.runs(corpus=value),
    "compare": lambda value, model, folder: api.compare(model, value),
    "best": lambda value, model, folder: api.best(value),
    "best max_macs": lambda value, model, folder: api.best(max_macs=value),
    "best max_kb": lambda value, model, folder: api.best(max_kb=value),
    "best max_perplexity": lambda value, model, folder: api.best(max_perplexity=value),
    "export": lambda value, model, folder: api.export(value, output=folder),
    "export output": lambda value, model, folder: api.export(model, output=value),
    "export a long output": lambda value, model, folder: api.export(model, output="x" * 5000),
    "note": lambda value, model, folder: api.note(value, "why"),
    "note text": lambda value, model, folder: api.note(model, value),
    "open": lambda value, model, folder: api.open(value),
    "answer": lambda value, model, folder: api.answer(value),
    "answer seeds": lambda value, model, folder: api.answer("nowhere.txt", seeds=value),
    "delete": lambda value, model, folder: api.delete(value),
    "delete text": lambda value, model, folder: api.delete(text=value),
}


def test_a_wrong_value_of_any_parameter_is_refused_in_a_sentence(model, tmp_path):
    """Or taken, where it is a possible one; never with another error."""
    others = []
    for name, take in TAKES.items():
        for value in WRONG:
            try:
                take(value, model, tmp_path / "new")
            except (InputError, ConfigError, TypeError):
                pass
            except Exception as error:
                others.append((name, value, error))
    assert others == []


# --- interrupts ------------------------------------------------------------------------------------------------------

TRAINING = """
import json, os, signal, threading, time
from torch.nn.modules.module import register_module_forward_hook
import tmlm

def train():
    return tmlm.train("python-docs", hidden_size=8, epochs=2, train_chars=10_000)

def print_figures():
    model, measured = train(), {"run_id", "checkpoint", "train_seconds", "chars_per_second"}
    result = {name: figure for name, figure in model.result.items() if name not in measured}
    print(json.dumps([result, model.history.drop(columns="train_seconds").to_dict()]))
"""

INTERRUPTS = """
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def count(module, inputs, output):
    if hasattr(module, "__flops__"):  # set by ptflops
        counted.append(module)
        if len(counted) == target:
            interrupt()

interrupts = 0
while interrupts < 40:
    counted, target = [], 1 + interrupts // 4 % 3 if interrupts % 4 == 0 else 0  # the layers, the head, the print-out
    timer = threading.Timer(interrupts * 0.05, interrupt)
    try:
        with register_module_forward_hook(count):
            if not target:
                timer.start()
            train()
        timer.join()
    except KeyboardInterrupt:
        interrupts += 1
print_figures()
"""


@pytest.mark.slow
def test_after_forty_interrupts_a_process_trains_to_the_figures_of_a_fresh_one(tmp_path):
    """Every fourth arrives while ptflops counts, the others 0 to 2 seconds after the start, which is a training."""
    checkout = Checkout(tmp_path)
    checkout.environment["PYTHONPATH"] = str(checkout.folder)
    fresh = checkout.run("python", "-c", f"{TRAINING}print_figures()")
    assert '"val_perplexity": ' in fresh.stdout
    assert checkout.run("python", "-c", TRAINING + INTERRUPTS).stdout == fresh.stdout


# --- as documented ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_examples_of_the_docstrings_do_what_they_show(tmp_path):
    """The examples run in the order of their names, in a store that is empty at first, from another folder."""
    checkout = Checkout(tmp_path)
    checkout.environment["PYTHONPATH"] = str(checkout.folder)
    script = tmp_path / "examples.py"
    script.write_text(
        "import doctest, os, sys\n"
        "import tmlm\n"
        "from pipeline import api\n"
        "os.chdir(os.path.dirname(__file__))\n"
        "sys.exit(doctest.testmod(api, extraglobs={'tmlm': tmlm}, optionflags=doctest.ELLIPSIS)[0])\n"
    )
    checkout.run("python", str(script))
