"""What a worker of a search or a reproduction does: trainings, and before them the timing of some steps."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from models.config import ModelConfig
from pipeline.config import STOPPED_BY_TIME, CorpusConfig, PresetName, TrainConfig, config_id
from pipeline.errors import InputError, option_name
from pipeline.support import machine
from pipeline.support.files import BEST_CHECKPOINT, LAST_CHECKPOINT, write_atomically
from pipeline.support.markdown import plain
from pipeline.support.progress import Progress, progress
from pipeline.support.workers import Workers
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.text.downloads import public
from pipeline.tracking import records, runs, store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.records import RecordedRun
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import (
    CURVES_PLOT,
    Step,
    corpus_keys,
    corpus_options,
    corpus_tags,
    final_metrics,
    record_datasets,
    run_step,
    same_text,
    step_key,
)
from pipeline.training import figures
from pipeline.training.experiment import MAY_CHANGE, Experiment, Observer, Result, steps_kept
from pipeline.training.loop import EpochPoint, Training
from pipeline.training.samples import prompts_for, sample_texts
from pipeline.training.summary import complexity_text, samples_table, training_note
from pipeline.training.timing import Timing, TimingTask, time_training

log = logging.getLogger(__name__)

Role = Literal["trial", "confirmation", "report", "stream"]


@dataclass(frozen=True)
class TrainingTask:
    """One training: a trial of a search, another seed of a configuration that is on its front, or of a reproduction.

    ``number`` is the trial's, of a confirmation that of the trial which it repeats, else the row's in its table.
    ``stop``, which has to pickle, is asked after each epoch with the validation curve and the number of epochs, and
    gives a reason to stop or "". ``going_on`` is the id of a run to resume, which may have been begun with fewer epochs
    or seconds; where that can't be, it is trained anew.
    """

    role: Role
    number: int
    corpus: CorpusConfig
    model: ModelConfig
    train: TrainConfig
    study: str
    parent: str
    tags: Mapping[str, str] = field(default_factory=dict)
    stop: Callable[[Sequence[float], int], str] | None = None
    going_on: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from the other tasks of its search."""
        return self.role, self.number, self.train.seed


class Shares(Progress):
    """Tells which share of the training is done."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._total, self._done = 1, 0

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        self._total, self._done = total_steps, done_steps
        self.advance(0)

    def advance(self, steps: int) -> None:
        self._done += steps
        self._tell(min(1.0, self._done / self._total))


@cache
def _corpus_of_task(config: CorpusConfig) -> Corpus:
    return load_corpus(config)


def do(task: TrainingTask | TimingTask, report: Callable[[float], None]) -> dict[str, Any] | Timing:
    """A training's result, or how long its steps take."""
    if isinstance(task, TimingTask):
        return time_training(_corpus_of_task(task.corpus), task.model, task.train)
    return _train_task(task, report)


def _train_task(task: TrainingTask, report: Callable[[float], None]) -> dict[str, Any]:
    """Train in a run that is nested in another; tells the share that is done, returns the training's result.

    A run of the same study that was stopped is gone on with, the result of a finished one is reused.
    """

    @contextmanager
    def bar(name: str) -> Iterator[Progress]:
        yield Shares(report)

    def reason_to_stop(training: Training) -> str:
        if task.stop is None:
            return ""
        return task.stop([point.val_perplexity for point in training.history], training.epochs)

    corpus = _corpus_of_task(task.corpus)
    begun_on = task.tags.get("corpus.sha256", corpus.corpus_sha256)
    if corpus.corpus_sha256 != begun_on:  # the file was changed, or what could not be downloaded now can
        raise InputError(
            f"the text {public(task.corpus.corpus)} is no longer the one that was begun on "
            f"(sha256 {corpus.corpus_sha256[:8]}..., then {begun_on[:8]}...); put that one back"
        )
    setting = Setting(task.study, task.parent, task.tags, bar, reason_to_stop)
    if task.going_on:
        changes = {name: getattr(task.train, name) for name in ("epochs", "max_seconds")}
        try:
            return resume(task.going_on, changes, setting).result
        except InputError as error:  # its checkpoints are gone, or damaged
            log.warning("%s: it is trained anew", error)
    step = train(corpus, task.corpus, task.model, task.train, reuse=True, setting=setting)
    return step.result


def train_in_processes(count: int) -> Workers:
    """Worker processes of one thread each."""
    return Workers(do, count)


OUTCOME = (  # of a training: kept when it is given more epochs
    f"checkpoints/{BEST_CHECKPOINT}",
    CURVES_PLOT,
    "plots/gap.png",
    "samples/final.md",
    "samples/final.json",
    records.RESULT_FILE,
)


def run_name(corpus: Corpus, model: ModelConfig, train: TrainConfig) -> str:
    """lstm-1x128-s0, with what is out of the ordinary behind it: scratch, report, another text."""
    usual = {model.implementation: "torch", train.preset: "stream", corpus.label: "time-machine"}
    return "-".join([model.shape, f"s{train.seed}", *(name for name, default in usual.items() if name != default)])


@dataclass(frozen=True)
class Setting:
    """What a training is part of, and who looks on; by default it stands for itself, with a bar on the terminal.

    study: the name of the study that it counts in: only runs of that study are reused for it.
    parent: the run that its own is nested in. tags: what that run carries beside its own.
    bar: where its progress is shown. reason_to_stop: asked after each epoch; "" is none.
    """

    study: str = ""
    parent: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    bar: Callable[[str], AbstractContextManager[Progress]] = progress
    reason_to_stop: Callable[[Training], str] = lambda training: ""


def train(
    corpus: Corpus,
    corpus_config: CorpusConfig,
    model: ModelConfig,
    config: TrainConfig,
    reuse: bool = False,
    setting: Setting = Setting(),
) -> Step:
    """Train one model in a run of its own; with ``reuse``, one of the same key that is finished or was stopped will do.

    A stopped one is gone on with. The run has the curves, the final figures and costs, the configuration and the
    environment, pictures, sample texts, both checkpoints, and the model as it is served. Raises InputError for a text
    or shape that can't be trained on, TrainingDivergedError, and RecordingError where the store refuses.
    """
    name = run_name(corpus, model, config)
    part_of = {"study": setting.study} if setting.study else {}

    def work(run: TrackedRun) -> dict[str, Any]:
        _record_environment(run, 0)
        experiment = Experiment(corpus, model, config, run.checkpoint_dir)
        return _train(run, experiment, corpus_config, setting)

    tags = {**corpus_tags(corpus), **setting.tags, **_training_tags(corpus, corpus_config, model, config, part_of)}
    inputs = {**_training_inputs(corpus, corpus_config, model, config), **part_of}
    return run_step(
        "train", name, inputs, tags, work, reuse, go_on=lambda key: _gone_on_with(key, setting), parent=setting.parent
    )


def _gone_on_with(key: str, setting: Setting) -> Step | None:
    """A training that was stopped, of the same key, gone on with to its end; None if there is none."""
    stopped = records.stopped_step(key)
    if stopped is None:
        return None
    try:
        return resume(stopped, {}, setting)
    except InputError as error:  # another process may have been faster
        log.warning("%s: it is trained anew", error)
        return None


def _training_tags(
    corpus: Corpus, corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig, part_of: Mapping[str, str]
) -> dict[str, str]:
    """Those that follow from the configuration, and the configuration itself, for ``resume``.

    ``part_of`` is what else its key depends on: "study", and "mixed" where its parts were not trained alike, so that
    no other training equals it.
    """
    text = {"name": corpus.name, "source": corpus.source, "corpus_sha256": corpus.corpus_sha256}
    whole = {
        "corpus": corpus_options(corpus_config),
        "model": asdict(model),
        "train": asdict(config),
        "text": text,
        **part_of,
    }
    digest = config_id(asdict(model), asdict(config), corpus.corpus_sha256)
    return {records.CONFIG_TAG: json.dumps(whole), "config_id": digest}


def _training_inputs(
    corpus: Corpus, corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig
) -> dict[str, Any]:
    return {
        "alphabet": corpus_config.alphabet,
        "model": asdict(model),
        "train": {key: value for key, value in asdict(config).items() if key != "sample_every"},
        **corpus_keys(corpus),
    }


def _train(run: TrackedRun, experiment: Experiment, corpus_config: CorpusConfig, setting: Setting) -> dict[str, Any]:
    """The work of a training, from wherever the experiment stands."""
    corpus, model, config = experiment.corpus, experiment.model_config, experiment.train_config
    run.yaml("config.yaml", {"corpus": corpus_options(corpus_config), "model": asdict(model), "train": asdict(config)})
    record_datasets(run, corpus, config.preset)
    with setting.bar(run.name) as bar:

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
            run.params({**corpus_options(corpus_config), **asdict(model), **asdict(config), **settings})
            for point in training.history:  # the process may have gone between a checkpoint and its figures
                run.metrics(epoch_metrics(point, config.preset), point.epoch)
            if training.history and training.partial_epoch is None:
                sample_if_due(training, training.history[-1])

        def on_epoch(training: Training, point: EpochPoint) -> None:
            bar.show(train=point.train_perplexity, val=point.val_perplexity)
            run.metrics(epoch_metrics(point, config.preset), point.epoch)
            sample_if_due(training, point)

        def sample_if_due(training: Training, point: EpochPoint) -> None:
            if config.sample_every and point.epoch % config.sample_every == 0 and not training.done:
                texts = sample_texts(training.eval_model, corpus.vocabulary, config.seed)
                run.text(f"samples/epoch-{point.epoch:04d}.md", samples_table(texts))

        def reason_to_stop(training: Training) -> str:
            run.check_is_recorded()  # before the epoch's checkpoint makes the folder of a moved checkout anew
            return setting.reason_to_stop(training)

        try:
            result = experiment.run(Observer(on_start, bar.advance, on_epoch, reason_to_stop))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit) and not setting.study:  # a search resumes it by itself
                log.warning("What was trained is kept. Go on with: tmlm train --resume %s", run.id)
            run.send_what_is_kept(error)  # a failed run keeps its best checkpoint too
            raise
    run.send_checkpoints()
    _record_result(run, corpus, model, config, result)
    run.forget_checkpoints()
    kept = {"checkpoint": run.address_of(f"checkpoints/{BEST_CHECKPOINT}")} if run.has_remote_artifacts else {}
    return {
        **corpus_keys(corpus),
        **result.figures(),
        **kept,
        "val_perplexities": [point.val_perplexity for point in result.history],
        "texts": [sample.text for sample in result.samples],
        "last_texts": result.last_texts,
        "trained_parameters": result.trained_parameters,
        "precision": result.precision,
        "device": result.device,
    }


def resume(run_id: str, changes: Mapping[str, Any], setting: Setting = Setting()) -> Step:
    """Go on with a training that was stopped, killed or given too little, in its own run.

    ``changes`` are options by field name; None or "auto" is as the run has it, and only those of MAY_CHANGE may be
    anything else. Raises InputError, and leaves the run as it is, for any other, for a run that can't be gone on with,
    and for one that has nothing left to do.
    """
    changes = {option: value for option, value in changes.items() if value not in (None, "auto")}
    close_the_dead(store.setup())  # it may be one of them
    found = records.resumable_run(run_id)
    name = found.info.run_name
    begun = json.loads(found.data.tags[records.CONFIG_TAG])
    try:
        text, corpus_config, model = begun["text"], CorpusConfig(**begun["corpus"]), ModelConfig(**begun["model"])
        config_then = TrainConfig.from_record(begun["train"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"--resume {run_id} ({name}) was begun by another version ({error}); train anew") from error
    config = _changed(name, begun, changes)
    corpus = same_text(text["name"], text["source"], corpus_config.alphabet, text["corpus_sha256"])
    experiment = Experiment(corpus, model, config, _checkpoints_of(found))
    done = len(experiment.training.history)
    if not done and "perplexity/val" in found.data.metrics:
        raise InputError(
            f"--resume {run_id} ({name}) has lost its checkpoints: {experiment.checkpoint_dir} has no "
            f"{LAST_CHECKPOINT}; put that back (after a move: `tmlm doctor --repair`), or train anew"
        )
    if experiment.training.done and found.info.status == "FINISHED":
        raise InputError(f"--resume {run_id} ({name}) has nothing left to do: {_why_done(experiment.training)}")
    key_then = found.data.tags["step_key"]
    part_of = {name: begun[name] for name in ("study", "mixed") if begun.get(name)}
    if key_then != step_key("train", {**_training_inputs(corpus, corpus_config, model, config_then), **part_of}):
        log.warning("The code or a library has changed since %s was begun: it won't be bit for bit", name)
        part_of["mixed"] = key_then
    elif found.data.tags.get("stopped", "").startswith(STOPPED_BY_TIME):
        part_of["mixed"] = key_then  # the epoch that its time cut short stays as short as it is
    tags = {**corpus_tags(corpus), **setting.tags, **_training_tags(corpus, corpus_config, model, config, part_of)}

    def work(run: TrackedRun) -> dict[str, Any]:
        log.warning("Going on with %s (%s) after epoch %d", name, run_id, done)
        _record_environment(run, done)
        if not experiment.training.done:
            _keep_outcome(run)
        run.tags({f"resumed.{option}": value for option, value in changes.items() if option in MAY_CHANGE})
        return _train(run, experiment, corpus_config, setting)

    inputs = {**_training_inputs(corpus, corpus_config, model, config), **part_of}

    def go_on() -> Step:
        return run_step("train", name, inputs, tags, work, reuse=False, resumed=found)

    if not runs.is_under_mlflow():
        return go_on()
    with runs.tracked_run("resume", f"resume-{name}", {"trained_run": run_id}) as begun_by_mlflow:
        step = go_on()
        begun_by_mlflow.metrics(final_metrics(step.result))
        begun_by_mlflow.note(f"Went on with the training {plain(name)} ({run_id}).")
    return step


def _checkpoints_of(run: RecordedRun) -> Path:
    """The folder with a run's checkpoints on this machine: the further ones, where it has some elsewhere too."""
    folder = store.checkpoint_folder(run.info.run_id, run.info.artifact_uri)
    elsewhere = records.fetch_checkpoints(run)
    if elsewhere is not None and steps_kept(elsewhere) > steps_kept(folder):
        write_atomically(folder / LAST_CHECKPOINT, (elsewhere / LAST_CHECKPOINT).read_bytes())
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
    if not run.has(records.RESULT_FILE):
        return
    epochs = json.loads(records.read_text(run.id, records.RESULT_FILE))["epochs"]
    folder = f"earlier/epoch-{epochs:04d}"
    if not run.has(f"{folder}/{records.RESULT_FILE}"):
        run.keep_copies(OUTCOME, folder)


def _changed(name: str, begun: Mapping[str, Any], changes: Mapping[str, Any]) -> TrainConfig:
    """The configuration that a training goes on with. InputError for a change that would make it another one."""
    options = {**begun["corpus"], **begun["model"], **begun["train"]}
    options["corpus"] = public(options["corpus"])
    for option, given in changes.items():
        value = public(given) if option == "corpus" else given
        if option not in MAY_CHANGE and value != options[option]:
            may = ", ".join(option_name(each) for each in MAY_CHANGE)
            raise InputError(
                f"{option_name(option)} {value} is not what {name} was begun with ({options[option]}); "
                f"leave it out (only {may} may change), or train anew"
            )
    return TrainConfig.from_record(begun["train"] | {each: changes[each] for each in MAY_CHANGE if each in changes})


def _record_environment(run: TrackedRun, epoch: int) -> None:
    """environment.yaml; of a training that goes on elsewhere, another one beside it."""
    environment = machine.environment()
    if not run.has("environment.yaml"):
        run.yaml("environment.yaml", environment)
    elif yaml.safe_load(records.read_text(run.id, "environment.yaml")) != environment:
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
    bars = result.baselines["val"].perplexities()
    title = f"{run.name} on {corpus.label}"
    run.picture(CURVES_PLOT, figures.perplexity_curves(*curves, result.best.epoch, bars, title))
    run.picture("plots/gap.png", figures.generalisation_gap(*curves, f"Generalisation gap, {title}"))
    run.text("complexity.txt", complexity_text(model, len(corpus.vocabulary), cost))
    run.text("samples/final.md", samples_table(result.samples))
    run.json("samples/final.json", {"samples": [asdict(sample) for sample in result.samples]})
    assert result.checkpoint is not None
    run.model(result.checkpoint, prompts_for(corpus.vocabulary)[0])
    run.note(training_note(corpus, model, config, result))
