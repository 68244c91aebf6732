"""The stages, each one tracked run: prepare, train, evaluate, sample, and the pipeline of all four.

A stage returns a Step: its run and a flat result, which is also kept in the run as result.json. The pipeline takes a
finished step again while what it depends on is unchanged: the code that it runs, its configuration, the text and
the step before it.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import yaml

from models.complexity import measure
from models.config import ModelConfig, option_name
from models.decoding import Decoding
from models.generation import generate
from models.language_model import LanguageModel
from models.ngram import KneserNey, predicted_bits_per_char
from pipeline import figures, store, tracking
from pipeline.checkpoints import load_checkpoint, load_model
from pipeline.code_digest import code_digest
from pipeline.config import Alphabet, CorpusConfig, PresetName, TrainConfig
from pipeline.corpus import Corpus, encoded, load_corpus
from pipeline.errors import DataUnavailableError, InputError
from pipeline.evaluation import score_text
from pipeline.experiment import LAST, MAY_CHANGE, Experiment, Observer, Result, steps_kept
from pipeline.files import write_atomically
from pipeline.open_runs import close_the_dead
from pipeline.progress import progress
from pipeline.samples import SampleText, continuations, prompts_for, sample_texts
from pipeline.summaries import (
    baseline_table,
    complexity_text,
    evaluation_text,
    pipeline_note,
    plain,
    samples_table,
    training_note,
)
from pipeline.texts import KNOWN_TEXTS, FoundText, find_file
from pipeline.tracking import RecordedRun, TrackedRun
from pipeline.training import STOPPED_BY_TIME, EpochPoint, Training, choose_threads
from pipeline.vocabulary import Vocabulary

log = logging.getLogger(__name__)

PIPELINE_SAMPLE_CHARS = 200
CURVES = "plots/perplexity.png"
OUTCOME = (  # of a training: kept when it is given more epochs
    "checkpoints/best.safetensors",
    CURVES,
    "plots/gap.png",
    "samples/final.md",
    "samples/final.json",
    tracking.RESULT_FILE,
)

STAGE_MODULES = {
    "prepare": ("pipeline.corpus",),
    "train": ("pipeline.experiment",),
    "evaluate": ("pipeline.evaluation", "pipeline.checkpoints", "pipeline.corpus"),
    "sample": ("pipeline.samples", "pipeline.checkpoints"),
    "complexity": ("models.complexity",),
}


@dataclass(frozen=True)
class Step:
    """A stage that is done: its run, what it came to, and whether that is from an earlier time."""

    stage: str
    run_id: str
    result: dict[str, Any]
    reused: bool = False


def step_key(stage: str, inputs: Mapping[str, Any]) -> str:
    """The digest of all that a step's result depends on."""
    depends = {
        "stage": stage,
        "code": code_digest(*STAGE_MODULES[stage]),
        "recording": sha256(Path(__file__).read_bytes()).hexdigest(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **inputs,
    }
    return sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def _step(
    stage: str,
    name: str,
    inputs: Mapping[str, Any],
    tags: Mapping[str, Any],
    work: Callable[[TrackedRun], dict[str, Any]],
    reuse: bool,
    resumed: RecordedRun | None = None,
    go_on: Callable[[str], Step | None] = lambda key: None,
) -> Step:
    """Do a stage's work in a tracked run, or take the latest finished run with the same key.

    ``go_on`` may finish a run that was stopped with that key. ``resumed`` is the ended run to do the work in.
    """
    key = step_key(stage, inputs)
    if reuse:
        found = tracking.finished_step(key)
        if found and (whole := _as_it_is_now(*found)):
            return Step(stage, found[0], whole, reused=True)
        if step := go_on(key):
            return step
    with tracking.tracked_run(stage, name, {**tags, "step_key": key}, resumed) as run:
        result = {"run_id": run.id, **work(run)}
        run.json(tracking.RESULT_FILE, result)
    return Step(stage, run.id, result)


def _as_it_is_now(run_id: str, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """A step's result, or None if what later steps need of it is not whole: a training's checkpoint and its curves."""
    if result.get("checkpoint") is None:
        return dict(result)
    checkpoint = tracking.fetch(run_id, f"checkpoints/{tracking.BEST_CHECKPOINT}")  # its folder may have been moved
    try:
        load_checkpoint(checkpoint)
    except InputError as error:
        log.warning("the training %s is done again: %s", run_id, error)
        return None
    return {**result, "checkpoint": str(checkpoint)} if tracking.fetch(run_id, CURVES).is_file() else None


def _corpus_tags(corpus: Corpus) -> dict[str, str]:
    tags = {"corpus": corpus.label, "corpus.sha256": corpus.corpus_sha256, "corpus.source": corpus.source}
    return {**tags, "corpus.fallback": "true"} if corpus.is_fallback else tags


def _corpus_keys(corpus: Corpus) -> dict[str, Any]:
    return {"corpus": corpus.name, "corpus_sha256": corpus.corpus_sha256, "source_sha256": corpus.source_sha256}


def _record_datasets(run: TrackedRun, corpus: Corpus, preset: PresetName, only: str | None = None) -> None:
    for split, (start, end) in corpus.spans(preset).items():
        if only not in (None, split):
            continue
        run.dataset(f"{corpus.label}/{split}", f"{corpus.corpus_sha256[:16]}-{start}-{end}", corpus.source, split)


def run_name(corpus: Corpus, model: ModelConfig, train: TrainConfig) -> str:
    """lstm-1x128-s0, with what is out of the ordinary behind it: scratch, report, another text."""
    usual = {model.implementation: "torch", train.preset: "stream", corpus.label: "time-machine"}
    return "-".join([model.shape, f"s{train.seed}", *(name for name, default in usual.items() if name != default)])


# --- prepare ---------------------------------------------------------------------------------------------------------


def prepare(corpus: Corpus, corpus_config: CorpusConfig, preset: PresetName, reuse: bool = False) -> Step:
    """Record the text: characters, vocabulary, splits, digests, source, and what the simplest models make of it."""

    spans, bars = corpus.spans(preset), corpus.baselines(preset)  # before the store is opened: memory for one of them

    def work(run: TrackedRun) -> dict[str, Any]:
        run.params({**asdict(corpus_config), "preset": preset})
        _record_datasets(run, corpus, preset)
        result: dict[str, Any] = {
            **_corpus_keys(corpus),
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

    inputs = {"alphabet": corpus_config.alphabet, "preset": preset, **_corpus_keys(corpus)}
    return _step("prepare", f"prepare-{corpus.label}", inputs, _corpus_tags(corpus), work, reuse)


# --- train -----------------------------------------------------------------------------------------------------------


def train(
    corpus: Corpus, corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig, reuse: bool = False
) -> Step:
    """Train one model and record all that DESIGN's tracking names."""
    name = run_name(corpus, model, config)

    def work(run: TrackedRun) -> dict[str, Any]:
        _record_environment(run, 0)
        experiment = Experiment(corpus, model, config, run.checkpoint_dir)
        return _train(run, experiment, corpus_config)

    tags = {**_corpus_tags(corpus), **_training_tags(corpus, corpus_config, model, config)}
    inputs = _training_inputs(corpus, corpus_config, model, config)
    return _step("train", name, inputs, tags, work, reuse, go_on=_gone_on_with)


def _gone_on_with(key: str) -> Step | None:
    """A training that was stopped, of the same key, gone on with to its end; None if there is none."""
    stopped = tracking.stopped_step(key)
    if stopped is None:
        return None
    try:
        return resume(stopped, {})
    except InputError as error:  # another process may have been faster
        log.warning("%s: it is trained anew", error)
        return None


def _training_tags(
    corpus: Corpus, corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig, mixed: str = ""
) -> dict[str, str]:
    """Those that follow from the configuration, and the configuration itself, for ``resume``.

    ``mixed`` is not empty for a training that no other one equals, since its parts were not trained alike.
    """
    text = {"name": corpus.name, "source": corpus.source, "corpus_sha256": corpus.corpus_sha256}
    whole = {
        "corpus": asdict(corpus_config),
        "model": asdict(model),
        "train": asdict(config),
        "text": text,
        "mixed": mixed,
    }
    comparable = asdict(model), asdict(config), {"corpus_sha256": corpus.corpus_sha256}
    return {tracking.CONFIG_TAG: json.dumps(whole), "config_id": tracking.config_id(*comparable)}


def _training_inputs(
    corpus: Corpus, corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig, mixed: str = ""
) -> dict[str, Any]:
    return {
        **({"mixed": mixed} if mixed else {}),
        "alphabet": corpus_config.alphabet,
        "model": asdict(model),
        "train": {key: value for key, value in asdict(config).items() if key != "sample_every"},
        **_corpus_keys(corpus),
    }


def _train(run: TrackedRun, experiment: Experiment, corpus_config: CorpusConfig) -> dict[str, Any]:
    """The work of a training, from wherever the experiment stands."""
    corpus, model, config = experiment.corpus, experiment.model_config, experiment.train_config
    run.yaml("config.yaml", {"corpus": asdict(corpus_config), "model": asdict(model), "train": asdict(config)})
    _record_datasets(run, corpus, config.preset)
    with progress(run.name) as bar:

        def on_start(training: Training) -> None:
            bar.start(training.epochs * training.data.steps_per_epoch, training.step)
            settings = {
                "epochs": training.epochs,
                "precision": training.precision,
                "device": training.device,
                "threads": training.threads,
                "chars_per_epoch": training.data.chars_per_epoch,
                "val_chars": training.data.val_chars,
            }
            run.params({**asdict(corpus_config), **asdict(model), **asdict(config), **settings})
            for point in training.history:  # the process may have gone between a checkpoint and its figures
                run.metrics(epoch_metrics(point, config.preset), point.epoch)
            if training.history and training.under_way is None:
                sample_if_due(training, training.history[-1])

        def on_epoch(training: Training, point: EpochPoint) -> None:
            bar.show(train=point.train_perplexity, val=point.val_perplexity)
            run.metrics(epoch_metrics(point, config.preset), point.epoch)
            sample_if_due(training, point)

        def sample_if_due(training: Training, point: EpochPoint) -> None:
            if config.sample_every and point.epoch % config.sample_every == 0 and not training.done:
                texts = sample_texts(training.judged_model, corpus.vocabulary, config.seed)
                run.text(f"samples/epoch-{point.epoch:04d}.md", samples_table(texts))

        try:
            result = experiment.run(Observer(on_start, bar.advance, on_epoch))
        except (KeyboardInterrupt, SystemExit):
            log.warning("What was trained is kept. Go on with: tmlm train --resume %s", run.id)
            raise
        finally:  # a failed run keeps its best checkpoint too
            run.send_checkpoints()
    _record_result(run, corpus, model, config, result)
    return {
        **_corpus_keys(corpus),
        **result.figures(),
        "texts": [sample.text for sample in result.samples],
        "precision": result.precision,
        "device": result.device,
    }


def resume(run_id: str, changes: Mapping[str, Any]) -> Step:
    """Go on with a training that was stopped, killed or given too little, in its own run.

    ``changes`` are options by field name; only those of MAY_CHANGE may differ from what the run began with. Raises
    InputError, and leaves the run as it is, for any other, for a run that can't be gone on with, and for one that has
    nothing left to do.
    """
    close_the_dead(store.setup())  # it may be one of them
    found = tracking.resumable_run(run_id)
    name = found.info.run_name
    begun = json.loads(found.data.tags[tracking.CONFIG_TAG])
    try:
        text, corpus_config, model = begun["text"], CorpusConfig(**begun["corpus"]), ModelConfig(**begun["model"])
        config_then = TrainConfig(**begun["train"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"--resume {run_id} ({name}) was begun by another version ({error}); train anew") from error
    config = _changed(name, begun, changes)
    corpus = _same_text(text["name"], text["source"], corpus_config.alphabet, text["corpus_sha256"])
    experiment = Experiment(corpus, model, config, _checkpoints_of(found))
    done = len(experiment.training.history)
    if not done and "perplexity/val" in found.data.metrics:
        raise InputError(
            f"--resume {run_id} ({name}) has lost its checkpoints: {experiment.checkpoint_dir} has no {LAST}; put that "
            "back (after a move: `tmlm doctor --repair`), or train anew"
        )
    if experiment.training.done and found.info.status == "FINISHED":
        raise InputError(f"--resume {run_id} ({name}) has nothing left to do: {_why_done(experiment.training)}")
    key_then = found.data.tags["step_key"]
    mixed = begun.get("mixed", "")
    if key_then != step_key("train", _training_inputs(corpus, corpus_config, model, config_then, mixed)):
        log.warning("The code or a library has changed since %s was begun: it won't be bit for bit", name)
        mixed = key_then
    elif found.data.tags.get("stopped", "").startswith(STOPPED_BY_TIME):
        mixed = key_then  # the epoch that its time cut short stays as short as it is
    tags = {**_corpus_tags(corpus), **_training_tags(corpus, corpus_config, model, config, mixed)}

    def work(run: TrackedRun) -> dict[str, Any]:
        log.warning("Going on with %s (%s) after epoch %d", name, run_id, done)
        _record_environment(run, done)
        if not experiment.training.done:
            _keep_outcome(run)
        run.tags({f"resumed.{option}": value for option, value in changes.items() if option in MAY_CHANGE})
        return _train(run, experiment, corpus_config)

    inputs = _training_inputs(corpus, corpus_config, model, config, mixed)

    def go_on() -> Step:
        return _step("train", name, inputs, tags, work, reuse=False, resumed=found)

    if not tracking.is_under_mlflow():
        return go_on()
    with tracking.tracked_run("resume", f"resume-{name}", {"trained_run": run_id}) as begun_by_mlflow:
        step = go_on()
        begun_by_mlflow.metrics(final_metrics(step.result))
        begun_by_mlflow.note(f"Went on with the training {plain(name)} ({run_id}).")
    return step


def _checkpoints_of(run: RecordedRun) -> Path:
    """The folder with a run's checkpoints on this machine: the further ones, where it has some elsewhere too."""
    folder = store.checkpoint_folder(run.info.run_id, run.info.artifact_uri)
    elsewhere = tracking.fetch_checkpoints(run)
    if elsewhere is not None and steps_kept(elsewhere) > steps_kept(folder):
        write_atomically(folder / LAST, (elsewhere / LAST).read_bytes())
    return folder


def _why_done(training: Training) -> str:
    """Why there is nothing left to train, and what would give it more."""
    if training.stopped.startswith(STOPPED_BY_TIME):
        return f"it was stopped by {training.stopped}; give a larger --max-seconds"
    if training.stopped:
        return f"it was stopped by {training.stopped}; train anew with another"
    more = "give more --epochs" if training.config.schedule == "constant" else "train anew with more --epochs"
    return f"epoch {len(training.history)} was the last one; {more}"


def _keep_outcome(run: TrackedRun) -> None:
    """Before a training that had come to an end is given more: a copy of what it had come to, result.json last."""
    if not run.has(tracking.RESULT_FILE):
        return
    epochs = json.loads(tracking.read_text(run.id, tracking.RESULT_FILE))["epochs"]
    folder = f"earlier/epoch-{epochs:04d}"
    if not run.has(f"{folder}/{tracking.RESULT_FILE}"):
        run.keep_copies(OUTCOME, folder)


def _changed(name: str, begun: Mapping[str, Any], changes: Mapping[str, Any]) -> TrainConfig:
    """The configuration that a training goes on with. InputError for a change that would make it another one."""
    options = {**begun["corpus"], **begun["model"], **begun["train"]}
    for option, value in changes.items():
        if option not in MAY_CHANGE and value != options[option]:
            may = ", ".join(option_name(each) for each in MAY_CHANGE)
            raise InputError(
                f"{option_name(option)} {value} is not what {name} was begun with ({options[option]}); "
                f"leave it out (only {may} may change), or train anew"
            )
    return TrainConfig(**{**begun["train"], **{each: changes[each] for each in MAY_CHANGE if each in changes}})


def _record_environment(run: TrackedRun, epoch: int) -> None:
    """environment.yaml; of a training that goes on elsewhere, another one beside it."""
    environment = tracking.environment()
    if not run.has("environment.yaml"):
        run.yaml("environment.yaml", environment)
    elif yaml.safe_load(tracking.read_text(run.id, "environment.yaml")) != environment:
        run.yaml(f"environment-from-epoch-{epoch:04d}.yaml", environment)


def epoch_metrics(point: EpochPoint, preset: PresetName) -> dict[str, float]:
    """What one epoch adds to the curves."""
    metrics = {
        "perplexity/train": point.train_perplexity,
        "perplexity/val": point.val_perplexity,
        "training/learning_rate": point.learning_rate,
        "training/gradient_norm": point.gradient_norm,
        "training/seconds": point.train_seconds,
    }
    if preset == "report":
        metrics["perplexity_pooled/train"] = point.train_perplexity_pooled
        metrics["perplexity_pooled/val"] = point.val_perplexity_pooled
    return metrics


def final_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures by which runs are compared, under the names that the UI's views use."""
    return {
        **{
            f"final/{name}": result[name]
            for name in (
                "val_perplexity",
                "test_perplexity",
                "test_bits_per_char",
                "best_epoch",
                "ngram_val_perplexity",
                "ngram_test_perplexity",
            )
        },
        **{
            f"cost/{name}": result[name]
            for name in ("parameters", "macs_per_char", "train_seconds", "chars_per_second")
        },
    }


def _record_result(run: TrackedRun, corpus: Corpus, model: ModelConfig, config: TrainConfig, result: Result) -> None:
    summary, cost = result.figures(), asdict(result.complexity)
    run.metrics(
        {
            **final_metrics(summary),
            "cost/matmul_macs_per_char": cost["matmul_macs_per_char"],
            "cost/report_parameters": cost["report_parameters"],
            "cost/report_macs": cost["report_macs"],
            "cost/trained_parameters": result.trained_parameters,
        },
        step=len(result.history),  # a training that is given more epochs later has two ends
    )
    if result.stopped:
        run.tags({"stopped": result.stopped})
    curves = [p.train_perplexity for p in result.history], [p.val_perplexity for p in result.history]
    bar = result.baselines["val"]
    bars = {"6-gram": 2**bar.ngram_bits_per_char, "letter frequencies": 2**bar.unigram_bits_per_char}
    title = f"{run.name} on {corpus.label}"
    run.picture(CURVES, figures.perplexity_curves(*curves, result.best.epoch, bars, title))
    run.picture("plots/gap.png", figures.generalisation_gap(*curves, f"Generalisation gap, {title}"))
    run.text("complexity.txt", complexity_text(model, len(corpus.vocabulary), cost))
    run.text("samples/final.md", samples_table(result.samples))
    run.json("samples/final.json", {"samples": [asdict(sample) for sample in result.samples]})
    assert result.checkpoint is not None
    run.model(result.checkpoint, prompts_for(corpus.vocabulary)[0])
    run.note(training_note(corpus, model, config, result))


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
        """The text that it was trained on, from where it was found then; InputError if it is another one now."""
        then = self.facts["corpus"]
        return _same_text(then["name"], then["source"], self.vocabulary.alphabet, then["corpus_sha256"])


def _same_text(name: str, source: str, alphabet: Alphabet, corpus_sha256: str) -> Corpus:
    """The text of an earlier training, from where it was found then. InputError if another one is there now."""
    corpus = load_corpus(CorpusConfig(name if name in KNOWN_TEXTS else source, alphabet))
    if corpus.corpus_sha256 != corpus_sha256:
        raise InputError(
            f"the text {name} is not the one that was trained on (sha256 {corpus.corpus_sha256[:8]}..., "
            f"then {corpus_sha256[:8]}...); put that one back at {source} (any other: evaluate --text FILE)"
        )
    return corpus


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
            result |= _corpus_keys(corpus)
            _record_datasets(run, corpus, trained.preset, split)
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
    return _step("evaluate", f"evaluate-{label}-{trained.name}", inputs, trained.tags, work, reuse)


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
        raise InputError(f"--text {path} is not there; give the path of a UTF-8 text file") from None


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
    return _step("sample", f"sample-{trained.name}", inputs, trained.tags, work, reuse)


def write_texts(model: str, prompts: list[str], length: int, decoding: Decoding) -> list[str]:
    """The same texts without a record of them."""
    trained = TrainedModel.find(model)
    return continuations(trained.network, trained.vocabulary, prompts, length, decoding)


def stream_text(model: str, prompt: str, length: int, decoding: Decoding) -> Iterator[str]:
    """One text, piece by piece as it is written: the prompt, then each character."""
    trained = TrainedModel.find(model)
    ids = trained.vocabulary.encode_prompt(prompt)
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
    return _step("complexity", f"complexity-{model.shape}", inputs, {}, work, reuse=False)


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
    with tracking.tracked_run("pipeline", name, _corpus_tags(corpus)) as run:
        run.params({**asdict(corpus_config), **asdict(model), **asdict(config), "force": force})
        _record_datasets(run, corpus, config.preset)
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
        written = do(lambda: sample(trained.run_id, prompts, PIPELINE_SAMPLE_CHARS, decoding, reuse=not force))
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
