"""The stage ``prepare``: describe a text and its splits, with the baselines' perplexities."""

from typing import Any, cast

from pipeline.config import RECIPE, PresetName
from pipeline.results import PREPARE, Preparation
from pipeline.stages.sentences import baseline_table
from pipeline.support import machine
from pipeline.support.markdown import plain
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import baselines_of
from pipeline.tracking import artifacts, runs
from pipeline.tracking.step import Step, finished_step, step_key
from pipeline.tracking.text_identity import corpus_figures, corpus_keys, corpus_options, corpus_tags, record_datasets

BASELINES = ("uniform_", "unigram_", "ngram_", "single_ngram_")  # prefixes of the figures' names


def prepare(corpus: Corpus, preset: PresetName, reuse: bool = False) -> Step[Preparation]:
    """Record a text: characters, vocabulary, splits, digests, source, and the perplexities of the baselines."""
    spans = corpus.spans(preset)
    baselines = baselines_of(corpus, preset)  # before the store is opened, so that the two don't need memory at once
    alphabet = corpus.vocabulary.alphabet
    inputs = {"alphabet": alphabet, "preset": preset, "recipe": RECIPE[preset], **corpus_keys(corpus)}
    key = step_key(PREPARE, inputs)
    if reuse and (step := finished_step(PREPARE, key)):
        return step

    with runs.tracked_run(PREPARE, f"{PREPARE}-{corpus.label}", {**corpus_tags(corpus), "step_key": key}) as run:
        run.params({**corpus_options(corpus), "preset": preset})
        record_datasets(run, corpus, preset)
        result: dict[str, Any] = {
            "run_id": run.id,
            **corpus_figures(corpus),
            "source": corpus.source,
            "alphabet": alphabet,
            "preset": preset,
            "characters": len(corpus),
            "vocabulary_size": len(corpus.vocabulary),
            **{f"{split}_characters": end - start for split, (start, end) in spans.items()},
            "baseline_characters": len(corpus.baseline_text(preset)),
        }
        for split, baseline in baselines.items():
            result[f"uniform_{split}_perplexity"] = 2**baseline.uniform_bits_per_char
            result[f"unigram_{split}_perplexity"] = 2**baseline.unigram_bits_per_char
            result[f"ngram_{split}_perplexity"] = 2**baseline.ngram.bits_per_char
            result[f"single_ngram_{split}_perplexity"] = 2**baseline.single.bits_per_char
        run.constants({f"corpus/{name}": value for name, value in result.items() if isinstance(value, int)})
        result |= {"ngram_order": baselines["val"].ngram.order, "ngram_entries": baselines["val"].ngram.entries}
        result["single_ngram_order"] = baselines["val"].best_order
        run.constants({f"baseline/{name}": value for name, value in result.items() if name.startswith(BASELINES)})
        result["ngrams"] = [
            {
                "order": val.order,
                "entries": val.entries,
                "val_perplexity": 2**val.bits_per_char,
                "test_perplexity": 2**test.bits_per_char,
            }
            for val, test in zip(*(baselines[split].singles for split in ("val", "test")), strict=True)
        ]
        run.json("vocabulary.json", {"symbols": list(corpus.vocabulary.symbols)})
        run.yaml("environment.yaml", machine.environment())
        run.describe(
            f"**{plain(corpus.name)}** ({corpus.vocabulary.alphabet}): {len(corpus):,} characters, "
            f"{len(corpus.vocabulary)} symbols, from {plain(corpus.source)}\n\n{baseline_table(result)}"
        )
        run.json(artifacts.RESULT_FILE, result)
    return Step(PREPARE, run.id, cast(Preparation, result))
