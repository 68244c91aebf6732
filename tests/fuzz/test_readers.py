"""Whatever is read from files, records and answers is accepted, or refused by an error of ours in one sentence.

``make test`` runs a few cases of each reader, always the same ones; ``make fuzz`` runs FUZZ_CASES random ones of each.
"""

import io
import json
import os
import pickle
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import mlflow
import numpy as np
import psutil
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from models.config import ConfigError, Decoding
from pipeline.cluster.pool import DaskPool, _Running
from pipeline.config import RECIPE, CorpusConfig, SearchConfig, resolve
from pipeline.course.bands import METRICS, Band, Course
from pipeline.course.check import check, summary
from pipeline.errors import InputError, TmlmError
from pipeline.pages import export as export_module
from pipeline.pages.model_files import _weights
from pipeline.report.checks import checks
from pipeline.report.record import recorded_reproduction
from pipeline.report.rewrite import report_files
from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.runs import compare
from pipeline.runs.sentences import comparison_text
from pipeline.search.study.space import Space
from pipeline.support.processes import process_tags
from pipeline.support.workers import Loss
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.text.ngrams import FORMAT as COMPUTED_FORMAT
from pipeline.text.ngrams import baselines_of, fitted_ngrams, soft_targets
from pipeline.text.sources import find_text
from pipeline.tracking import artifacts, recorded
from pipeline.tracking.recorded import FORMAT, RecordedRun, RecordedTraining
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.experiment import Experiment
from pipeline.training.files import BEST_CHECKPOINT, LAST_CHECKPOINT
from pipeline.training.loading import load_model
from pipeline.training.samples import continuations, prompts_for
from tests.fuzz.hostile import altered, damaged, json_texts, odd_texts, odd_values
from tests.labs import TrainedStore
from tests.made_up import made_up_run
from tests.pages.made_up import study
from tests.report.reproductions import TEXT as FACTS

CASES = int(os.environ.get("FUZZ_CASES", "3"))
SECONDS = 60  # of one case, at most
MOST_BYTES = 2_000_000_000  # of address space that the readers may take

fuzz = settings(
    max_examples=CASES,
    derandomize="FUZZ_CASES" not in os.environ,
    deadline=SECONDS * 1000,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
pytestmark = pytest.mark.timeout(300 + CASES * 10)


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """A reader that takes more raises MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MOST_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def read(reader: Callable[..., Any], *arguments: Any) -> Any:
    """What a reader returns; None if it refuses, which it has to do by an error of ours."""
    try:
        return reader(*arguments)
    except (TmlmError, ConfigError):
        return None


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# --- texts, and the cache --------------------------------------------------------------------------------------------

TEXT = "".join(f"It was number {i}, the {'éàü'[i % 3]} of many;\r\n" for i in range(60)).encode()
COUNTED = f"counted-stream-{RECIPE['stream']}-v{COMPUTED_FORMAT}"
KEPT = ("corpus.json", "ids.bin", f"{COUNTED}.json", f"{COUNTED}.f16", f"ngrams-stream-at-most-100-{COUNTED[15:]}.json")


@given(data=damaged(TEXT), alphabet=st.sampled_from(("letters", "raw")))
@fuzz
def test_texts(tmp_path: Path, data: bytes, alphabet: Any) -> None:
    (tmp_path / "it.txt").write_bytes(data)
    if corpus := read(load_corpus, CorpusConfig(str(tmp_path / "it.txt"), alphabet)):
        assert set(corpus.ids) <= set(range(len(corpus.vocabulary)))


@given(odd_texts | odd_texts.map("https://{}".format) | st.binary(max_size=9).map(os.fsdecode))
@fuzz
def test_names_of_texts(name: str) -> None:
    if found := read(find_text, name, False):
        read(lambda: (found.sha256(), *found.pieces()))


HEADS = st.dictionaries(
    st.sampled_from(("Content-Length", "Content-Encoding", "Location", "Transfer-Encoding", "Set-Cookie")),
    st.sampled_from(("gzip", "deflate", "chunked", "5", "-1", "http://other", "https://[", "/again", "\0")) | odd_texts,
)


@given(body=damaged(TEXT), heads=HEADS, status=st.sampled_from((200, 200, 200, 204, 206, 301, 302, 304, 404, 999)))
@fuzz
def test_answers_to_downloads(monkeypatch: pytest.MonkeyPatch, body: bytes, heads: dict[str, str], status: int) -> None:
    def send(adapter: HTTPAdapter, request: Any, **options: Any) -> Any:
        answer = HTTPResponse(io.BytesIO(body), heads, status, preload_content=False, decode_content=False)
        return adapter.build_response(request, answer)

    monkeypatch.delenv("TMLM_OFFLINE", raising=False)
    monkeypatch.setattr(HTTPAdapter, "send", send)
    read(partial(load_corpus, CorpusConfig("https://example.org/text.txt"), refresh=True))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A prepared text whose n-grams are counted."""
    file = tmp_path_factory.mktemp("text") / "it.txt"
    file.write_bytes(TEXT)
    corpus = load_corpus(CorpusConfig(str(file), "letters"))
    fitted_ngrams(corpus, "stream", 100)
    return corpus


@given(file=st.sampled_from(KEPT), data=st.data())
@fuzz
def test_the_cache_of_texts(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, data: st.DataObject
) -> None:
    """A broken cache is made again, with the same figures."""
    folder = shutil.copytree(corpus.folder, tmp_path / "prepared" / corpus.folder.name, dirs_exist_ok=True)
    whole = (folder / file).read_bytes()
    if file.endswith(".json") and data.draw(st.booleans()):
        whole = as_bytes(data.draw(json_texts(json.loads(whole))))
    (folder / file).unlink()  # the case before may have mapped it into memory
    (folder / file).write_bytes(data.draw(damaged(whole)))
    monkeypatch.setenv("TMLM_CACHE_DIR", str(tmp_path))
    fitted_ngrams.cache_clear()
    again = load_corpus(CorpusConfig(corpus.source, "letters"))
    assert np.array_equal(again.ids, corpus.ids)
    assert again.vocabulary == corpus.vocabulary
    assert baselines_of(again, "stream") == baselines_of(corpus, "stream")
    assert fitted_ngrams(again, "stream", 100).tables.entries == 100
    assert torch.equal(soft_targets(again, "stream").table, soft_targets(corpus, "stream").table)


# --- spaces ----------------------------------------------------------------------------------------------------------

SPACE = {"cell": "rnn,gru,lstm", "num_layers": "1..3", "hidden_size": ["8", "256"], "on_top_of": "nothing,ngram"}
SPACE |= {"learning_rate": "0.001..0.1", "dropout": "0..0.5"}
ENDS = odd_texts | st.floats().map(str) | st.integers(0, 10**7).map(str)
RANGES = st.tuples(ENDS, st.sampled_from(("", "..", ",", "...", "..\n")), ENDS).map("".join)


@given(space=altered(SPACE) | st.dictionaries(st.sampled_from([*SPACE]), RANGES), data=st.data())
@fuzz
def test_spaces(tmp_path: Path, space: Any, data: st.DataObject) -> None:
    """As a file, and as options."""
    options = {name: text for name, text in dict(space).items() if isinstance(text, str)} if space else {}
    text = "\n".join(f"{name}: {text}" for name, text in options.items())
    text = data.draw(st.sampled_from((text, json.dumps(space))))
    (tmp_path / "space.yaml").write_bytes(data.draw(damaged(as_bytes(text))))
    given_options: dict[str, Any] = {name: text for name, text in options.items() if name in SPACE}
    for config in (SearchConfig(space=str(tmp_path / "space.yaml")), SearchConfig(**given_options)):
        if found := read(Space.of, config):
            assert found.as_texts()
            assert [*islice(found.grid(), 3)]


# --- records ---------------------------------------------------------------------------------------------------------


def keep(patch: pytest.MonkeyPatch, runs: list[Any], texts: dict[str, str]) -> None:
    """Let these runs, and these artifacts by their path in a run or in every run, be all that is recorded."""

    def run_of(run_id: str) -> RecordedRun:
        if run_id not in by_id:
            raise InputError(f"{run_id} is not a run")
        return by_id[run_id]

    def nested(run_id: str) -> list[RecordedRun]:
        return [run for run in runs if run.stage == "train" != by_id[run_id].stage]

    by_id: dict[str, RecordedRun] = {run.id: run for run in runs}
    patch.setattr(artifacts, "read_text", lambda run_id, path: texts.get(f"{run_id}/{path}", texts.get(path, "")))
    patch.setattr(recorded, "find_run", by_id.get)
    for module in ("pipeline.pages.subject", "pipeline.tracking.recorded"):
        patch.setattr(f"{module}.run_of", run_of)
    for module in ("pipeline.pages.subject", "pipeline.tracking.queries"):
        patch.setattr(f"{module}.nested_trainings", nested)


STUDY = study(2)
ENVIRONMENT = {"python": "3.11", "packages": {"torch": "2"}, "cpu_count": 2}


@given(data=st.data())
@fuzz
def test_records_of_searches(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, checkpoint: Path, data: st.DataObject
) -> None:
    """As `tmlm export`, `compare` and `runs` show them."""
    search: Any = STUDY.search
    runs = [made_up_run(search.id, search.name, tags={**search.tags, "stage": "search"}, params=search.params)]
    texts = {f"{search.id}/result.json": data.draw(json_texts(search.result))}
    which = data.draw(st.integers(0, 3))
    for number, run in enumerate(STUDY.trainings):
        config, result = json.dumps(run.configuration), json.dumps(run.result)
        if number == which:
            config, result = data.draw(json_texts(run.configuration)), data.draw(json_texts(run.result))
        tags = {**run.tags, "stage": "train", "config": config}
        runs.append(made_up_run(run.id, run.name, RecordedTraining, tags=tags, curves=run.curves))
        texts[f"{run.id}/result.json"] = result
    texts["environment.yaml"] = data.draw(json_texts(ENVIRONMENT))
    texts["samples/final.json"] = data.draw(json_texts({"samples": [{"prompt": "it", "text": "it has"}]}))
    keep(monkeypatch, runs, texts)
    monkeypatch.setattr("pipeline.pages.subject.artifacts.artifact_path", lambda run_id, path: checkpoint)
    monkeypatch.setattr("pipeline.pages.page_models._text_of", lambda *arguments: None)
    monkeypatch.setattr(export_module, "model_files", lambda *details: {})
    monkeypatch.setattr(export_module, "atomic_folder", lambda folder: nullcontext(MagicMock()))
    monkeypatch.setattr("pipeline.pages.subject.references.find", lambda reference: runs[int(reference)])
    monkeypatch.setattr(compare, "find", lambda reference: runs[int(reference)])
    folder = tmp_path_factory.getbasetemp() / "export"
    for references in (("0",), (f"{1 + which % 3}",), ("1", "2", "3")):
        read(partial(export_module.export, folder=folder), *references)
    for pair in (("0", "0"), ("1", "2")):
        if result := read(compare.compare, *pair):
            assert comparison_text(result)
    assert all(run.row() for run in runs[1:])


REPRODUCED: dict[str, Any] = {
    "text.json": json.loads(json.dumps(asdict(FACTS))),
    "commands.json": {"commands": [{"only": "*x8", "seeds": 2}]},
    "costs.json": {"val": [1.0, 2.0], "windowed": [1.5]},
    "result.json": {**STUDY.trainings[0].result, "last_texts": {"it has": "it has a"}, "val_perplexity_windowed": 9.1},
    "environment.yaml": ENVIRONMENT,
}
CURVES = {f"perplexity/{split}": dict.fromkeys(range(1, 51), 9.0) for split in ("train", "val")}
CURVES |= {f"perplexity_pooled/{split}": CURVES[f"perplexity/{split}"] for split in ("train", "val")}
CURVES |= {"perplexity_first_half/train": {1: 20.0}, "training/seconds": CURVES["perplexity/val"]}


@given(which=st.sampled_from(["config", *REPRODUCED]), data=st.data())
@fuzz
def test_records_of_reproductions(monkeypatch: pytest.MonkeyPatch, which: str, data: st.DataObject) -> None:
    model, train = resolve({"preset": "report", "implementation": "scratch", "cell": "gru", "hidden_size": 32})
    config = {**STUDY.trainings[0].configuration, "model": asdict(model), "train": asdict(train)}
    texts = {
        name: data.draw(json_texts(value)) if name == which else json.dumps(value)
        for name, value in {**REPRODUCED, "config": config}.items()
    }
    tags = {"stage": "train", "role": "report", "config": texts["config"]}
    training = made_up_run("1", "gru", RecordedTraining, tags=tags, curves=CURVES)
    keep(monkeypatch, [made_up_run("0", "it", tags={"stage": "reproduce", "format": str(FORMAT)}), training], texts)
    if found := read(recorded_reproduction, "0"):
        assert report_files(weigh(found, report_statements()), checks(found))


@given(tags=altered(process_tags()), status=st.sampled_from(("RUNNING", "FINISHED", "KILLED", "SCHEDULED")))
@fuzz
def test_tags_of_processes(tags: Any, status: str) -> None:
    texts = {str(name): str(value) for name, value in dict(tags or {}).items()}
    assert made_up_run("0", "it", status=status, tags=texts).state in ("running", "finished", "stopped", "failed")


# --- checkpoints -----------------------------------------------------------------------------------------------------

SHORT = {"epochs": 1, "batch_size": 4, "sequence_length": 8, "hidden_size": 4, "precision": "fp32", "device": "cpu"}


@pytest.fixture(scope="module")
def folder(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a small training on top of n-grams."""
    folder = tmp_path_factory.mktemp("checkpoints")
    Experiment(corpus, *resolve({**SHORT, "on_top_of": "ngram", "ngrams": 100}), folder).run()
    return folder


@pytest.fixture(scope="module")
def checkpoint(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    Experiment(corpus, *resolve(SHORT), folder).run()
    return folder / BEST_CHECKPOINT


def use(path: Path) -> None:
    """Use all of a checkpoint, as `tmlm sample` and `tmlm export` do."""
    model, vocabulary, _ = load_model(path)
    continuations(model, vocabulary, prompts_for(vocabulary), 3, Decoding())
    _weights(*load_checkpoint(path))


@given(name=st.sampled_from((BEST_CHECKPOINT, LAST_CHECKPOINT)), in_header=st.booleans(), data=st.data())
@fuzz
def test_damaged_checkpoints(folder: Path, tmp_path: Path, name: str, in_header: bool, data: st.DataObject) -> None:
    whole = (folder / name).read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little") if in_header else len(whole)
    (tmp_path / "it").write_bytes(data.draw(damaged(whole[:end])) + whole[end:])
    read(use, tmp_path / "it")


FORGERIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "flat": torch.flatten,
    "longer": lambda tensor: torch.cat([tensor, tensor]) if tensor.ndim else tensor[None],
    "empty": lambda tensor: tensor.flatten()[:0],
    "whole numbers": torch.Tensor.long,
    "not a number": lambda tensor: tensor.float() * float("nan"),
    "huge": lambda tensor: tensor.double() + 1e300,
    "negative": lambda tensor: -tensor.double() - 1,
}


@st.composite
def forged(draw: st.DrawFn, file: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors and facts of a checkpoint, of which some have other values, types, shapes or names."""
    tensors, facts = load_checkpoint(file)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(tensors)))
        how = draw(st.sampled_from((*FORGERIES, "leave out", "model.x", "ngram.x", "best.output.weight", "")))
        tensor = tensors.pop(name)
        if how in FORGERIES:
            tensors[name] = FORGERIES[how](tensor)
        elif how != "leave out":
            tensors[how] = tensor
    return tensors, draw(altered(facts))


@given(name=st.sampled_from((BEST_CHECKPOINT, LAST_CHECKPOINT)), data=st.data())
@fuzz
def test_forged_checkpoints(folder: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    """With a digest that is right."""
    save_checkpoint(tmp_path / "it", *data.draw(forged(folder / name)))
    read(use, tmp_path / "it")


@given(data=st.data())
@fuzz
def test_states_to_resume(corpus: Corpus, checkpoint: Path, tmp_path: Path, data: st.DataObject) -> None:
    tensors, facts = data.draw(forged(checkpoint.with_name(LAST_CHECKPOINT)))
    if data.draw(st.booleans()):  # of this training
        whole = load_checkpoint(checkpoint.with_name(LAST_CHECKPOINT))[1]
        facts = {**whole, "state": data.draw(altered(whole["state"]))}
    save_checkpoint(tmp_path / LAST_CHECKPOINT, tensors, facts)
    read(lambda: Experiment(corpus, *resolve(SHORT), tmp_path).run())


# --- hand-ins of the course -------------------------------------------------------------------------------------------

HANDED_IN = "--hidden-size 4 --epochs 1 --batch-size 4 --sequence-length 8"  # SHORT
CARD = "name: {0} perplexity per character\n  value: 20.1234\n".format
FILES = {
    "model/README.md": f"{CARD('test')}{CARD('validation')}{'| a | 9.123 | 9.123 | 3.1 |' * 2}".replace("||", "|\n|"),
    "curves.csv": "run,seed,epoch,train_perplexity,val_perplexity\n1,0,1,20.5,21.25\n",
}


@given(data=st.data(), name=st.sampled_from([*FILES, "model/weights.safetensors"]), quick=st.booleans())
@fuzz
def test_hand_ins(
    corpus: Corpus, checkpoint: Path, tmp_path: Path, data: st.DataObject, name: str, quick: bool
) -> None:
    weights = tmp_path / "model" / "weights.safetensors"
    weights.parent.mkdir(exist_ok=True)
    shutil.copy(checkpoint, weights)
    if name == "model/weights.safetensors":
        save_checkpoint(weights, *data.draw(forged(checkpoint)))
    for each, text in FILES.items():
        (tmp_path / each).write_bytes(data.draw(damaged(text.encode())) if each == name else text.encode())
    bands = [Band("1", HANDED_IN, metric, 1, 100) for metric in METRICS]
    course = Course(bands, corpus.corpus_sha256, corpus.train_chars)
    found = check([str(tmp_path)], course, None if quick else corpus)
    assert json.loads(json.dumps(asdict(found[0]), allow_nan=False))
    assert len(summary(found, quick).splitlines()) == 1 + quick


# --- answers of nodes, and requests to a served model ----------------------------------------------------------------

VALUES = (pickle.dumps({"val_perplexity": 3.0}), Loss("killed", "killed"))
ERRORS = st.builds(ValueError, st.just("no"))  # new ones, as the pool gives them a cause


@given(
    answer=st.tuples(
        st.sampled_from(("done", "failed", "lost", "message")) | odd_values,
        st.sampled_from(VALUES) | ERRORS | odd_values,
        st.none() | ERRORS | odd_values,
    )
    | odd_values,
    data=st.data(),
)
@fuzz
def test_answers_of_nodes(answer: Any, data: st.DataObject) -> None:
    sent: Any = data.draw(damaged(pickle.dumps(answer)) | st.sampled_from((pickle.dumps(answer), answer)))
    pool, future = DaskPool.__new__(DaskPool), SimpleNamespace(result=lambda timeout: sent)
    pool._running, pool._refused, pool._nodes = {"key": _Running("task", "tls://n1", "n1", future)}, {}, {}
    event = pool._event("key", None)
    assert event.task == "task"
    assert event.kind in ("done", "failed", "lost")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, trained_store: TrainedStore) -> Any:
    """A logged model as MLflow loads it, with lower limits."""
    model = mlflow.pyfunc.load_model(str(trained_store.logged_model(tmp_path_factory.mktemp("served"))))
    model.unwrap_python_model()._checked.__globals__.update(MOST=500, LONGEST=200, WIDEST=50_000)
    return model


PROMPTS = ["the time", "it has"]
PARAMS = {"length": 5, "method": "sample", "temperature": 0.5, "seed": 1, "top_k": 3, "top_p": 0.9, "beam_width": 2}


@given(body=json_texts({"inputs": PROMPTS, "params": PARAMS}), prompts=altered(PROMPTS), params=altered(PARAMS))
@fuzz
def test_requests(model: Any, body: str, prompts: Any, params: Any) -> None:
    """Each gets an answer or a status that is not 5xx."""
    from mlflow.pyfunc import scoring_server  # warns when it is imported first

    schema = model.metadata.get_input_schema()
    for ask in (
        lambda: scoring_server.invocations(body, "application/json", model, schema),
        lambda: model.predict(prompts, params=params),
        lambda: [*model.predict_stream(str(prompts), params=params)],
    ):
        status = 200
        try:
            ask()
        except mlflow.MlflowException as error:
            status = error.get_http_status_code()
        except RecursionError:  # in MLflow's parser, as docs/trust.md says
            assert "[[[" in body
        assert status < 500
