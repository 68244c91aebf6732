"""What earlier commits have recorded is read by every later version, and continued unless its recipe is another one.

``tests.yardstick`` has the stores, and the figures that the same code got from a copy of each. On another processor
they differ in the last digits; ``python -m tests.yardstick compare`` shows on one machine that nothing has changed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.config import Decoding
from pipeline.answer.plan import AnswerPlan
from pipeline.answer.run import answer
from pipeline.config import RECIPE, AnswerConfig, CorpusConfig, ReproduceConfig, SearchConfig, config_id, resolve
from pipeline.errors import InputError
from pipeline.pages.export import export
from pipeline.report.reproduce import TEXT as TEXT_OF_THE_REPORT
from pipeline.report.reproduce import reproduce
from pipeline.runs import doctor
from pipeline.search.run import search
from pipeline.stages import train as train_stage
from pipeline.stages.main import pipeline
from pipeline.stages.sample import write_texts
from pipeline.stages.seeds import train_seeds
from pipeline.stages.sweep import TrainingTask
from pipeline.text.corpus import load_corpus
from pipeline.tracking import artifacts, queries, recorded
from tests import yardstick
from tests.cli.commands import run
from tests.labs import leave_out_the_served_model, make_artifacts_plain, store_at
from tests.pools import Inline, pool_with
from tests.yardstick import CONTINUED, CUT_OFF, DATA, FINISHED, PLAN, STORES, TEXT, history_of, runs_of, trials_of

EXPECTED: dict[str, Any] = {store: json.loads((DATA / f"yardstick-{store}.json").read_text()) for store in STORES}
AS_RECORDED = 2.5e-4  # relative: on a processor without AVX, a training on top of n-grams differs by half of it
BY_SECONDS = "ce4f438efe234a4f8c346180c83f77d0"  # in the store of 4aa78f6


def unpacked(store: str, home: Path) -> None:
    """The store in a folder of its own, as if its checkout was moved there."""
    yardstick.unpack(store, home)
    doctor.repair()


def trainings(home: Path) -> dict[str, dict[str, Any]]:
    """All trainings by id, with their metrics."""
    found = [each for each in runs_of(home) if each["tags"]["stage"] == "train"]
    return {each["id"]: {**each, "history": history_of(home, each["id"])} for each in found}


def finished(home: Path) -> list[dict[str, Any]]:
    """The finished trainings whose options a person chose."""
    own = [training for training in trainings(home).values() if training["tags"].get("role", "seed") == "seed"]
    return [each for each in own if each["status"] == "FINISHED"]


def go_on(home: Path, command: str, options: dict[str, Any], given: list[TrainingTask]) -> Any:
    """What a command returns; ``given`` lists what it trains in workers."""
    text, pool = CorpusConfig(str(home / TEXT), options["alphabet"]), pool_with(given)
    own = {name: value for name, value in options.items() if name not in ("corpus", "alphabet", "seeds")}
    corpus = load_corpus(text)
    if command == "search":
        return search(corpus, SearchConfig(**own), make_pool=pool)
    if command == "answer":
        own |= {"seeds": options["seeds"]}
        return answer(corpus, AnswerConfig(**own), make_pool=pool, plan=AnswerPlan(**PLAN))
    model, config = resolve(own, corpus.train_chars, len(corpus.vocabulary))
    if command == "train":
        return train_seeds(corpus, model, config, options["seeds"], make_pool=pool)
    return pipeline(corpus, model, config)


# --- read -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A store, and the folder of a copy that the tests of this part share, and only read."""
    home = tmp_path_factory.mktemp("yardstick") / "lab"
    with store_at(home):
        unpacked(request.param, home)
        yield request.param, home


def test_every_training_is_listed_as_it_was_left(kept):
    store, home = kept
    code, out, _ = run("runs", "--all", "--json", "--limit", "100")
    listed = {row["run_id"]: row for row in json.loads(out)["runs"]}
    assert code == 0
    assert {key: row["state"] for key, row in listed.items()} == {
        key: training["status"].lower() for key, training in trainings(home).items()
    }
    for each in finished(home):
        assert (
            listed[each["id"]]["test_perplexity"] == EXPECTED[store]["runs"][each["pair"]]["result/test_perplexity 0"]
        )
    folded = {row["run_id"] for row in json.loads(run("runs", "--json")[1])["runs"]}
    shown = [each for each in runs_of(home) if each["tags"]["stage"] in ("train", "search", "answer", "seeds")]
    assert folded == {each["id"] for each in shown if "role" not in each["tags"]}


def test_a_finished_training_writes_what_it_wrote(kept):
    for each in finished(kept[1]):
        greedy = [sample for sample in artifacts.read_samples(each["id"]) if sample["method"] == "greedy"]
        code, out, err = run(
            "sample", each["id"], "--prompt", greedy[0]["prompt"], "--length", "20", "--method", "greedy"
        )
        assert (code, out) == (0, f"{greedy[0]['text']}\n"), err


def test_a_finished_training_is_exported(kept, tmp_path):
    for each in finished(kept[1]):
        done = export(each["id"], folder=tmp_path / each["id"])
        assert (done["kind"], done["name"]) == ("training", each["name"])
        assert each["name"] in (tmp_path / each["id"] / "index.html").read_text()
        weights = tmp_path / each["id"] / "model" / "weights.safetensors"
        assert write_texts(str(weights), ["it has"], 5, Decoding(method="greedy"))[0].startswith("it has")


def test_every_configuration_has_the_id_that_it_had(kept):
    for training in queries.trainings():
        is_of_now = training.configuration["recipe"] == RECIPE["stream"]
        assert (config_id(*training.configs, training.corpus_sha256) == training.config_id) is is_of_now, training.name


def test_a_study_that_is_not_finished_says_so_when_it_is_exported(kept, tmp_path):
    with pytest.raises(InputError, match="has no result yet; the same command again finishes it"):
        export("yardstick" if kept[0] == "4aa78f6" else "cut-off", folder=tmp_path / "page")


# --- continued --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[CONTINUED])
def left(no_store: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The folder of a copy whose killed runs are closed, and whose text is where a training looks for it."""
    torch_then = EXPECTED[request.param]["torch"]
    monkeypatch.setattr("torch.__version__", torch_then)  # with another one, it is another answer
    make_artifacts_plain(monkeypatch)
    unpacked(request.param, no_store)
    for each in runs_of(no_store):
        if each["status"] == "RUNNING" and "role" not in each["tags"]:
            doctor.close(each["id"])  # as of another machine: no command can tell that its process is gone
    load_corpus(CorpusConfig(str(no_store / TEXT), "letters"))  # into the cache, as the file is not where it was
    return no_store


@pytest.mark.slow
@pytest.mark.parametrize("command", ["search", "answer", pytest.param("train", marks=pytest.mark.ci), "pipeline"])
def test_what_was_cut_off_is_continued_and_what_had_finished_is_not_trained_again(left, command, monkeypatch):
    if command != "search":  # whose picks are registered
        leave_out_the_served_model(monkeypatch)
    before, trials, given = trainings(left), trials_of(left)["cut-off"], list[TrainingTask]()
    done = go_on(left, command, CUT_OFF[command], given)
    after, expected = trainings(left), EXPECTED[CONTINUED]
    for run_id, each in before.items():
        assert each["history"].items() <= after[run_id]["history"].items()
        assert each["status"] != "FINISHED" or each == after[run_id]
    (resumed,) = (key for key in before if before[key]["status"] != after[key]["status"] == "FINISHED")
    trained = [after[resumed], *(each for run_id, each in after.items() if run_id not in before)]
    if command == "pipeline":
        assert (done.result["trained_run"], done.result["reused"]) == (resumed, ["prepare"])
    else:
        assert len(given) == len(trained)
    known = [training for training in trained if training["pair"] in expected["runs"]]
    assert known == trained or command == "search"  # rounding may lead to other proposals
    for each in known:
        figures = expected["runs"][each["pair"]]
        assert {key: each["history"][key] for key in figures} == pytest.approx(figures, rel=AS_RECORDED), each["name"]
    complete = [(each.values, each.user_attrs) for each in trials if each.state.name == "COMPLETE"]
    now, then = trials_of(left)["cut-off"], {str(params): values for _, params, values in expected["trials"]["cut-off"]}
    assert [(each.values, each.user_attrs) for each in now[: len(complete)]] == complete
    for trial in now if command == "search" else ():
        assert trial.values == pytest.approx(then.get(str(trial.params), trial.values), rel=AS_RECORDED), trial.params


@pytest.mark.parametrize(
    "command", ["pipeline", "train", *(pytest.param(name, marks=pytest.mark.slow) for name in ("search", "answer"))]
)
def test_a_finished_command_trains_nothing_again_whether_the_alphabet_is_given_or_auto(left, command, monkeypatch):
    monkeypatch.setattr("pipeline.text.corpus.usual_alphabet", {"yardstick": "letters"}.get)
    before, given = trainings(left), list[TrainingTask]()
    done = go_on(left, command, FINISHED[command] | {"alphabet": "auto"}, given)
    assert (given, trainings(left)) == ([], before)
    if command == "pipeline":
        assert done.result["reused"] == ["prepare", "train", "evaluate", "sample"]
    else:
        assert done.run_id in {each["id"] for each in runs_of(left) if each["status"] == "FINISHED"}


@pytest.mark.parametrize("left", ["4aa78f6"], indirect=True)
def test_a_training_of_some_seconds_is_read_as_one_of_as_many_characters(left):
    assert '"budget_seconds": 1' in recorded.run_of(BY_SECONDS).tag("config")
    assert train_stage.options_like(BY_SECONDS, {})[0]["budget_chars"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("left", ["4aa78f6"], indirect=True)
def test_with_another_recipe_it_is_another_answer(left, monkeypatch):
    leave_out_the_served_model(monkeypatch)
    before = trainings(left)
    done = go_on(left, "answer", yardstick.ANSWER, [])
    assert not {training["run_id"] for training in done.result["trainings"]} & before.keys()
    assert before.items() <= trainings(left).items()


@pytest.mark.parametrize(("left", "recipe"), [("4aa78f6", 5), ("d5cc29df", 6)], indirect=["left"])
def test_with_another_recipe_all_is_read_and_nothing_is_continued(left, recipe):
    before, study = runs_of(left), next(iter(trials_of(left)))
    own = [each["id"] for each in before if each["tags"]["stage"] == "train" and "role" not in each["tags"]]
    refusal = rf"by recipe {recipe}\b.* by recipe {RECIPE['stream']}\b"
    with pytest.raises(InputError, match=refusal):
        train_stage.resume(own[-1], {})
    text = CorpusConfig(str(left / TEXT), "letters")
    with pytest.raises(InputError, match=refusal):
        search(load_corpus(text), SearchConfig(study_name=study))
    assert runs_of(left) == before
    assert run("sample", own[0], "--length", "5")[0] == 0


@pytest.mark.ci
@pytest.mark.slow
def test_a_configuration_of_the_report_is_trained_as_it_was(book, no_store):
    for name, figures in EXPECTED[CONTINUED]["reproduced"].items():
        done = reproduce(load_corpus(TEXT_OF_THE_REPORT), ReproduceConfig(only=name), quick=True, make_pool=Inline)
        (trained,) = done.reproduction[name].runs
        found = history_of(no_store, trained.run_id)
        assert {key: found[key] for key in figures} == pytest.approx(figures, rel=AS_RECORDED)
