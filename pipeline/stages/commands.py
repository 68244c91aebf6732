"""Commands that train and use a model: pipeline, prepare, train, evaluate, sample, chat, complexity."""

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import click

from models.config import Decoding, ModelConfig
from pipeline.cli import completion
from pipeline.cli.group import command_line, resumed_by, say, show
from pipeline.cli.options import (
    Auto,
    LabCommand,
    checked,
    flag,
    given,
    json_flag,
    length_option,
    option,
    options_of,
    text_options,
)
from pipeline.config import MOST_SEEDS, UNDER_MLFLOW, CorpusConfig, TrainConfig


@click.command(cls=LabCommand)
@options_of(CorpusConfig, ModelConfig, TrainConfig)
@flag("--force", "Run every step, without reusing earlier results.")
@json_flag
def pipeline(force: bool, as_json: bool, **options: Any) -> None:
    """Run the main job: prepare, train, evaluate, sample.

    Each step is a nested run of one parent run. The result of a finished step is reused if code, options and text are
    unchanged.
    """
    corpus_config, others = checked(options)
    from pipeline.stages import main, sentences
    from pipeline.stages.bar import training_bar
    from pipeline.stages.train import TrainingContext
    from pipeline.tracking.text_identity import text_to_train
    from pipeline.tracking.ui import links
    from pipeline.training.memory import configurations_for

    corpus = text_to_train(corpus_config)
    model_config, train_config = configurations_for(corpus, others)
    context = TrainingContext(progress=training_bar)
    done = main.pipeline(corpus, model_config, train_config, force, context)
    seconds = {step.stage: (spent, step.reused) for step, spent in zip(done.steps, done.seconds, strict=True)}
    run_id, page = done.result["trained_run"], done.page
    further = f"page    {page}\n" * bool(page) + f"text    {sample_command(run_id)}\n"
    further += f"{links.link_line('curves', links.link_to_curves(run_id))}\n\n{next_steps(given(options))}"
    text = sentences.pipeline_text(model_config.shape, seconds, done.result, further)
    show({**done.result, "page": page}, as_json, text)


def next_steps(chosen: Mapping[str, Any]) -> str:
    """What to do after a main job, whose options are ``chosen``: a line for each command and for a document."""
    from pipeline.support.files import ROOT
    from pipeline.support.markdown import text_table
    from pipeline.text.sources import KNOWN_TEXTS
    from pipeline.tracking import program

    tmlm, document = program.command(), ROOT / "docs" / "on-top-of-counting.md"
    text = text_options(chosen)
    steps = [(f"{tmlm} open", "the page, which reads what you type, and writes")]
    if text.get("corpus") in (None, *KNOWN_TEXTS):
        steps.append((f"{tmlm} pipeline --corpus my-book.txt", "the same for a text of your own"))
    steps.append(
        (command_line("search", {"quick": True, **text}), "a first look at small networks, and which to choose")
    )
    if document.is_file():  # in a checkout
        steps.append((str(document.relative_to(ROOT)), "the n-grams, and networks on top of them"))
    return text_table((), [("next" * (not at), *step) for at, step in enumerate(steps)], left=(0, 1, 2))


@click.command(cls=LabCommand)
@options_of(CorpusConfig)
@options_of(TrainConfig, only=("preset",))
@flag("--force", "Download the text of an address again.")
@json_flag
def prepare(force: bool, as_json: bool, **options: Any) -> None:
    """Load, normalise and split a text.

    Records the perplexities of the baselines: uniform, letter frequencies, n-grams of orders 2 to 16, and
    n-grams of orders 1 to 10 combined by a gate.
    """
    corpus_config, others = checked(options)
    from pipeline.text.corpus import load_corpus
    from pipeline.text.ngrams import baselines_of

    corpus = load_corpus(corpus_config, refresh=force, is_new=True)
    baselines_of(corpus, others["preset"])  # before MLflow is imported, so that the two don't need memory at once
    from pipeline.stages import prepare, sentences

    result = prepare.prepare(corpus, others["preset"]).result
    text = (
        f"{result['corpus']} ({result['alphabet']}): {result['characters']:,} characters, "
        f"{result['vocabulary_size']} symbols\n"
        f"source        {result['source']}\n"
        f"source sha256 {result['source_sha256']}\n"
        f"corpus sha256 {result['corpus_sha256']}\n"
        f"splits        {result['train_characters']:,} train, {result['val_characters']:,} validation, "
        f"{result['test_characters']:,} test (preset {result['preset']})\n\n"
        f"{sentences.baseline_text(result)}\n\n"
        f"run {result['run_id']}"
    )
    show(result, as_json, text)


@click.command(cls=LabCommand)
@options_of(CorpusConfig, ModelConfig, TrainConfig)
@option(
    "--resume",
    type=completion.TRAINING,
    default=None,
    group="Record",
    help="Continue this interrupted training in its own run.",
)
@option(
    "--like",
    type=completion.TRAINING,
    default=None,
    group="Model",
    help="Take shape and recipe from this run, study or @PICK, but not its text, alphabet, seed or machine; and the "
    "length only of a training that was started by itself. Options that are given win.",
)
@option(
    "--seeds",
    type=Auto(click.IntRange(2, MOST_SEEDS)),
    default="auto",
    show_default=True,
    group="Training",
    help="Train with the seeds 0 to N - 1, in worker processes and one parent run, and show the means; auto: --seed "
    "alone. The same command again resumes, a larger number adds seeds.",
)
@option(
    "--note",
    default=None,
    group="Record",
    help="Say why, in 1 to 1,000 characters: a tag of the run, which `tmlm runs --search` finds.",
)
@json_flag
def train(
    resume: str | None, like: str | None, seeds: int | None, note: str | None, as_json: bool, **options: Any
) -> None:
    """Train a model, or resume a training.

    --resume continues an interrupted training in the same run, with the same options; the result is bit-identical to
    that of an uninterrupted training. Only --max-seconds and, with a constant learning rate, --epochs may have new
    values.
    """
    if resume is not None and (like is not None or seeds is not None):
        named = "--like" if like is not None else "--seeds"
        raise click.UsageError(f"--resume continues a training with its own options: leave out {named}")
    corpus_config, others = checked(options)
    from pipeline.stages import sentences, train
    from pipeline.stages.bar import training_bar
    from pipeline.stages.seeds import refuse_diverged, train_seeds
    from pipeline.tracking import descriptions, program, recorded
    from pipeline.tracking.ui import links

    tags = {} if note is None else {descriptions.NOTE: descriptions.checked_note(note, "--note")}
    changes = given(options)
    result: Mapping[str, Any]
    if resume is not None:
        result = train.resume(resume, changes, train.TrainingContext(tags=tags, progress=training_bar)).result
    else:
        from pipeline.results import SEEDS, TRAIN
        from pipeline.tracking.text_identity import text_to_train
        from pipeline.training.memory import configurations_for

        corpus = text_to_train(corpus_config, SEEDS if seeds else TRAIN if like else "")
        if like is not None:
            own, of_like = train.options_like(like, changes, corpus if "corpus" in changes else None)
            _, others = checked({**options, **own})
            tags |= of_like
        configs = configurations_for(corpus, others)
        if seeds is None:
            context = train.TrainingContext(tags=tags, progress=training_bar)
            result = train.train(corpus, *configs, context=context).result
        else:
            resumed_by("train", {**changes, "like": like, "seeds": seeds})
            result = train_seeds(corpus, *configs, seeds, say, tags=tags).result
    run_id = result["run_id"]
    summary = sentences.training_text(result) if seeds is None else sentences.seeds_text(result)
    link = links.link_to_curves(run_id) if seeds is None else links.link_to_run(run_id)
    short = run_id[: recorded.SHORT_ID]
    text = (
        f"{summary}\n\n"
        f"run {run_id}\n  {sample_command(run_id)}\n  {program.command()} evaluate {short}\n\n"
        f"page    {program.command()} open {short}\n{links.link_line('curves' if seeds is None else 'run   ', link)}"
    )
    show(result, as_json, text)
    if seeds is not None:
        refuse_diverged(result)


def sample_command(run_id: str) -> str:
    """The command that samples from a run's model as the main job does, with a prompt of its recorded samples."""
    from pipeline.tracking import artifacts, program, recorded
    from pipeline.training.samples import TEMPERATURE

    samples = artifacts.read_samples(run_id)
    prompt = f" --prompt {shlex.quote(samples[0]['prompt'])}" if samples else ""
    return f"{program.command()} sample {run_id[: recorded.SHORT_ID]}{prompt} --temperature {TEMPERATURE}"


@click.command(cls=LabCommand)
@click.argument("model", type=completion.MODEL)
@click.option(
    "--split", type=click.Choice(["val", "test"]), default="test", show_default=True, help="Split of the model's text."
)
@click.option("--text", type=completion.FILE, default="", help="Another UTF-8 text file, instead of a split.")
@flag("--adapt", "Also let the model learn from the text that it has scored.")
@json_flag
def evaluate(model: str, split: str, text: str, adapt: bool, as_json: bool) -> None:
    """Measure the perplexity of a trained MODEL on a text.

    Also prints bits per character, and the perplexities of the n-gram model and of its mixture with the model. With
    --adapt, it reads the text a second time, while network and n-grams learn from what they have scored. MODEL is a run
    (its id or first characters, latest, its name), a study or one of its picks (@knee, @STUDY-knee), the path of a
    checkpoint, or a models:/ address.
    """
    from pipeline.stages import evaluate, sentences

    result = evaluate.evaluate(model, split, text or None, adapt).result
    show(result, as_json, sentences.evaluation_text(text or split, result))


@click.command(cls=LabCommand)
@click.argument("model", type=completion.MODEL)
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    default=["it has"],
    show_default="the first words of the model's text",
    help="Text to continue; repeatable.",
)
@length_option
@options_of(Decoding)
@json_flag
def sample(model: str, prompts: tuple[str, ...], length: int, as_json: bool, **options: Any) -> None:
    """Generate text from a trained MODEL.

    Continues each --prompt. MODEL is a run (its id or first characters, latest, its name), a study or one of its picks
    (@knee, @STUDY-knee), the path of a checkpoint, or a models:/ address.
    """
    decoding = Decoding(**options)
    from pipeline.stages import sample
    from pipeline.stages.chat import write
    from pipeline.stages.evaluate import TrainedModel

    chosen = given({"prompts": list(prompts)}).get("prompts")  # not every alphabet has the letters of the default
    if UNDER_MLFLOW in os.environ:
        result = sample.sample(model, list(prompts), length, decoding).result
    elif sys.stdout.isatty() and len(prompts) == 1 and not as_json:
        write(sample.stream(TrainedModel.find(model), chosen[0] if chosen else None, length, decoding))
        return
    else:
        result = {"texts": sample.write_texts(model, chosen, length, decoding)}
    if as_json:
        show(result, as_json, "")
    else:
        write(["\n".join(result["texts"])])


@click.command(cls=LabCommand)
@click.argument("model", type=completion.MODEL)
@length_option
@options_of(Decoding, only=("temperature", "top_p"))
def chat(model: str, length: int, **options: Any) -> None:
    """Continue prompts as you type them.

    MODEL continues each line that you type, or each line of piped input; Ctrl-D exits. MODEL is a run (its id or first
    characters, latest, its name), a study or one of its picks (@knee, @STUDY-knee), the path of a checkpoint, or a
    models:/ address.
    """
    decoding = Decoding(**options)
    from pipeline.stages import chat

    chat.chat(model, length, decoding)


@click.command(cls=LabCommand)
@options_of(ModelConfig, only=("cell", "num_layers", "hidden_size", "on_top_of"), with_preset=False)
@json_flag
def complexity(as_json: bool, **options: Any) -> None:
    """Count the parameters and MACs of a shape.

    For the report's 28 symbols. MACs are per generated character and include the output layer. Also prints the counts
    in the report's convention, and ptflops' own output.
    """
    config = ModelConfig(**options)
    from models.complexity import REPORT_SYMBOLS
    from pipeline.stages import complexity
    from pipeline.stages.sentences import complexity_text
    from pipeline.training.memory import check_shape_fits

    check_shape_fits(config, REPORT_SYMBOLS)
    cost = complexity.complexity(config, REPORT_SYMBOLS, is_recorded=UNDER_MLFLOW in os.environ)
    show(cost, as_json, "" if as_json else complexity_text(config, REPORT_SYMBOLS, cost))
