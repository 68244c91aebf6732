"""The golden figures of RECIPE: what a short training of each preset, cell, kernel and on-top model computes."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from pipeline.config import RECIPE, CorpusConfig, PresetName, resolve
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.training.experiment import Experiment

DIGITS = 1e-4  # relative: six digits are written, and another CPU's arithmetic may change the last two

BY_THE_BOOK = {"preset": "report", "batch_size": 512, "sequence_length": 8, "epochs": 1}
CELLS = ("rnn", "gru", "lstm")
CASES: dict[str, dict[str, Any]] = {
    **{f"preset {preset}": {"preset": preset, "batch_size": None} for preset in get_args(PresetName)},
    **{cell: {"cell": cell} for cell in CELLS},
    **{f"{cell} from scratch": {"cell": cell, "implementation": "scratch"} for cell in CELLS},
    **{f"{cell} by the book": {"cell": cell, **BY_THE_BOOK} for cell in CELLS},
    **{
        f"{cell} by the book, from scratch": {"cell": cell, **BY_THE_BOOK, "implementation": "scratch"}
        for cell in CELLS
    },
    "deep": {"cell": "gru", "num_layers": 3, "dropout": 0.2, "recurrent_dropout": 0.2, "output_dropout": 0.2},
    "embedded, by SGD": {"embedding_size": 8, "optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant"},
    "learning from counting": {"counting_loss": 0.4},
    "on top of n-grams": {"on_top_of": "ngram", "own_loss": 0.3, "learning_rate": 0.003},
    "on top of 2,000 n-grams": {"on_top_of": "ngram", "ngrams": 2000, "learning_rate": 0.003},
}

# perplexities: training in each epoch, validation of the better one, test of the network and of it with the n-gram
FIGURES: dict[str, tuple[float, ...]] = {
    "preset stream": (12.9014, 9.93835, 9.66727, 9.88058, 2.21919),
    "preset best": (12.9014, 9.93835, 9.66727, 9.88058, 2.21919),
    "preset report": (15.2424, 11.9623, 10.9412, 10.9538, 2.38739),
    "preset report-text": (14.3338, 10.2463, 10.2374, 10.2957, 2.38739),
    "rnn": (16.9048, 11.2676, 10.7586, 10.9733, 2.21919),
    "gru": (15.9255, 10.8694, 10.4997, 10.7604, 2.21919),
    "lstm": (18.2895, 10.8493, 10.4359, 10.6242, 2.21919),
    "rnn from scratch": (21.2808, 13.1338, 12.3515, 12.335, 2.21919),
    "gru from scratch": (19.5761, 11.3733, 10.8634, 10.9734, 2.21919),
    "lstm from scratch": (17.8764, 10.6534, 10.2634, 10.4924, 2.21919),
    "rnn by the book": (13.0745, 10.4402, 10.4329, 2.38739),
    "gru by the book": (12.9584, 10.6009, 10.5506, 2.38739),
    "lstm by the book": (13.1783, 10.9326, 10.966, 2.38739),
    "rnn by the book, from scratch": (13.9697, 11.0556, 11.1694, 2.38739),
    "gru by the book, from scratch": (13.6941, 10.6561, 10.6274, 2.38739),
    "lstm by the book, from scratch": (14.0627, 11.2559, 11.3179, 2.38739),
    "deep": (15.2988, 11.0957, 10.2173, 10.3703, 2.21919),
    "embedded, by SGD": (20.6333, 13.6189, 11.9225, 12.3039, 2.21919),
    "learning from counting": (18.2877, 10.9094, 10.5226, 10.7099, 2.21919),
    "on top of n-grams": (2.22552, 2.20501, 2.33338, 2.219, 2.219),
    "on top of 2,000 n-grams": (2.23225, 2.21093, 2.32063, 2.21476, 2.20793),
}


def made_up_text(folder: Path) -> Corpus:
    """A text of 20,000 characters of made-up words."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(1, 7))) for _ in range(60)]
    text = folder / "words.txt"
    text.write_text(" ".join(draw.choices(words, k=4200))[:20_000])
    return load_corpus(CorpusConfig(str(text), "letters"))


def computed(corpus: Corpus, options: dict[str, Any]) -> tuple[float, ...]:
    short = {"hidden_size": 12, "epochs": 2, "precision": "fp32", "device": "cpu", "batch_size": 64, "threads": 1}
    result = Experiment(corpus, *resolve({**short, **options}, corpus.train_chars)).run()
    trained = [point.train_perplexity for point in result.history]
    figures: Mapping[str, Any] = result.figures
    return *trained, *(figures[f"{name}_perplexity"] for name in ("val", "test", "mixture_test"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return made_up_text(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize("case", CASES)
def test_a_training_computes_what_its_recipe_says(corpus, case):
    figures = computed(corpus, CASES[case])
    assert figures == pytest.approx(FIGURES[case], rel=DIGITS), (
        f"it computes {', '.join(f'{value:.6g}' for value in figures)} now: undo that, or raise RECIPE in "
        "pipeline/config.py for the presets that it changes and write these figures into the table"
    )


def test_the_table_is_of_the_present_recipe():
    assert RECIPE == {"stream": 6, "best": 6, "report": 3, "report-text": 4}, (
        "after RECIPE was raised, write the figures of this table anew"
    )
