"""Records how networks and n-grams compare on a text: alone, mixed, on top, and on top without one part of the method.

    python -m tests.benchmarks.record_systems TEXT --alphabet raw --networks network "on top" --seeds 3 --folder FOLDER

TEXT is a file or a name as for ``--corpus``. Each network is trained as ``tmlm train`` trains it; the ablations change
one thing. FOLDER keeps the checkpoints: the program may be stopped and started again. Prints the rows of
docs/data/systems.csv (test perplexities by seed) and of docs/data/compared.csv (intervals by the text, in percent).
"""

import argparse
import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.gated_ngrams import NGramTables
from models.language_model import LanguageModel
from models.on_top_of_ngram import NgramLanguageModel
from pipeline.answer.findings import COVERAGE
from pipeline.answer.systems import Bits, adaptive_bits, bits_of_systems, in_bits
from pipeline.config import RECIPE, CorpusConfig, resolve
from pipeline.support.statistics import block_bootstrap
from pipeline.text.batches import StreamData
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.text.ngrams import fitted_ngrams
from pipeline.training.differences import BOOTSTRAP_CHARS, percent
from pipeline.training.evaluation import text_costs
from pipeline.training.experiment import Experiment
from pipeline.training.files import BEST_CHECKPOINT
from pipeline.training.loading import load_model
from tests.benchmarks.claims import COMPARED
from tests.benchmarks.word_ngrams import word_ngrams

SMALL = {"hidden_size": 64, "on_top_of": "ngram", "budget_chars": 3_000_000}
ON_TOP = {"on_top_of": "ngram"}


class OwnCounts:
    """Evidence about a training text from the n-grams that were fitted on it; in place of ``CrossFitted``."""

    def __init__(self, ids: NDArray, tables: NGramTables) -> None:
        self.ids, self.tables, self.numbers_per_char = ids, tables, tables.numbers_per_char

    def __call__(self, start: int, end: int) -> Tensor:
        return torch.cat([each.half() for each in self.tables.about(self.ids, start, end)])


def without_cross_fitting(experiment: Experiment) -> None:
    data, model = experiment.training.data, experiment.training.model
    assert isinstance(model, NgramLanguageModel)
    assert isinstance(data, StreamData)
    data.prior = OwnCounts(data.train.numpy(), model.tables)


def gate_alone(experiment: Experiment) -> None:
    """Train the n-grams' gate further, and nothing else: the network's output stays zero."""
    for name, parameter in experiment.training.model.named_parameters():
        parameter.requires_grad_(name.startswith("order_gate."))


def weights_without_state(experiment: Experiment) -> None:
    """Weights of orders and network that do not depend on the network's state: u and v stay zero."""
    model = experiment.training.model
    assert isinstance(model, NgramLanguageModel)
    model.gates.weight.requires_grad_(False)


Change = Callable[[Experiment], None]
NETWORKS: dict[str, tuple[Mapping[str, Any], Change | None]] = {
    "network": ({}, None),
    "untaught": ({"counting_loss": 0.0}, None),
    "best": ({"preset": "best"}, None),
    "on top": (ON_TOP, None),
    "small on top": (SMALL, None),
    "small on top, not cross-fitted": (SMALL, without_cross_fitting),
    "small on top, gate alone": (SMALL, gate_alone),
    "small on top, weights without state": (SMALL, weights_without_state),
}


def trained(corpus: Corpus, name: str, seed: int, folder: Path) -> LanguageModel:
    """A network of NETWORKS, from its checkpoint if there is one."""
    options, change = NETWORKS[name]
    place = folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    configs = resolve({**options, "seed": seed}, corpus.train_chars, len(corpus.vocabulary))
    experiment = Experiment(corpus, *configs, place)
    if change:
        change(experiment)
    experiment.run()
    return load_model(place / BEST_CHECKPOINT)[0]


ABLATIONS = [(name, "small on top") for name in NETWORKS if "," in name]


def record(corpus: Corpus, names: list[str], seeds: int, folder: Path) -> dict[str, Bits]:
    """Costs of these networks by seed, of the n-grams, and of what both are together."""
    test = torch.from_numpy(corpus.split("stream", "test"))
    networks = {name: [trained(corpus, name, seed, folder) for seed in range(seeds)] for name in names}
    bits = {name: in_bits([text_costs(each, test) for each in found]) for name, found in networks.items()}
    bits["n-grams"] = in_bits([fitted_ngrams(corpus, "stream").costs(test.numpy())])
    bits["word n-grams"] = in_bits([word_ngrams(corpus).costs(test.numpy())])
    if networks.keys() >= {"network", "on top"}:
        bits |= bits_of_systems(corpus, networks["network"], networks["on top"])
        bits |= adaptive_bits(corpus, networks["network"], lambda part: None).bits
    return bits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--alphabet", choices=("letters", "raw"), default="letters")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["network", "on top"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    corpus = load_corpus(CorpusConfig(options.text, options.alphabet))
    bits = record(corpus, options.networks, options.seeds, options.folder)
    out = csv.writer(sys.stdout, lineterminator="\n")
    for system, costs in bits.items():
        for seed, perplexity in enumerate((2 ** costs.mean(axis=1)).tolist()):
            out.writerow([corpus.name, system, seed if len(costs) > 1 else "", RECIPE["stream"], f"{perplexity:.5f}"])
    for first, second in (*COMPARED, *ABLATIONS):
        if bits.keys() >= {first, second}:
            difference = (bits[first] - bits[second]).mean(axis=0)
            ends = block_bootstrap(difference, BOOTSTRAP_CHARS, COVERAGE).ends
            assert ends, "the test text has more than one block"
            out.writerow([corpus.name, first, second, RECIPE["stream"], *(f"{percent(each):.2f}" for each in ends)])


if __name__ == "__main__":
    main()
