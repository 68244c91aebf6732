"""The stages beside the training, each one tracked run: prepare, evaluate, sample; and the pipeline of all four."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from models.complexity import measure
from models.config import ModelConfig
from models.decoding import DEFAULT_LENGTH, Decoding
from models.generation import generate
from models.language_model import LanguageModel
from models.ngram import KneserNey, predicted_bits_per_char
from pipeline import tracking
from pipeline.checkpoints import load_model
from pipeline.config import CorpusConfig, PresetName, TrainConfig
from pipeline.corpus import Corpus, encoded, load_corpus
from pipeline.errors import DataUnavailableError, InputError
from pipeline.evaluation import score_text
from pipeline.markdown import plain
from pipeline.samples import SampleText, continuations, prompts_for
from pipeline.steps import (
    CURVES,
    Step,
    corpus_keys,
    corpus_options,
    corpus_tags,
    final_metrics,
    record_datasets,
    run_step,
    same_text,
)
from pipeline.texts import KNOWN_TEXTS, FoundText, find_file
from pipeline.tracking import TrackedRun
from pipeline.training import choose_threads
from pipeline.training_summary import (
    baseline_table,
    complexity_text,
    evaluation_text,
    pipeline_note,
    samples_table,
)
from pipeline.trainings import run_name, train
from pipeline.vocabulary import Vocabulary

log = logging.getLogger(__name__)

# --- prepare ---------------------------------------------------------------------------------------------------------


def prepare(corpus: Corpus, corpus_config: CorpusConfig, preset: PresetName, reuse: bool = False) -> Step:
    """Record the text: characters, vocabulary, splits, digests, source, and what the simplest models make of it."""

    spans, bars = corpus.spans(preset), corpus.baselines(preset)  # before the store is opened: memory for one of them

    def work(run: TrackedRun) -> dict[str, Any]:
        run.params({**corpus_options(corpus_config), "preset": preset})
        record_datasets(run, corpus, preset)
        result: dict[str, Any] = {
            **corpus_keys(corpus),
            "source": corpus.source,
            "alphabet": corpus.vocabulary.alphabet,
            "preset": preset,
            "characters": len(corpus),
            "vocabulary_size": len(corpus.vocabulary),
            **{f"{split}_characters": end - start for split, (start, end) in spans.items()},
            "baseline_characters": len(corpus.baseline_text(preset)),
        }
        for split, bar in bars.items():
            result[f"uniform_{split}_perplexity"] = 2**bar.uniform_bits_per_char
            result[f"unigram_{split}_perplexity"] = 2**bar.unigram_bits_per_char
            result[f"ngram_{split}_perplexity"] = 2**bar.ngram_bits_per_char
        run.metrics({f"corpus/{name}": value for name, value in result.items() if isinstance(value, int)})
        run.metrics({f"baseline/{name}": value for name, value in result.items() if name.endswith("_perplexity")})
        run.json("vocabulary.json", {"symbols": list(corpus.vocabulary.symbols)})
        run.yaml("environment.yaml", tracking.environment())
        run.note(
            f"**{plain(corpus.name)}** ({corpus.vocabulary.alphabet}): {len(corpus):,} characters, "
            f"{len(corpus.vocabulary)} symbols, from {plain(corpus.source)}\n\n{baseline_table(result)}"
        )
        return result

    inputs = {"alphabet": corpus_config.alphabet, "preset": preset, **corpus_keys(corpus)}
    return run_step("prepare", f"prepare-{corpus.label}", inputs, corpus_tags(corpus), work, reuse)


# --- evaluate and sample ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainedModel:
    """A model that was trained earlier, by whatever name it was asked for."""

    network: LanguageModel
    vocabulary: Vocabulary
    facts: dict[str, Any]
    checkpoint_sha256: str
    run_id: str | None

    @classmethod
    def find(cls, model: str) -> "TrainedModel":
        """MODEL is a run id, the path of a checkpoint, or a models:/ or runs:/ address; else InputError."""
        path, run_id = tracking.checkpoint_of(model)
        network, vocabulary, facts = load_model(path)
        torch.set_num_threads(choose_threads(None))
        return cls(network, vocabulary, facts, sha256(path.read_bytes()).hexdigest(), run_id)

    def _is_of_our_run(self) -> bool:
        """Whether it was asked for by a run, or a training of this store was on the text that its facts name."""
        then = self.facts["corpus"]
        return self.run_id is not None or any(
            run.tags.get("corpus.source") == then["source"]
            for run in tracking.finished_trainings(then["corpus_sha256"])
        )

    @property
    def name(self) -> str:
        return f"{self.network.config.shape}-s{self.facts['train']['seed']}"

    @property
    def preset(self) -> PresetName:
        preset: PresetName = self.facts["train"]["preset"]
        return preset

    @property
    def keys(self) -> dict[str, Any]:
        """What a result of this model depends on."""
        return {"trained_run": self.run_id, "checkpoint": self.checkpoint_sha256}

    @property
    def tags(self) -> dict[str, str]:
        tags = {"corpus": self.facts["corpus"]["name"], "corpus.sha256": self.facts["corpus"]["corpus_sha256"]}
        return {**tags, "trained_run": self.run_id} if self.run_id else tags

    def corpus(self) -> Corpus:
        """The text that it was trained on, from where it was found then. Raises InputError if it is another one now.

        A checkpoint that no run of ours vouches for may name any file or address: only texts known by name are read.
        """
        then = self.facts["corpus"]
        if then["name"] not in KNOWN_TEXTS and not self._is_of_our_run():
            raise InputError(
                f"the checkpoint was trained on {then['name']}, a text of the user's own, and is not that of a "
                "run in this store: say with --text FILE which text to evaluate it on"
            )
        return same_text(then["name"], then["source"], self.vocabulary.alphabet, then["corpus_sha256"])


def evaluate(model: str, split: str = "test", text: str | None = None, reuse: bool = False) -> Step:
    """Perplexity and bits per character of a trained model on a split of its corpus, or on any other text file."""
    trained = TrainedModel.find(model)
    label = Path(text).name if text else split
    read = _text_to_read(text) if text else None
    digest = read.sha256() if read else ""

    def work(run: TrackedRun) -> dict[str, Any]:
        run.params({"model": model, "split": split if read is None else "", "text": text or ""})
        corpus = _corpus_to_compare(trained, needed=read is None)
        result: dict[str, Any] = {"trained_run": trained.run_id, "split": None if text else split, "text": text}
        if read is None:
            assert corpus is not None
            ids = corpus.split(trained.preset, split)
            result |= corpus_keys(corpus)
            record_datasets(run, corpus, trained.preset, split)
        else:
            ids = encoded(read, digest, trained.vocabulary)
            result["unknown_characters"] = int((ids == trained.vocabulary.unknown_id).sum())
        if len(ids) < 2:
            raise InputError(f"--text {text} has {len(ids)} characters; at least 2 are needed")
        score = score_text(trained.network, torch.from_numpy(ids))
        result |= {
            "perplexity": score.perplexity,
            "bits_per_char": score.bits_per_char,
            "characters": score.characters,
        }
        if corpus is not None:
            ngram = KneserNey(corpus.baseline_text(trained.preset), len(trained.vocabulary))
            bits = predicted_bits_per_char(ngram, ids)
            result |= {"ngram_perplexity": 2**bits, "ngram_bits_per_char": bits}
        run.metrics({f"evaluation/{name}": value for name, value in result.items() if isinstance(value, float)})
        run.note(evaluation_text(plain(label), result))
        return result

    inputs = {**trained.keys, "split": split, "text": digest}
    return run_step("evaluate", f"evaluate-{label}-{trained.name}", inputs, trained.tags, work, reuse)


def _corpus_to_compare(trained: TrainedModel, needed: bool) -> Corpus | None:
    try:
        return trained.corpus()
    except (DataUnavailableError, InputError) as error:
        if needed:
            raise
        log.warning("No n-gram model to compare with: %s", error)
        return None


def _text_to_read(path: str) -> FoundText:
    try:
        return find_file(path, "--text")
    except FileNotFoundError:
        place = os.path.abspath(os.path.expanduser(path))
        raise InputError(f"--text {path}: there is no file {place}; give the path of a UTF-8 text file") from None


def sample(model: str, prompts: list[str], length: int, decoding: Decoding, reuse: bool = False) -> Step:
    """Record the texts that a trained model writes after the prompts."""
    trained = TrainedModel.find(model)

    def work(run: TrackedRun) -> dict[str, Any]:
        run.params({"model": model, "prompt": " | ".join(prompts), "length": length, **asdict(decoding)})
        texts = continuations(trained.network, trained.vocabulary, prompts, length, decoding)
        pairs = zip(prompts, texts, strict=True)
        table = samples_table([SampleText(prompt, decoding.method, text) for prompt, text in pairs])
        run.text("samples/texts.md", table)
        run.note(table)
        return {"trained_run": trained.run_id, "texts": texts}

    inputs = {**trained.keys, "prompts": prompts, "length": length, "decoding": asdict(decoding)}
    return run_step("sample", f"sample-{trained.name}", inputs, trained.tags, work, reuse)


def write_texts(model: str, prompts: list[str] | None, length: int, decoding: Decoding) -> list[str]:
    """What a trained model writes after the prompts (None: one that it can read), without a record of it."""
    trained = TrainedModel.find(model)
    chosen = prompts or prompts_for(trained.vocabulary)[:1]
    return continuations(trained.network, trained.vocabulary, chosen, length, decoding)


def stream_text(model: str, prompt: str | None, length: int, decoding: Decoding) -> Iterator[str]:
    """One text, piece by piece as it is written: the prompt (None: one that it can read), then each character."""
    trained = TrainedModel.find(model)
    ids = trained.vocabulary.encode_prompt(prompts_for(trained.vocabulary)[0] if prompt is None else prompt)
    yield trained.vocabulary.decode(ids)
    for (next_id,) in generate(trained.network, [ids], length, decoding, [trained.vocabulary.unknown_id]):
        yield trained.vocabulary.symbols[next_id]


def complexity(model: ModelConfig, vocab_size: int) -> Step:
    """Record the sizes of a shape in both conventions."""

    def work(run: TrackedRun) -> dict[str, Any]:
        cost = asdict(measure(model, vocab_size))
        run.params({"cell": model.cell, "num_layers": model.num_layers, "hidden_size": model.hidden_size})
        run.metrics({f"cost/{name}": value for name, value in cost.items()})
        text = complexity_text(model, vocab_size, cost)
        run.text("complexity.txt", text)
        run.note(f"```\n{text}```")
        return cost

    inputs = {"model": asdict(model), "vocab_size": vocab_size}
    return run_step("complexity", f"complexity-{model.shape}", inputs, {}, work, reuse=False)


# --- the pipeline ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PipelineRun:
    """The main job, done: its parent run, its steps with the seconds that each took, and the flat result."""

    steps: list[Step]
    seconds: list[float]
    result: dict[str, Any]


def pipeline(corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig, force: bool = False) -> PipelineRun:
    """Prepare, train, evaluate, sample: one parent run, with a run for each step that had to be done."""
    corpus = load_corpus(corpus_config)
    name = f"pipeline-{run_name(corpus, model, config)}"
    with tracking.tracked_run("pipeline", name, corpus_tags(corpus)) as run:
        run.params({**corpus_options(corpus_config), **asdict(model), **asdict(config), "force": force})
        record_datasets(run, corpus, config.preset)
        steps: list[Step] = []
        seconds: list[float] = []

        def do(step: Callable[[], Step]) -> Step:
            started = time.perf_counter()
            steps.append(step())
            seconds.append(time.perf_counter() - started)
            return steps[-1]

        do(lambda: prepare(corpus, corpus_config, config.preset, reuse=not force))
        trained = do(lambda: train(corpus, corpus_config, model, config, reuse=not force))
        judged = do(lambda: evaluate(trained.run_id, "test", reuse=not force))
        prompts, decoding = prompts_for(corpus.vocabulary), Decoding(temperature=0.7)
        written = do(lambda: sample(trained.run_id, prompts, DEFAULT_LENGTH, decoding, reuse=not force))
        result = {
            **trained.result,
            "run_id": run.id,
            "trained_run": trained.run_id,
            "perplexity": judged.result["perplexity"],
            "bits_per_char": judged.result["bits_per_char"],
            "texts": written.result["texts"],
            "reused": [step.stage for step in steps if step.reused],
            "fallback": corpus.is_fallback,
        }
        run.metrics(final_metrics(result))
        run.tags({"trained_run": trained.run_id})
        run.json(tracking.RESULT_FILE, result)
        run.picture(CURVES, tracking.fetch(trained.run_id, CURVES).read_bytes())
        done = {step.stage: (step.run_id, step.reused) for step in steps}
        run.note(pipeline_note(run.store.experiment_id, done, result))
    return PipelineRun(steps, seconds, result)
