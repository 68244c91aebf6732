"""The stage ``train``: train a model in an MLflow run, or resume a training; log metrics, plots, samples and the model.

``train`` and ``resume`` are the two entry points. ``search``, ``reproduce`` and ``answer`` call them through ``do``,
which their worker processes run.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from models.config import ModelConfig
from pipeline.config import RECIPE, STOPPED_BY_TIME, CorpusConfig, TrainConfig, config_id
from pipeline.errors import InputError, option_name
from pipeline.support import machine
from pipeline.support.files import BEST_CHECKPOINT, LAST_CHECKPOINT, write_atomically
from pipeline.support.markdown import plain
from pipeline.text.corpus import Corpus
from pipeline.text.downloads import public
from pipeline.tracking import recorded, runs, store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.program import command
from pipeline.tracking.recorded import RecordedRun, run_id_of
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import (
    CURVES_PLOT,
    Step,
    corpus_keys,
    corpus_options,
    corpus_tags,
    dataset_of,
    record_datasets,
    run_step,
    same_text,
    step_key,
)
from pipeline.training.experiment import MAY_CHANGE, Experiment, Result, steps_kept
from pipeline.training.loop import SILENT, Callback, EpochPoint, Training
from pipeline.training.metrics import VAL_CURVE, epoch_metrics, final_metrics, protocol_of, size_metrics, split_of
from pipeline.training.samples import prompts_for, sample_texts
from pipeline.training.summary import complexity_text, samples_table, training_note

log = logging.getLogger(__name__)

NO_INPUTS = ("budget_seconds", "sample_every")  # options that the result of a training does not depend on

OUTCOME = (  # artifacts to copy before a finished training is resumed with more epochs
    f"checkpoints/{BEST_CHECKPOINT}",
    CURVES_PLOT,
    "plots/gap.png",
    "samples/final.md",
    "samples/final.json",
    recorded.COSTS_FILE,
    recorded.RESULT_FILE,
)


def run_name(corpus: Corpus, model: ModelConfig, train: TrainConfig) -> str:
    """The name of a run: lstm-1x128-s0, followed by what is not the default, such as last-10000, scratch or a text."""
    usual = {model.implementation: "torch", train.preset: "stream", corpus.label: "time-machine"}
    unusual = [name for name, default in usual.items() if name != default]
    last = [f"last-{train.train_chars}"] if train.train_chars else []
    return "-".join([model.shape, f"s{train.seed}", *last, *unusual])


@dataclass(frozen=True)
class Setting:
    """The context of a training; by default, it is on its own and shows no progress.

    study: the study that it belongs to; only runs of this study are reused. parent: id of the parent run.
    tags: further tags of its run. progress: takes the run's name, returns a context manager with a further callback.
    """

    study: str = ""
    parent: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[str], AbstractContextManager[Callback]] = lambda name: nullcontext(SILENT)


ALONE = Setting()


def train(
    corpus: Corpus,
    corpus_config: CorpusConfig,
    model: ModelConfig,
    config: TrainConfig,
    reuse: bool = False,
    setting: Setting = ALONE,
) -> Step:
    """Train one model in its own run.

    With ``reuse``, a finished run with the same step key is reused and a stopped one resumed. The run records the
    curves, final metrics, configuration, environment, plots, sample texts, both checkpoints, and the model for serving.
    Raises InputError, TrainingDivergedError, and RecordingError if the store refuses.
    """
    extra_inputs = {"study": setting.study} if setting.study else {}
    return run_step(
        "train",
        run_name(corpus, model, config),
        {**_training_inputs(corpus, corpus_config, model, config), **extra_inputs},
        {**corpus_tags(corpus), **setting.tags, **_training_tags(corpus, corpus_config, model, config, extra_inputs)},
        partial(_train, partial(Experiment, corpus, model, config), corpus_config, setting),
        reuse,
        go_on=lambda key: _resume_stopped(key, setting),
        parent=setting.parent,
    )


def _resume_stopped(key: str, setting: Setting) -> Step | None:
    """Resume and finish a stopped training with this step key; return None if there is none."""
    stopped = recorded.stopped_step(key)
    if stopped is None:
        return None
    try:
        return resume(stopped, {}, setting)
    except InputError as error:  # another process may have resumed it meanwhile
        log.warning("%s: starting over", error)
        return None


def _training_tags(
    corpus: Corpus,
    corpus_config: CorpusConfig,
    model: ModelConfig,
    config: TrainConfig,
    extra_inputs: Mapping[str, str],
) -> dict[str, str]:
    """The configuration as a tag, which ``resume`` reads, and its digest.

    ``extra_inputs`` are the inputs of the step key that no option decides: "study", and "mixed" for a training whose
    parts ran with different versions of torch or limits, so that no other training equals it.
    """
    text = {
        "name": corpus.name,
        "source": corpus.source,
        "corpus_sha256": corpus.corpus_sha256,
        "train_chars": corpus.train_chars,
    }
    configuration = {
        "corpus": corpus_options(corpus_config),
        "model": asdict(model),
        "train": asdict(config),
        "recipe": RECIPE[config.preset],
        "text": text,
        **extra_inputs,
    }
    return {
        "config": json.dumps(configuration),
        "config_id": config_id(model, config, corpus.corpus_sha256),
    }


def _training_inputs(
    corpus: Corpus, corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig
) -> dict[str, Any]:
    return {
        "alphabet": corpus_config.alphabet,
        "model": asdict(model),
        "train": {key: value for key, value in asdict(config).items() if key not in NO_INPUTS},
        "recipe": RECIPE[config.preset],
        **corpus_keys(corpus),
    }


class Recorder(Callback):
    """Records an experiment in its run while it trains."""

    def __init__(self, run: TrackedRun, experiment: Experiment, options: Mapping[str, Any]) -> None:
        self.run, self.experiment, self.options = run, experiment, options
        self.config = experiment.train_config

    def on_start(self, training: Training) -> None:
        resolved = {
            "epochs": training.epochs,
            "precision": training.precision,
            "kernel": training.model.kernel,
            "device": training.device,
            "threads": training.threads,
            "recipe": RECIPE[self.config.preset],
            "chars_per_epoch": training.data.chars_per_epoch,
            "val_chars": training.data.val_chars,
        }
        self.run.params({**self.options, **resolved})
        for point in training.history:  # again: the process may have died between a checkpoint and its metrics
            self.run.metrics(epoch_metrics(point, self.config.preset), point.epoch)
        if training.history and training.partial_epoch is None:
            self._sample_if_due(training, training.history[-1])

    def before_checkpoint(self, training: Training) -> None:
        self.run.check_is_recorded()  # or the checkpoint would recreate the folder of a checkout that was moved

    def on_epoch(self, training: Training, point: EpochPoint) -> None:
        self.run.metrics(epoch_metrics(point, self.config.preset), point.epoch)
        self.run.send_checkpoints_if_due()
        self._sample_if_due(training, point)

    def _sample_if_due(self, training: Training, point: EpochPoint) -> None:
        every = self.config.sample_every
        if every and point.epoch % every == 0 and not training.done:
            texts = sample_texts(training.eval_model, self.experiment.corpus.vocabulary, self.config.seed)
            self.run.text(f"samples/epoch-{point.epoch:04d}.md", samples_table(texts))


def _train(
    experiment_in: Callable[[Path], Experiment], corpus_config: CorpusConfig, setting: Setting, run: TrackedRun
) -> dict[str, Any]:
    """Train an experiment from its current state to its end, record it, and return the flat result.

    ``experiment_in`` takes the folder of the run's checkpoints.
    """
    experiment = experiment_in(run.checkpoint_dir)
    corpus, model, config = experiment.corpus, experiment.model_config, experiment.train_config
    text = corpus_options(corpus_config)
    _record_environment(run, len(experiment.training.history))
    run.yaml("config.yaml", {"corpus": text, "model": asdict(model), "train": asdict(config)})
    record_datasets(run, corpus, config.preset)
    with setting.progress(run.name) as progress:
        try:
            recorder = Recorder(run, experiment, {**text, **asdict(model), **asdict(config)})
            result = experiment.run(recorder, progress)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit) and not setting.study:  # a study resumes by itself
                resume_command = f"{command()} train --resume {run.id}"
                log.warning("The epochs trained so far are kept. Resume with: %s", resume_command)
            run.send_what_is_kept(error)  # a failed run keeps its best checkpoint too
            raise
    run.send_checkpoints()
    _record_result(run, corpus, model, config, result, bool(setting.study))
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


@dataclass(frozen=True)
class EarlierTraining:
    """An earlier training to resume: its run, and the text and configurations that it was started with."""

    run: RecordedRun
    options: Mapping[str, Any]
    text: Mapping[str, str]
    corpus_config: CorpusConfig
    model: ModelConfig
    config: TrainConfig

    @classmethod
    def load(cls, run_id: str) -> "EarlierTraining":
        """Load it from its run. Raises InputError for a run that can't be resumed."""
        run = recorded.resumable_run(run_id)
        options = run.configuration
        try:
            corpus_config, model = CorpusConfig(**options["corpus"]), ModelConfig(**options["model"])
            config = TrainConfig(**options["train"])
            if (recipe := options["recipe"]) != RECIPE[config.preset]:
                raise ValueError(f"by recipe {recipe}; this one trains by recipe {RECIPE[config.preset]}")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"--resume {run_id} ({run.name}) was started by another version ({error}); start a new training"
            ) from error
        return cls(run, options, options["text"], corpus_config, model, config)

    @property
    def name(self) -> str:
        return self.run.name

    def corpus(self) -> Corpus:
        """Load its text. Raises InputError if the text has changed."""
        text = self.text
        return same_text(text["name"], text["source"], self.corpus_config.alphabet, text["corpus_sha256"])

    def check_can_resume(self, experiment: Experiment) -> None:
        """Raise InputError if its checkpoints are gone, or if there is nothing left to train."""
        what = f"--resume {self.run.id} ({self.name})"
        if not experiment.training.history and VAL_CURVE in self.run.metrics:
            raise InputError(
                f"{what} has lost its checkpoints: {experiment.checkpoint_dir} has no "
                f"{LAST_CHECKPOINT}; restore it (after a move: `tmlm doctor --repair`), or start a new training"
            )
        if experiment.training.done and self.run.state == "finished":
            raise InputError(f"{what} has nothing left to do: {_why_done(experiment.training)}")

    def extra_inputs(self, corpus: Corpus) -> dict[str, str]:
        """The ``extra_inputs`` of the resumed training, as ``_training_tags`` takes them."""
        extra = {name: self.options[name] for name in ("study", "mixed") if self.options.get(name)}
        key = self.run.tag("step_key")
        inputs = {**_training_inputs(corpus, self.corpus_config, self.model, self.config), **extra}
        if key != step_key("train", inputs):
            log.warning("torch changed after %s was started; it may not be bit-identical", self.name)
            return extra | {"mixed": key}
        if self.run.tag("stopped").startswith(STOPPED_BY_TIME):
            return extra | {"mixed": key}  # the epoch that the time limit cut short stays short
        return extra


def resume(run_id: str, changes: Mapping[str, Any], setting: Setting = ALONE) -> Step:
    """Resume a training that was stopped, killed or given too few epochs or seconds, in its own run.

    ``run_id`` may be any reference that ``run_id_of`` takes. ``changes`` are options by field name: None or "auto"
    keeps the run's value, and only those in MAY_CHANGE may have a new one. Raises InputError, and leaves the run
    unchanged, for any other change, for a run that can't be resumed, and for one that has nothing left to do.
    """
    changes = {option: value for option, value in changes.items() if value not in (None, "auto")}
    close_the_dead(store.setup())  # the run may be RUNNING although its process died
    run_id = run_id_of(run_id, "--resume ")
    earlier = EarlierTraining.load(run_id)
    config = _changed(earlier, changes)
    corpus = earlier.corpus()
    experiment = Experiment(corpus, earlier.model, config, _checkpoints_of(earlier.run))
    earlier.check_can_resume(experiment)
    extra_inputs = earlier.extra_inputs(corpus)
    task = (corpus, earlier.corpus_config, earlier.model, config)
    tags = {**corpus_tags(corpus), **setting.tags, **_training_tags(*task, extra_inputs)}
    inputs = {**_training_inputs(*task), **extra_inputs}
    done = len(experiment.training.history)

    def work(run: TrackedRun) -> dict[str, Any]:
        log.warning("Resuming %s (%s) after epoch %d", earlier.name, run_id, done)
        if not experiment.training.done:
            _keep_outcome(run)
        run.tags({f"resumed.{option}": value for option, value in changes.items() if option in MAY_CHANGE})
        return _train(lambda folder: experiment, earlier.corpus_config, setting, run)

    def train_the_rest() -> Step:
        return run_step("train", earlier.name, inputs, tags, work, reuse=False, resumed=earlier.run)

    if not runs.is_under_mlflow():
        return train_the_rest()
    with runs.tracked_run("resume", f"resume-{earlier.name}", {"trained_run": run_id}) as mlflow_run:
        step = train_the_rest()
        mlflow_run.constants(final_metrics(step.result))
        mlflow_run.note(f"Resumed the training {plain(earlier.name)} ({run_id}).")
    return step


def _checkpoints_of(run: RecordedRun) -> Path:
    """The local folder of a run's checkpoints, after fetching the last one from a remote store if it is later."""
    folder = store.checkpoint_folder(run.id, run.artifact_uri)
    fetched = recorded.fetch_checkpoints(run)
    if fetched is not None and steps_kept(fetched) > steps_kept(folder):
        write_atomically(folder / LAST_CHECKPOINT, (fetched / LAST_CHECKPOINT).read_bytes())
    return folder


def _why_done(training: Training) -> str:
    """Why there is nothing left to train, and which option would change that."""
    if training.stopped.startswith(STOPPED_BY_TIME):
        return f"it was stopped by {training.stopped}; give a larger --max-seconds"
    if training.stopped:
        return f"it was stopped by {training.stopped}; start a new training with another value"
    more = "give more --epochs" if training.config.schedule == "constant" else "start a new training with more --epochs"
    return f"epoch {len(training.history)} was the last one; {more}"


def _keep_outcome(run: TrackedRun) -> None:
    """Copy the outcome of a finished training before it is continued; result.json last, to mark the copy complete."""
    if not run.has(recorded.RESULT_FILE):
        return
    epochs = json.loads(recorded.read_text(run.id, recorded.RESULT_FILE))["epochs"]
    folder = f"earlier/epoch-{epochs:04d}"
    if not run.has(f"{folder}/{recorded.RESULT_FILE}"):
        run.keep_copies(OUTCOME, folder)


def _changed(earlier: EarlierTraining, changes: Mapping[str, Any]) -> TrainConfig:
    """The configuration to resume with. Raises InputError if an option that is not in MAY_CHANGE has a new value."""
    options = {**earlier.options["corpus"], **asdict(earlier.model), **asdict(earlier.config)}
    options["corpus"] = public(options["corpus"])
    for option, given in changes.items():
        value = public(given) if option == "corpus" else given
        if option not in MAY_CHANGE and value != options[option]:
            may = ", ".join(map(option_name, MAY_CHANGE))
            raise InputError(
                f"{option_name(option)} {value} is not what {earlier.name} was started with ({options[option]}); "
                f"leave it out (only {may} may change), or start a new training"
            )
    return replace(earlier.config, **{option: changes[option] for option in MAY_CHANGE if option in changes})


def _record_environment(run: TrackedRun, epoch: int) -> None:
    """Record environment.yaml; for a training that is resumed in another environment, record that in a second file."""
    environment = machine.environment()
    if not run.has("environment.yaml"):
        run.yaml("environment.yaml", environment)
    elif yaml.safe_load(recorded.read_text(run.id, "environment.yaml")) != environment:
        run.yaml(f"environment-from-epoch-{epoch:04d}.yaml", environment)


def _record_result(
    run: TrackedRun, corpus: Corpus, model: ModelConfig, config: TrainConfig, result: Result, is_of_study: bool
) -> None:
    """Record a finished training: plots, size, sample texts, the model, metrics and the note of its run's page."""
    from pipeline.training import figures  # imported here, as matplotlib is: a step that is reused draws nothing

    if result.stopped:
        run.tags({"stopped": result.stopped})
    if protocol := protocol_of(corpus.train_chars, model, config, result.stopped, is_of_study):
        run.tags({"protocol": protocol})
    curves = [p.train_perplexity for p in result.history], [p.val_perplexity for p in result.history]
    baselines = result.baselines["val"].perplexities()
    title = f"{run.name} on {corpus.label}"
    run.picture(CURVES_PLOT, figures.perplexity_curves(*curves, result.best.epoch, baselines, title))
    run.picture("plots/gap.png", figures.generalisation_gap(*curves, f"Generalisation gap, {title}"))
    run.text("complexity.txt", complexity_text(model, len(corpus.vocabulary), asdict(result.complexity)))
    run.text("samples/final.md", samples_table(result.samples))
    run.json("samples/final.json", {"samples": [asdict(sample) for sample in result.samples]})
    run.json(recorded.COSTS_FILE, result.block_costs)
    _record_model(run, corpus, model, config, result)
    run.note(training_note(corpus, model, config, result))


def _record_model(run: TrackedRun, corpus: Corpus, model: ModelConfig, config: TrainConfig, result: Result) -> None:
    """Log the best epoch's model, and the final metrics for the run, the model and the datasets."""
    assert result.checkpoint is not None
    example = prompts_for(corpus.vocabulary)[0]
    model_id = run.model(model.shape, result.checkpoint, example, result.best.epoch, {"corpus": corpus.label})
    metrics = final_metrics(result.figures()) | size_metrics(result.complexity, result.trained_parameters)
    datasets = {split: dataset_of(corpus, config.preset, split) for split in ("val", "test")}
    measured = {key: datasets[split] for key in metrics if (split := split_of(key))}
    run.constants(metrics, model_id, measured)
