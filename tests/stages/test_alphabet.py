"""The alphabet of a text: what ``auto`` stands for, and letters that ``letters`` would drop."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import optuna
import pytest

from models.config import ModelConfig
from pipeline.config import RECIPE, AnswerConfig, CorpusConfig, SearchConfig, TrainConfig
from pipeline.errors import InputError
from pipeline.search.study import attributes
from pipeline.search.study.protocol import open_study
from pipeline.search.study.space import Space
from pipeline.stages.answer import answer
from pipeline.stages.prepare import prepare
from pipeline.stages.seeds import train_seeds
from pipeline.stages.sweep import Sweep
from pipeline.stages.train import ALONE, training_identity
from pipeline.text.corpus import Corpus, load_corpus, prepared_dir
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.step import corpus_tags, step_key, text_to_train

KEYS = {  # of d5cc29df, whose default was ``letters``; those of a sweep with the alphabets of a task and of its run
    alphabet: {
        **dict(zip(("prepare", "train", "search"), keys, strict=False)),
        **dict(zip(("answer", "seeds"), ((key, *[alphabet] * 3) for key in keys[3:]), strict=True)),
        "config": alphabet,
    }
    for alphabet, *keys in (
        ("letters", "a255b07b8579761c", "8a52ff729aba0b3e", "6ec2d4fd1fed44be", "17ccf13fb449e19a", "74b6824354700610"),
        ("raw", "15b2753c3071a35e", "6546eafa530924d7", "f0cf55831d266d0c", "50a58576adc40c70", "6718a1f62fae4458"),
    )
}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Computes the keys of a text's steps, sweeps and study, without running any of them."""
    found: dict[str, Any] = {}

    def begun(sweep: Sweep[Any], identity: tuple[str, str], *rest: Any, **tags: str) -> None:
        task = sweep.task("answer", 0, ModelConfig(), TrainConfig(), {})
        found[identity[0]] = identity[1], asdict(task.corpus)["alphabet"], task.text[2], sweep.options["alphabet"]

    def keys_of(config: CorpusConfig) -> dict[str, Any]:
        corpus, model, train = load_corpus(config), ModelConfig(), TrainConfig()
        found["prepare"] = prepare(corpus, config, "stream")
        inputs, tags = training_identity(corpus, config, model, train, {}, ALONE)
        found["train"], found["config"] = step_key("train", inputs), json.loads(tags["config"])["corpus"]["alphabet"]
        answer(AnswerConfig(), config)
        train_seeds(corpus, config, model, train, 2)
        search = SearchConfig(study_name="a study")
        study = open_study(optuna.storages.InMemoryStorage(), search, Space.of(search), corpus)
        protocol = json.dumps(attributes.of_study(study)[attributes.PROTOCOL], sort_keys=True)
        return {**found, "search": sha256(protocol.encode()).hexdigest()[:16]}

    monkeypatch.setattr("pipeline.tracking.step.torch.__version__", "2.13.0")
    monkeypatch.setattr("pipeline.stages.prepare.run_step", lambda stage, name, inputs, *rest: step_key(stage, inputs))
    monkeypatch.setattr(Corpus, "baselines", lambda corpus, preset: {})
    monkeypatch.setattr(Sweep, "resume_or_run", begun)
    monkeypatch.setitem(RECIPE, "stream", 6)
    return keys_of


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_steps_sweeps_and_studies_are_those_of_before_whether_the_alphabet_is_given_or_auto(
    keys, store, tmp_path, monkeypatch, alphabet
):
    path = tmp_path / "story.txt"
    path.write_text("It has a Zebra, and so it goes.\n" * 60, encoding="utf-8")
    explicit = keys(CorpusConfig(str(path), alphabet))
    if alphabet == "letters":
        monkeypatch.setattr("pipeline.text.sources.TEXTS_IN_LETTERS", ("story",))
    assert keys(CorpusConfig(str(path))) == explicit == KEYS[alphabet]


def of_letters(path: Path, kept: int, dropped: str) -> CorpusConfig:
    """A text of so many letters that ``letters`` keeps, and those that it drops."""
    path.write_text("abcd 12 " * (kept // 4) + dropped, encoding="utf-8")
    return CorpusConfig(str(path), "letters")


def test_letters_says_what_it_drops_of_a_new_text_and_refuses_to_drop_most_of_it(store, tmp_path, caplog):
    text_to_train(of_letters(tmp_path / "latin.txt", 2000, "éü" * 40))
    assert not caplog.text
    text_to_train(of_letters(tmp_path / "mixed.txt", 2000, "ж" * 20 + "ёяю" * 30 + "e\u0301" * 90 + "ш"))
    assert "drops 9 % of the 2,201 letters of mixed, most often é, ю, я, ё, ж; --alphabet raw" in caplog.text
    russian = of_letters(tmp_path / "russian.txt", 1999, "ж" * 2000)
    for stage in ("", "seeds"):  # the second of which prepares it
        with pytest.raises(InputError, match=r"--alphabet letters drops 50 % .* most often ж; --alphabet raw keeps"):
            text_to_train(russian, stage)
        assert len([*prepared_dir().glob("russian-*")]) == bool(stage)
    with tracked_run("seeds", "seeds of before", corpus_tags(load_corpus(russian))):
        pass
    assert text_to_train(russian, "seeds") == load_corpus(russian)
    with pytest.raises(InputError):
        text_to_train(russian)


def test_auto_says_that_a_text_has_trainings_as_letters_alone(store, tmp_path, caplog):
    of_letters(tmp_path / "story.txt", 4000, "")

    def trained(alphabet: Any) -> None:
        corpus = load_corpus(CorpusConfig(str(tmp_path / "story.txt"), alphabet))
        with tracked_run("train", "lstm", corpus_tags(corpus)) as run:
            run.constants({"result/val_perplexity": 2.0})

    for alphabet, said in (("letters", "1 training "), ("letters", "2 trainings "), ("raw", "")):
        trained(alphabet)
        caplog.clear()
        text_to_train(CorpusConfig(str(tmp_path / "story.txt")))
        assert (f"story has {said}as letters: --alphabet letters goes on" in caplog.text) == bool(said)
