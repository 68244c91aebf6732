"""``tmlm check``: how a hand-in is judged, what is refused, and what a forger can't hide."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from models.on_top_of_ngram import language_model
from pipeline.config import resolve
from pipeline.course.bands import LAST, METRICS, QUICK, READ_BY_TEACHER, Band, Course
from pipeline.course.check import MOST_BYTES, MOST_TEXT_BYTES, HandIn, check, summary
from pipeline.training.checkpoints import flatten, load_checkpoint, save_checkpoint
from tests.cli.commands import run

OPTIONS = "--hidden-size 8 --epochs 2 --batch-size 32 --sequence-length 16"  # of the training of ``trained``
CARD, WEIGHTS = Path("model", "README.md"), Path("model", "weights.safetensors")


@pytest.fixture
def folder(trained, tmp_path: Path) -> Path:
    """A hand-in."""
    assert run("export", trained.run_id, "-o", str(tmp_path / "anna"))[0] == 0
    return tmp_path / "anna"


@pytest.fixture
def course(trained, corpus) -> Course:
    """An exercise of which the figures of ``folder`` are right."""
    values = {**trained.result, **dict.fromkeys(LAST, trained.result["val_perplexities"][-1])}
    bands = [Band("1", OPTIONS, name, 0.5 * values[name], 2 * values[name]) for name in METRICS]
    return Course(bands, corpus.corpus_sha256, corpus.train_chars)


@pytest.fixture
def narrow(course: Course) -> Course:
    """A course for which no figure is right."""
    return replace(course, bands=[replace(band, high=band.low) for band in course.bands])


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the facts of a checkpoint, with a digest that is right."""
    tensors, facts = load_checkpoint(path)
    change(facts)
    save_checkpoint(path, tensors, facts)


def test_a_hand_in_is_found_by_its_options_and_judged_by_what_its_weights_give(trained, folder, course, corpus):
    (found,) = check([str(folder)], course, corpus)
    assert (found.verdict, found.exercise, found.seeds, found.remarks) == ("right", "1", [0], [])
    values = {figure.band.metric: figure.value for figure in found.figures}
    expected = {name: trained.result.get(name, trained.result["val_perplexities"][-1]) for name in METRICS}
    assert values | {LAST[0]: expected[LAST[0]]} == pytest.approx(expected, rel=1e-5)
    assert [figure.band.metric for figure in found.figures if "as handed in" in figure.text] == [*LAST]


def test_a_figure_out_of_its_band_and_a_network_that_is_missing_are_no_right_hand_in(folder, course, narrow, corpus):
    larger = Band("1", "--hidden-size 32", "test_perplexity", 1, 9)
    with_larger = replace(course, bands=[*course.bands, larger])
    courses = narrow, with_larger, replace(course, corpus_sha256="of another text")
    found = [check([str(folder)], each, corpus)[0] for each in courses]
    assert [each.verdict for each in found] == ["out of its band", "incomplete", "can't be read"]
    assert found[1].remarks == ["it lacks LSTM 1x32"]
    shutil.rmtree(folder / "model")
    unknown = [found[2], *check([str(folder)], course, corpus)]
    assert [READ_BY_TEACHER in each.remarks[0] for each in unknown] == [True, True]


@pytest.mark.parametrize("written", ["value: {:.4f}\n", "| {:.3f} | "], ids=["metadata", "table"])
def test_a_card_with_other_figures_than_its_weights_is_altered_which_quick_can_not_see(
    trained, folder, course, corpus, written
):
    value, card = trained.result["test_perplexity"], folder / CARD
    assert written.format(value) in card.read_text()
    card.write_text(card.read_text().replace(written.format(value), written.format(0.99 * value)))
    (found,), (quick,) = (check([str(folder)], course, text) for text in (corpus, None))
    assert (found.verdict, quick.verdict) == ("altered", "right")
    assert f"{value:.3f}, but {0.99 * value:.3f} in its card" in summary([found], False)


def test_equal_weights_are_found_under_another_seed_and_digest_and_in_every_folder(folder, course, corpus):
    ben, carl = (Path(shutil.copytree(folder, folder.with_name(name))) for name in ("ben", "carl"))
    rewrite(ben / WEIGHTS, lambda facts: facts["train"].update(seed=5))
    found = check([str(folder), str(ben), str(carl)], course, corpus)
    assert found[0].remarks == [f"same weights as {ben} and {carl}"]
    assert [each.verdict for each in found] == ["right", "can't be read", "right"], "its curves are of the seed before"


def with_seed(seed: int) -> Callable[[Path], None]:
    return lambda path: rewrite(path, lambda facts: facts["train"].update(seed=seed))


HOSTILE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a link in place of a folder": ("model", lambda path: path.symlink_to(path.rename(path.with_name("own")))),
    "a link in place of a file": ("model/README.md", lambda path: path.symlink_to(path.rename(path.with_name("own")))),
    "a pipe": ("curves.csv", lambda path: os.mkfifo(path.rename(path.with_name("own")).with_name(path.name))),
    "a large file": ("model/weights.safetensors", lambda path: os.truncate(path, MOST_BYTES + 1)),
    "damaged weights": ("model/weights.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!")),
    "no card": ("model/README.md", Path.unlink),
    "a large card": ("model/README.md", lambda path: os.truncate(path, MOST_TEXT_BYTES + 1)),
    "a seed of 4,000 digits": ("model/weights.safetensors", with_seed(10**4000)),
    "a name that writes a line": ("models/x\nben: right", lambda path: path.mkdir(parents=True)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_in_a_sentence_and_others_are_judged(folder, course, corpus, name):
    other, (path, change) = shutil.copytree(folder, folder.with_name("ben")), HOSTILE[name]
    change(folder / path)
    found = check([str(folder), str(other)], course, corpus)
    assert [each.verdict for each in found] == ["can't be read", "right"]
    lines = summary(found, False).splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(folder), str(other)]
    assert max(map(len, lines)) < 1000


def test_a_search_is_judged_by_its_best_network(trained, folder, course, corpus):
    train = asdict(resolve({"epochs": 2, "hidden_size": 8}, corpus.train_chars)[1])
    rewrite(folder / WEIGHTS, lambda facts: facts.update(train=train))
    value = trained.result["val_perplexity"]
    course = replace(course, bands=[Band("5", QUICK, "val_perplexity", value - 0.1, value + 0.1)])
    shutil.move(folder / "model", folder / "models" / "best")
    (folder / "models" / "lean").mkdir()
    (found,) = check([str(folder)], course, corpus)
    assert (found.verdict, found.exercise, len(found.weights)) == ("right", "5", 1)


@pytest.mark.parametrize("shape", [{"num_layers": 3}, {"hidden_size": 128}])
def test_a_network_that_no_quick_search_can_find_is_of_no_exercise(folder, course, corpus, shape):
    course = replace(course, bands=[Band("5", QUICK, "val_perplexity", 1, 99)])
    model, train = resolve({"epochs": 2, **shape}, corpus.train_chars)
    tensors = flatten("model", language_model(model, len(corpus.vocabulary), None).state_dict())
    facts = load_checkpoint(folder / WEIGHTS)[1]
    save_checkpoint(folder / WEIGHTS, tensors, {**facts, "model": asdict(model), "train": asdict(train)})
    (found,) = check([str(folder)], course, corpus)
    assert (found.verdict, found.weights) == ("can't be read", [])


def test_more_than_thirty_are_a_table():
    assert ";" in summary([HandIn("anna", remarks=["why"])] * 30, False)
    assert ";" not in summary([HandIn("anna", remarks=["why"])] * 31, False)


def test_the_exit_code_is_that_of_the_worst_and_3_without_the_text(folder, course, narrow, corpus, monkeypatch):
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    assert run("check", str(folder))[:2] == (3, "")
    monkeypatch.setattr("pipeline.text.corpus.load_corpus", lambda config: corpus)
    monkeypatch.setattr("pipeline.course.bands.packaged_course", lambda: course)
    code, out, _ = run("check", str(folder), "--json")
    assert (code, json.loads(out)["folders"][0]["verdict"]) == (0, "right")
    monkeypatch.setattr("pipeline.course.bands.packaged_course", lambda: narrow)
    assert run("check", str(folder))[0] == 4
    assert run("check", str(folder), "nowhere")[0] == 2
