"""The stage ``train``: train a model in an MLflow run, or resume a training; log metrics, plots, samples and the model.

``train`` and ``resume`` are the two entry points. The worker processes of sweeps call them through ``sweep.do``.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, cast

from models.config import ModelConfig
from pipeline.config import (
    NOT_COMPUTED,
    RECIPE,
    SHAPE,
    WORDS,
    CorpusConfig,
    StoppedBy,
    TrainConfig,
    chosen_options,
    config_id,
    model_identity,
    train_identity,
)
from pipeline.errors import InputError, option_name, without_secrets
from pipeline.results import TRAIN, TrainingResult
from pipeline.stages.sentences import complexity_text
from pipeline.support import files, machine
from pipeline.support.wording import listed
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts, liveness, program, queries, recorded, references, runs, store, text_identity
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import CURVES_PLOT, Step, finished_step, step_key
from pipeline.tracking.text_identity import corpus_figures, corpus_keys, corpus_options, corpus_tags, record_datasets
from pipeline.training.experiment import MAY_CHANGE, Experiment, Result, steps_kept
from pipeline.training.files import BEST_CHECKPOINT, LAST_CHECKPOINT
from pipeline.training.loop import Callback, EpochPoint, Training
from pipeline.training.metrics import VAL_CURVE, epoch_metrics, final_metrics, protocol_of, size_metrics, split_of
from pipeline.training.samples import prompts_for, sample_texts
from pipeline.training.sentences import samples_table, training_note

log = logging.getLogger(__name__)

LENGTH = ("epochs", "budget_chars")
NAMED_CHARS = 60  # at most, of a run's name for its options
NO_INPUTS = ("sample_every",)  # options that the result of a training does not depend on

OUTCOME = (  # artifacts to copy before a finished training is resumed with more epochs
    *(f"checkpoints/{BEST_CHECKPOINT}", CURVES_PLOT, "plots/gap.png", "samples/final.md", artifacts.SAMPLES_FILE),
    *(artifacts.COSTS_FILE, artifacts.RESULT_FILE),
)


def run_name(corpus: Corpus, model: ModelConfig, train: TrainConfig, is_of_study: bool = False, seeds: str = "") -> str:
    """The name of a run: lstm-1x128-s0, the options that were chosen, the preset and the text, without the usual ones.

    For example gru-2x16-s0-scratch-epochs-2-rate-0.01-best-my-book. Options of more than NAMED_CHARS end in a digest of
    all. In a study, which has one length and its own space, only the implementation and ``train_chars`` are named.
    ``seeds`` stands in place of the seed, for several of them.
    """
    named: list[str] = [model.implementation] if model.implementation != "torch" else []
    if is_of_study:
        named = [f"last-{train.train_chars}", *named] if train.train_chars else named
    else:
        for name, value in chosen_options(model, train, corpus.train_chars, len(corpus.vocabulary)).items():
            named.append(f"{WORDS[name]}-{('off', 'on')[value] if isinstance(value, bool) else value}")
    if len(whole := "-".join(named)) > NAMED_CHARS:
        while len("-".join(named)) > NAMED_CHARS:
            named.pop()
        named.append(sha256(whole.encode()).hexdigest()[:6])
    usual = {train.preset: "stream", corpus.label: "time-machine"}
    unusual = [name for name, default in usual.items() if name != default]
    return "-".join([model.shape, seeds or f"s{train.seed}", *named, *unusual])


@dataclass(frozen=True)
class TrainingContext:
    """The context of a training; by default, it is on its own and shows no progress.

    study: the study that it belongs to; only runs of this study are reused. parent: id of the parent run.
    tags: further tags of its run. progress: takes the run's name, returns a context manager with a further callback.
    """

    study: str = ""
    parent: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[str], AbstractContextManager[Callback]] = lambda name: nullcontext(Callback())

    @property
    def is_of_study(self) -> bool:
        """Whether a sweep chose the options: not so for several seeds of what a person chose."""
        return bool(self.study) and self.tags.get("role", "") not in recorded.OWN_ROLES


ALONE = TrainingContext()


@dataclass(frozen=True)
class Resumed:
    """A training to continue in its own run, as ``resume`` has checked it; ``extra`` is as in ``training_identity``."""

    run: recorded.RecordedTraining
    experiment: Experiment
    extra: Mapping[str, str]


def train(
    corpus: Corpus,
    model: ModelConfig,
    config: TrainConfig,
    reuse: bool = False,
    context: TrainingContext = ALONE,
    resumed: Resumed | None = None,
) -> Step[TrainingResult]:
    """Train one model in its own run.

    With ``reuse``, a finished run with the same step key is reused and a stopped one resumed. The run records the
    curves, final metrics, configuration, environment, plots, sample texts, checkpoints, and the model for serving. Once
    it has finished and no option can make it go on, it keeps the best checkpoint only.
    Raises InputError, TrainingDivergedError, and RecordingError if the store refuses.
    """
    extra = resumed.extra if resumed else {"study": context.study} if context.study else {}
    inputs, tags = training_identity(corpus, model, config, extra, context)
    tags["step_key"] = key = step_key(TRAIN, inputs)
    if reuse and (step := finished_step(TRAIN, key) or _resume_stopped(key, context)):
        return step

    name = resumed.run.name if resumed else run_name(corpus, model, config, context.is_of_study)
    with runs.tracked_run(TRAIN, name, tags, resumed.run if resumed else None, context.parent) as run:
        experiment = resumed.experiment if resumed else Experiment(corpus, model, config, run.checkpoint_dir)
        corpus = experiment.corpus
        if resumed:
            _keep_outcome(run, experiment.training)
        _record_start(run, experiment, context)

        options = {**corpus_options(corpus), **asdict(model), **asdict(config)}
        recorder = Recorder(run, corpus, config, options)
        with context.progress(run.name) as progress:
            try:
                result = experiment.run(recorder, progress)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | SystemExit) and not context.study:  # a study resumes by itself
                    has_ended = bool(experiment.training.history)
                    kept = "The epochs trained so far are kept" if has_ended else "The first epoch has not ended"
                    log.warning("%s. Resume with: %s train --resume %s", kept, program.command(), run.id)
                run.send_what_is_kept(error)  # a failed run keeps its best checkpoint too
                raise
        del experiment, recorder  # with the optimizer: logging the model keeps this frame in a cycle for a while

        run.send_checkpoints()
        if stopped_by := result.figures["stopped_by"]:
            protocol = protocol_of(config, stopped_by, context.is_of_study)
            run.tags({"stopped": result.figures["stopped"], "stopped_by": stopped_by, "protocol": protocol})
        _record_result(run, corpus, model, config, result)
        run.forget_checkpoints()
        remote = without_secrets(f"{run.artifact_uri}/checkpoints/{BEST_CHECKPOINT}")
        where = {"checkpoint": remote} if run.has_remote_artifacts else {}
        figures = {"run_id": run.id, **corpus_figures(corpus), **result.figures, **where}
        run.json(artifacts.RESULT_FILE, figures)
    if not _may_go_on(config, result.figures["stopped_by"]):
        run.drop_last_checkpoint()
    return Step(TRAIN, run.id, cast(TrainingResult, figures))


def _resume_stopped(key: str, context: TrainingContext) -> Step[TrainingResult] | None:
    """Resume and finish the latest stopped training with this step key; None if there is none."""
    if stopped := queries.latest(queries.has_tag("step_key", key), queries.STOPPED):
        try:
            return resume(stopped.id, {}, context)
        except InputError as error:  # another process may have resumed it meanwhile
            log.warning("%s: starting over", error)
    return None


def training_identity(
    corpus: Corpus, model: ModelConfig, config: TrainConfig, extra: Mapping[str, str], context: TrainingContext
) -> tuple[dict[str, Any], dict[str, str]]:
    """The inputs of a training's step key, and the tags of its run, "config" of which ``resume`` reads.

    ``extra`` are the inputs that no option decides: "study", and "mixed" for a training whose parts ran with different
    versions of torch or limits, so that no other training equals it.
    """
    options = {"model": model_identity(model), "train": asdict(config), "recipe": RECIPE[config.preset], **extra}
    text = {name: getattr(corpus, name) for name in ("name", "source", "corpus_sha256", "train_chars")}
    text["symbols"] = len(corpus.vocabulary)
    inputs = {**options, **corpus_keys(corpus), "alphabet": corpus.vocabulary.alphabet}
    inputs["train"] = {name: value for name, value in train_identity(asdict(config)).items() if name not in NO_INPUTS}
    return inputs, {
        **corpus_tags(corpus),
        **context.tags,
        "config": json.dumps({"corpus": corpus_options(corpus), **options, "text": text}),
        "config_id": config_id(model, config, corpus.corpus_sha256),
    }


def options_like(
    reference: str, given: Mapping[str, Any], named: Corpus | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The options for a training like another one, with those that are ``given``; and the tags that say so.

    The others are its shape, and all that was chosen for it in place of the preset's. ``reference`` is as
    ``references.training_of`` takes it; ``named`` is the text that the user has named. The preset's own values, by the
    recipe of that time, are left out. So are text, seed and machine and, of a part of a search, an answer or a
    reproduction, its length, which may be a shortened one.
    """
    run = references.training_of(reference, "--like ", named.corpus_sha256 if named else "")
    if not run.configuration:
        raise InputError(f"--like {reference}: {run.name} has not recorded its options; give another training")
    model, train = run.configs
    own = {**model_identity(model), **asdict(train)}
    shape = {name: own[name] for name in SHAPE if name in own}
    is_own = run.role in recorded.OWN_ROLES
    left_out = ("train_chars", *(() if is_own else LENGTH))
    options = {**shape, **{name: value for name, value in run.chosen.items() if name not in left_out}, **given}
    recorded_options = {**asdict(model), **asdict(train)}
    changed = [
        f"{name.replace('_', ' ')} {'auto' if value is None else value}"
        for name, value in given.items()
        if name not in NOT_COMPUTED and recorded_options.get(name, value) != value
    ]
    like = run.name if is_own or not run.study else f"{model.shape} of {run.study}"
    return options, {"like": f"{like}{', but ' * bool(changed)}{listed(changed)}"}


class Recorder(Callback):
    """Records an experiment in its run while it trains."""

    def __init__(self, run: TrackedRun, corpus: Corpus, config: TrainConfig, options: Mapping[str, Any]) -> None:
        self.run, self.corpus, self.config, self.options = run, corpus, config, options

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
            texts = sample_texts(training.eval_model, self.corpus.vocabulary, self.config.seed, self.corpus.own_prompt)
            self.run.text(f"samples/epoch-{point.epoch:04d}.md", samples_table(texts))


def _record_start(run: TrackedRun, experiment: Experiment, context: TrainingContext) -> None:
    """Record where, on what and with which options a training runs; of a resumed one, where this has changed."""
    corpus, model, config = experiment.corpus, experiment.model_config, experiment.train_config
    environment, done = machine.environment(), len(experiment.training.history)
    if not run.has("environment.yaml"):
        run.yaml("environment.yaml", environment)
    elif artifacts.read_environment(run.id) != environment:  # it is resumed in another one
        run.yaml(f"environment-from-epoch-{done:04d}.yaml", environment)
    options = {"corpus": corpus_options(corpus), "model": asdict(model), "train": asdict(config)}
    run.yaml("config.yaml", options)
    record_datasets(run, corpus, config.preset)
    # now, so that the UI's views show a training that runs
    run.tags({"protocol": protocol_of(config, "", context.is_of_study)})


def _keep_outcome(run: TrackedRun, training: Training) -> None:
    """Keep a copy of what a finished training has recorded before it trains on."""
    log.warning("Resuming %s (%s) after epoch %d", run.name, run.id, len(training.history))
    if not training.done and run.has(artifacts.RESULT_FILE):  # OUTCOME ends with it: it marks a complete copy
        earlier = f"earlier/epoch-{artifacts.read_result(run.id, TRAIN).get('epochs', 0):04d}"
        if not run.has(f"{earlier}/{artifacts.RESULT_FILE}"):
            run.keep_copies(OUTCOME, earlier)


def _record_result(run: TrackedRun, corpus: Corpus, model: ModelConfig, config: TrainConfig, result: Result) -> None:
    """Record a finished training: plots, size, sample texts, the best epoch's model, metrics and the run's note."""
    from pipeline.stages import pictures  # imported here, as matplotlib is: a step that is reused draws nothing

    curves = [p.train_perplexity for p in result.history], [p.val_perplexity for p in result.history]
    title, best_epoch = f"{run.name} on {corpus.label}", result.figures["best_epoch"]
    baselines = result.baselines["val"].perplexities()
    run.picture(CURVES_PLOT, pictures.perplexity_curves(*curves, best_epoch, baselines, title))
    run.picture("plots/gap.png", pictures.generalisation_gap(*curves, f"Generalisation gap, {title}"))
    run.text("complexity.txt", complexity_text(model, len(corpus.vocabulary), asdict(result.complexity)))
    run.text("samples/final.md", samples_table(result.samples))
    run.json(artifacts.SAMPLES_FILE, {"samples": [asdict(sample) for sample in result.samples]})
    run.json(artifacts.COSTS_FILE, result.block_costs)

    example, best = prompts_for(corpus.vocabulary, corpus.own_prompt)[0], run.checkpoint_dir / BEST_CHECKPOINT
    model_id = run.model(model.shape, best, example, best_epoch, {"corpus": corpus.label})
    metrics = final_metrics(result.figures) | size_metrics(result.complexity)
    datasets = text_identity.datasets_of(corpus, config.preset)
    run.constants(metrics, model_id, {key: datasets[split] for key in metrics if (split := split_of(key))})
    run.describe(training_note(run.id[: recorded.SHORT_ID], corpus, model, config, result))


def resume(reference: str, changes: Mapping[str, Any], context: TrainingContext = ALONE) -> Step[TrainingResult]:
    """Resume a training that was stopped, killed or given too few epochs or seconds, in its own run.

    ``reference`` is as ``references.find`` takes it. ``changes`` are options by field name: None or "auto" keeps the
    run's value, and only those in MAY_CHANGE may have a new one. Raises InputError, and leaves the run unchanged, for
    any other change, for a run that can't be resumed, and for one that has nothing left to do.
    """
    liveness.close_the_dead()  # the run may be RUNNING although its process died
    run = recorded.resumable(references.find(reference, "--resume "))
    what, started = f"--resume {run.id} ({run.name})", run.configuration
    try:
        named, model = CorpusConfig(**started["corpus"]), ModelConfig(**started["model"])
        config, text = TrainConfig(**started["train"]), started["text"]
        if (recipe := started["recipe"]) != RECIPE[config.preset]:
            raise ValueError(f"by recipe {recipe}; this one trains by recipe {RECIPE[config.preset]}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{what} was started by another version ({error}); start a new training") from error
    changes = {option: value for option, value in changes.items() if value not in (None, "auto")}
    changed = _changed(run.name, started["corpus"], model, config, changes)
    result = run.result
    if result and not _may_go_on(config, run.facts["stopped_by"]):
        why = _why_done(config, result["epochs"], run.facts["stopped_by"], result["stopped"])
        raise InputError(f"{what} has nothing left to do: {why}")
    corpus = text_identity.same_text(text["name"], text["source"], started["corpus"]["alphabet"], text["corpus_sha256"])
    corpus = replace(corpus, option=named.corpus)

    folder = store.checkpoint_folder(run.id, run.artifact_uri)
    sent = artifacts.artifact_path(run.id, "checkpoints") if recorded.artifacts_of(run, "checkpoints") else folder
    if steps_kept(sent) > steps_kept(folder):  # in a remote artifact store: another machine may have trained on
        files.write_atomically(folder / LAST_CHECKPOINT, (sent / LAST_CHECKPOINT).read_bytes())
    experiment = Experiment(corpus, model, changed, folder)
    training, done = experiment.training, len(experiment.training.history)
    if not done and VAL_CURVE in run.metrics:
        raise InputError(
            f"{what} has lost its checkpoints: {folder} has no {LAST_CHECKPOINT}; restore it (after a move: `tmlm "
            "doctor --repair`), or start a new training"
        )
    if training.done and run.state == "finished":
        why = _why_done(config, done, training.stopped_by, run.tag("stopped"))
        raise InputError(f"{what} has nothing left to do: {why}")

    extra = {name: started[name] for name in ("study", "mixed") if started.get(name)}
    key = run.tag("step_key")
    if key != step_key("train", training_identity(corpus, model, config, extra, context)[0]):
        log.warning("torch changed after %s was started; it may not be bit-identical", run.name)
        extra["mixed"] = key
    elif run.facts["stopped_by"] == "time":
        extra["mixed"] = key  # the epoch that the time limit cut short stays short
    return train(corpus, model, changed, context=context, resumed=Resumed(run, experiment, extra))


def _may_go_on(config: TrainConfig, stopped_by: StoppedBy) -> bool:
    """Whether a finished training can be resumed: with more seconds, or where the schedule allows it more epochs."""
    if stopped_by:
        return stopped_by == "time"
    return config.schedule == "constant" and not config.counting_loss


def _why_done(config: TrainConfig, epochs: int, stopped_by: StoppedBy, stopped: str) -> str:
    """Why there is nothing left to train after so many epochs, and which option would change that."""
    may_go_on = _may_go_on(config, stopped_by)
    if stopped:
        remedy = "give a larger --max-seconds" if may_go_on else "start a new training with another value"
        return f"it was stopped by {stopped}; {remedy}"
    more = "give more --epochs" if may_go_on else "start a new training with more --epochs"
    return f"epoch {epochs} was the last one; {more}"


def _changed(
    name: str, text: Mapping[str, Any], model: ModelConfig, config: TrainConfig, changes: Mapping[str, Any]
) -> TrainConfig:
    """The configuration to resume with. Raises InputError if an option that is not in MAY_CHANGE has a new value."""
    options = {**text, **asdict(model), **asdict(config)}
    for option, given in changes.items():
        value = without_secrets(given) if option == "corpus" else given
        if option not in MAY_CHANGE and value != options[option]:
            may = ", ".join(map(option_name, MAY_CHANGE))
            raise InputError(
                f"{option_name(option)} {value} is not what {name} was started with ({options[option]}); "
                f"leave it out (only {may} may change), or start a new training"
            )
    return replace(config, **{option: changes[option] for option in MAY_CHANGE if option in changes})
