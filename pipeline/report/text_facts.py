"""Compute the facts of a text that a reproduction records: n-gram perplexities and the places of prompts."""

import re
from collections.abc import Iterator, Sequence
from math import exp, log

import numpy as np
import torch
from numpy.typing import NDArray

from models.gated_ngrams import LONGEST, NGramModel, NGramTables, fit_gate, gate_letters, sample_of
from models.ngram import REPORT_ORDERS, KneserNey, unigram_bits_per_char
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.report.counting import BASELINE_ORDER
from pipeline.report.reproduction import PromptInText, PromptSplit, TextFacts
from pipeline.support.statistics import Floats
from pipeline.text.batches import windows
from pipeline.text.corpus import Corpus
from pipeline.training.evaluation import block_means, cross_entropies, perplexity
from pipeline.training.experiment import WINDOWS_AT_ONCE
from pipeline.training.samples import CONTINUED_CHARS, prompts_for


def text_facts(corpus: Corpus) -> TextFacts:
    """Compute the facts of a text, which must be long enough for the report's protocol."""
    train, val = corpus.split("report", "train"), corpus.split("report", "val")
    symbols = len(corpus.vocabulary)
    longest = KneserNey(train, symbols, max(REPORT_ORDERS))
    models = {order: longest.of_order(order) for order in REPORT_ORDERS}
    costs = {
        "val": {order: -log(2) * model.log2_probabilities(val)[1:] for order, model in models.items()},
        "windowed": {order: costs_of_windows(model, val) for order, model in models.items()},
    }
    unigram = 2 ** unigram_bits_per_char(train, val, symbols)
    perplexities, blocks = dict[str, dict[int, float]](), dict[str, dict[int, list[float]]]()
    for text, by_order in costs.items():
        perplexities[text] = {1: unigram, **{order: exp(each.mean()) for order, each in by_order.items()}}
        recorded = [order for order in by_order if order >= BASELINE_ORDER]
        blocks[text] = {order: block_means(torch.from_numpy(by_order[order])) for order in recorded}
    return TextFacts(
        corpus=corpus.label,
        corpus_sha256=corpus.corpus_sha256,
        vocab_size=symbols,
        val_perplexities=perplexities["val"],
        windowed=perplexities["windowed"],
        prompts=tuple(place for prompt in prompts_for(corpus.vocabulary) for place in places_of(corpus, prompt)),
        train_unigram=2 ** unigram_bits_per_char(train, train, symbols),
        block_costs=blocks,
        words=tuple(sorted(set(corpus.vocabulary.decode(corpus.ids).split()))),
        gated=gated_perplexities(train, val, corpus.vocabulary.letters),
    )


def gated_perplexities(
    train: NDArray[np.integer], val: NDArray[np.integer], is_letter: Sequence[bool]
) -> dict[str, float]:
    """Perplexities of all orders combined by a gate: "val", and "windowed" as ``costs_of_windows`` reads it.

    ``is_letter`` (V,) says which symbols are letters.
    """
    tables = NGramTables(KneserNey(train, len(is_letter), LONGEST))
    model = NGramModel(tables, fit_gate(sample_of(train, tables), gate_letters(train, is_letter)))
    inputs, targets = windows(torch.from_numpy(val).long(), WINDOW_LENGTH)
    nats = 0.0
    for x, y in zip(inputs.split(WINDOWS_AT_ONCE), targets.split(WINDOWS_AT_ONCE), strict=True):
        contexts = tables.contexts(x, torch.zeros(len(x), tables.order - 1, dtype=torch.int64))[:, 1:]
        nats += float(cross_entropies(model.combine(tables(contexts)).flatten(0, 1), y.flatten()).sum())
    return {"val": perplexity(float(model.costs(val).mean())), "windowed": perplexity(nats / targets.numel())}


def costs_of_windows(model: KneserNey, ids: NDArray[np.integer], length: int = WINDOW_LENGTH) -> Floats:
    """Mean cost in nats per character of each window of ``length`` characters at stride 1 in ids (N,).

    Returns N - length values. Target t of a window (t = 1 ... length) is predicted from the t characters of the window
    before it; if the model's order takes more, by the lower order fitted on the same text.
    """
    count = len(ids) - length
    by_context = list(model.log2_by_order(ids))
    total = np.zeros(count)
    for t in range(1, length + 1):
        total -= by_context[min(t, model.order - 1)][t : t + count]
    return total * log(2) / length


def places_of(corpus: Corpus, prompt: str) -> Iterator[PromptInText]:
    """Yield the occurrences of the prompt as whole words."""
    text = f" {corpus.vocabulary.decode(corpus.ids)} "
    for match in re.finditer(f" {re.escape(prompt)}(?= )", text):
        start, end = match.span()
        in_train, in_val = start < WINDOW_TRAIN, start < WINDOW_TRAIN + WINDOW_VAL
        split: PromptSplit = "training" if in_train else "validation" if in_val else "neither"
        yield PromptInText(prompt, start, split, text[end : end + CONTINUED_CHARS])
