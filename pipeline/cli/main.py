"""The command line: each command reads options, builds configurations, calls one function and prints its result.

Results go to standard output (``--json``: exactly one JSON object), progress and messages to standard error. The module
imports only click and the configurations; each command imports the rest when it runs, so that ``--help`` is fast.
"""

import io
import json
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import click

from models.config import ModelConfig, check_range
from models.decoding import DEFAULT_LENGTH, Decoding
from pipeline.cli import completion
from pipeline.cli.cluster import cluster as cluster_commands
from pipeline.cli.cluster import cluster_options, node, pool_on
from pipeline.cli.group import (
    LOOK,
    MAINTAIN,
    RUN,
    SEARCH,
    UNDER_MLFLOW,
    Lab,
    drop_unwritable,
    open_closed_streams,
    printable,
    record_signal,
    say,
    send_messages_to_stderr,
)
from pipeline.cli.options import GroupedOption, given, is_given, options_of, switch, with_dashes
from pipeline.config import (
    QUICK_SEARCH,
    AnswerConfig,
    CorpusConfig,
    ReproduceConfig,
    SearchConfig,
    TrainConfig,
    quick_search,
    resolve,
)
from pipeline.errors import reason_of
from pipeline.support import signals

if TYPE_CHECKING:
    from pipeline.stages.report import ReproductionRun


@click.group(
    cls=Lab,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 120,
        "token_normalize_func": with_dashes,
    },
)
@click.version_option(package_name="time-machine-lm")
def cli() -> None:
    """Prepare, train, evaluate and track character-level recurrent language models.

    \b
    tmlm pipeline                          prepare, train, evaluate and sample
    tmlm train --cell gru --hidden-size 64
    tmlm sample latest --prompt "it has"   generate text from the latest model
    tmlm runs                              list the trainings
    tmlm ui                                open MLflow's UI
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # escape characters that the stream can't encode
    send_messages_to_stderr()


JSON_HELP = "Print the result as one JSON object."

json_switch = switch("--json", JSON_HELP, "as_json")

# for commands with arguments: in ``--json MODEL``, a switch would take the MODEL as its value
json_flag = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)

length_option = click.option(
    "--length", type=int, default=DEFAULT_LENGTH, show_default=True, help="Characters to generate after each prompt."
)


def checked(options: Mapping[str, Any]) -> tuple[CorpusConfig, dict[str, Any]]:
    """Check the options of a training; return the text's configuration and all other options."""
    others = {name: value for name, value in options.items() if name not in ("corpus", "alphabet")}
    resolve(others)  # only to check: the defaults depend on the length of the text, which is not loaded yet
    return CorpusConfig(options["corpus"], options["alphabet"]), others


def show(result: Mapping[str, Any], as_json: bool, text: str) -> None:
    """Print the result of a command on standard output."""
    click.echo(printable(json.dumps(result, ensure_ascii=False) if as_json else text))


@cli.command(section=RUN)
@options_of(CorpusConfig, ModelConfig, TrainConfig)
@switch("--force", "Run every step, without reusing earlier results.")
@json_switch
def pipeline(force: bool, as_json: bool, **options: Any) -> None:
    """Run the main job: prepare, train, evaluate, sample.

    Each step is a nested run of one parent run. The result of a finished step is reused if code, options and text are
    unchanged.
    """
    corpus_config, others = checked(options)
    from pipeline.stages import main
    from pipeline.text.corpus import load_corpus
    from pipeline.tracking.ui import links
    from pipeline.training import summary
    from pipeline.training.timing import configurations_for

    corpus = load_corpus(corpus_config)
    model_config, train_config = configurations_for(corpus, others)
    done = main.pipeline(corpus, corpus_config, model_config, train_config, force)
    seconds = {step.stage: (spent, step.reused) for step, spent in zip(done.steps, done.seconds, strict=True)}
    run_id = done.result["trained_run"]
    further = f"text    {sample_command(run_id)}\n{links.shown('curves', links.link_to_curves(run_id))}"
    show(done.result, as_json, summary.pipeline_table(model_config.shape, seconds, done.result, further))


@cli.command(section=RUN)
@options_of(CorpusConfig)
@options_of(TrainConfig, only=("preset",))
@json_switch
def prepare(as_json: bool, **options: Any) -> None:
    """Load, normalise and split a text.

    Records the perplexities of the baselines: uniform, letter frequencies, and n-grams of orders 2 to 8.
    """
    corpus_config, others = checked(options)
    from pipeline.stages import prepare
    from pipeline.text.corpus import load_corpus
    from pipeline.training import summary

    result = prepare.prepare(load_corpus(corpus_config), corpus_config, others["preset"]).result
    text = (
        f"{result['corpus']} ({result['alphabet']}): {result['characters']:,} characters, "
        f"{result['vocabulary_size']} symbols\n"
        f"source        {result['source']}\n"
        f"source sha256 {result['source_sha256']}\n"
        f"corpus sha256 {result['corpus_sha256']}\n"
        f"splits        {result['train_characters']:,} train, {result['val_characters']:,} validation, "
        f"{result['test_characters']:,} test (preset {result['preset']})\n\n"
        f"{summary.baseline_text(result)}\n\n"
        f"run {result['run_id']}"
    )
    show(result, as_json, text)


@cli.command(section=RUN)
@options_of(CorpusConfig, ModelConfig, TrainConfig)
@click.option(
    "--resume",
    type=completion.TRAINING,
    default=None,
    cls=GroupedOption,
    group="Record",
    help="Continue this interrupted training in its own run.",
)
@json_switch
def train(resume: str | None, as_json: bool, **options: Any) -> None:
    """Train a model, or resume a training.

    --resume continues an interrupted training in the same run, with the same options; the result is bit-identical to
    that of an uninterrupted training. Only --epochs (with a constant learning rate), --max-seconds and --sample-every
    may have new values.
    """
    corpus_config, others = checked(options)
    from pipeline.stages import train

    if resume is not None:
        changes = given(options, CorpusConfig, ModelConfig, TrainConfig)
        if UNDER_MLFLOW not in os.environ:  # mlflow run passes every option that MLproject lists
            changes = {name: options[name] for name in options if is_given(name)}
        result = train.resume(resume, changes).result
    else:
        from pipeline.text.corpus import load_corpus
        from pipeline.training.timing import configurations_for

        corpus = load_corpus(corpus_config)
        result = train.train(corpus, corpus_config, *configurations_for(corpus, others)).result
    show(result, as_json, "" if as_json else train_text(result))


def train_text(result: Mapping[str, Any]) -> str:
    """The text that ``train`` prints: perplexities beside the baselines', and the next commands."""
    from pipeline.tracking.ui import links
    from pipeline.training import summary

    run_id = result["run_id"]
    return (
        f"{summary.training_text(result)}\n\n"
        f"run {run_id}\n  {sample_command(run_id)}\n  {links.command()} evaluate {run_id}\n\n"
        f"{links.shown('curves', links.link_to_curves(run_id))}"
    )


def sample_command(run_id: str) -> str:
    """The command that samples from a run's model, with a prompt of its recorded samples, which its alphabet has."""
    from pipeline.tracking import records
    from pipeline.tracking.ui import links

    samples = records.read_json(run_id, "samples/final.json").get("samples")
    prompt = samples[0]["prompt"] if samples else "it has"
    return f"{links.command()} sample {run_id} --prompt {shlex.quote(prompt)}"


@cli.command(section=RUN)
@click.argument("model", type=completion.MODEL)
@click.option(
    "--split", type=click.Choice(["val", "test"]), default="test", show_default=True, help="Split of the model's text."
)
@click.option("--text", type=completion.FILE, default="", help="Another UTF-8 text file, instead of a split.")
@json_flag
def evaluate(model: str, split: str, text: str, as_json: bool) -> None:
    """Measure the perplexity of a trained MODEL on a text.

    Also prints bits per character, and the perplexities of the best n-gram and of its mixture with the model. MODEL is
    a run id, its first characters, latest, the path of a checkpoint, or a models:/ address.
    """
    from pipeline.stages import evaluate
    from pipeline.training import summary

    result = evaluate.evaluate(model, split, text or None).result
    show(result, as_json, summary.evaluation_text(text or split, result))


@cli.command(section=RUN)
@click.argument("model", type=completion.MODEL)
@click.option(
    "--prompt", "prompts", multiple=True, default=["it has"], show_default=True, help="Text to continue; repeatable."
)
@length_option
@options_of(Decoding)
@json_flag
def sample(model: str, prompts: tuple[str, ...], length: int, as_json: bool, **options: Any) -> None:
    """Generate text from a trained MODEL.

    Continues each --prompt. MODEL is a run id, its first characters, latest, the path of a checkpoint, or a models:/
    address.
    """
    decoding = Decoding(**options)
    check_range("length", length, low=0)
    from pipeline.cli.chat import write
    from pipeline.stages import sample

    if UNDER_MLFLOW in os.environ:
        result = sample.sample(model, list(prompts), length, decoding).result
        show(result, as_json, "\n".join(result["texts"]))
        return
    chosen = list(prompts) if is_given("prompts") else None  # not every alphabet has the letters of the default
    if as_json or len(prompts) > 1 or not sys.stdout.isatty():
        texts = sample.write_texts(model, chosen, length, decoding)
        if as_json:
            show({"texts": texts}, as_json, "")
        else:
            for text in texts:
                write([text])
    else:
        write(sample.stream_text(model, chosen[0] if chosen else None, length, decoding))


@cli.command(section=RUN)
@click.argument("model", type=completion.MODEL)
@length_option
@options_of(Decoding)
def chat(model: str, length: int, **options: Any) -> None:
    """Continue prompts as you type them.

    MODEL continues each line that you type, or each line of piped input; Ctrl-D exits. MODEL is a run id, its first
    characters, latest, the path of a checkpoint, or a models:/ address.
    """
    decoding = Decoding(**options)
    check_range("length", length, low=0)
    from pipeline.cli import chat

    chat.chat(model, length, decoding)


@cli.command(section=RUN)
@options_of(ModelConfig, only=("cell", "num_layers", "hidden_size", "embedding_size", "on_top_of"), with_preset=False)
@click.option("--vocab-size", type=click.IntRange(2), default=28, show_default=True, help="Symbols of the alphabet.")
@json_switch
def complexity(vocab_size: int, as_json: bool, **options: Any) -> None:
    """Count the parameters and MACs of a shape.

    MACs are per generated character and include the output layer. Also prints the counts in the report's convention,
    and ptflops' own output.
    """
    config = ModelConfig(**options)
    from dataclasses import asdict

    from models.complexity import measure
    from pipeline.training.hardware import check_shape_fits
    from pipeline.training.summary import complexity_text

    check_shape_fits(config, vocab_size)
    if UNDER_MLFLOW in os.environ:
        from pipeline.stages import complexity

        cost = complexity.complexity(config, vocab_size).result
    else:
        cost = asdict(measure(config, vocab_size))
    show(cost, as_json, "" if as_json else complexity_text(config, vocab_size, cost))


@cli.command(section=SEARCH)
@options_of(SearchConfig, CorpusConfig)
@switch(
    "--stop-hopeless",
    "Prune a trial when even an optimistic extrapolation of its curve stays behind the front.",
    group="Search",
)
@switch(
    "--quick",
    "Take a first look, in about a minute and in a separate study: options left at their defaults become "
    + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in QUICK_SEARCH.items())
    + ".",
    group="Search",
)
@switch(
    "--take-aliases",
    "Move the aliases @best, @knee and @small to this study's picks even if another study has them.",
    group="Search",
)
@cluster_options
@json_switch
def search(
    stop_hopeless: bool, quick: bool, take_aliases: bool, cluster: str, keys: str | None, as_json: bool, **options: Any
) -> None:
    """Search for low perplexity at low cost.

    Runs an Optuna study of cell, layers and hidden size that minimises validation perplexity and MACs per character.
    Write a range as LOW..HIGH and choices as A,B,C. The same command again resumes the study.
    """
    corpus_config = CorpusConfig(options.pop("corpus"), options.pop("alphabet"))
    config = quick_search(SearchConfig(**options)) if quick else SearchConfig(**options)
    make_pool = pool_on(cluster, keys, corpus_config, config.workers)
    from pipeline.search import summary as search_summary
    from pipeline.stages import search
    from pipeline.tracking.ui import links

    claim: Literal["own", "free", "all"] = "all" if take_aliases else "own" if quick else "free"
    done = search.search(config, corpus_config, stop_hopeless, say, make_pool, claim)
    name = f"search {config.study_name} on {done.result['corpus']}"
    if quick:
        name = f"quick {name}: a first look at small models after {config.epochs} epochs, one seed each"
    link = links.shown("front", links.link_to_search(done.run_id))
    table = search_summary.search_table(name, done.evaluated, done.picks, done.registered, done.counts, link)
    show(done.result, as_json, table)


@cli.command(section=SEARCH)
@options_of(CorpusConfig, AnswerConfig)
@json_switch
def answer(corpus: str, alphabet: Any, as_json: bool, **options: Any) -> None:
    """Say whether networks are worth their cost on a text.

    Trains networks of several sizes, on growing parts of the text, with several budgets, and on top of an n-gram.
    Three sentences and two figures compare them with n-grams. The same command again trains only what is missing.
    """
    config, corpus_config = AnswerConfig(**options), CorpusConfig(corpus, alphabet)
    from pipeline.answer.sentences import answer_table
    from pipeline.stages import answer
    from pipeline.tracking.ui import links

    done = answer.answer(config, corpus_config, say)
    link = links.shown("run", links.link_to_run(done.run_id))
    show(done.result, as_json, answer_table(done.findings, done.sentences, link))


@cli.command(section=SEARCH)
@options_of(ReproduceConfig)
@switch("--quick", "Train only the small configurations, for a few epochs.", group="Reproduction")
@switch(
    "--check",
    "Exit with code 4 if a complexity differs from the printed one, a perplexity is outside the range of d2l's own "
    "trainings, or a training failed.",
    group="Reproduction",
)
@cluster_options
@json_switch
def reproduce(quick: bool, check: bool, cluster: str, keys: str | None, as_json: bool, **options: Any) -> None:
    """Train the report's models and compare the results.

    Trains the configurations of the coursework report under its own protocol, and writes a page that compares the
    reported, the reproduced and the corrected figures. The same command again trains only what is missing.
    """
    config = ReproduceConfig(**options)
    make_pool = pool_on(cluster, keys, CorpusConfig("time-machine"), config.workers)
    from pipeline.stages import reproduce

    try:
        done, not_met = reproduce.reproduce(config, quick, check, say, make_pool), None
    except reproduce.ChecksNotMetError as error:
        done, not_met = error.done, error
    show_reproduction(done, as_json)
    if not_met is not None:
        raise not_met


@cli.command(section=SEARCH)
@click.option(
    "--run-id",
    type=completion.REPRODUCTION,
    default="",
    help="Run of the reproduction; by default the latest that is not quick.",
)
@options_of(ReproduceConfig, only=("against", "statements", "output"))
@json_switch
def report(run_id: str, against: str, statements: str, output: str, as_json: bool) -> None:
    """Rewrite the page of a reproduction.

    Compares the recorded runs, without training, with the report's table and statements, or with others (--against,
    --statements).
    """
    ReproduceConfig(against=against, statements=statements, output=output)  # checks the options
    from pipeline.stages import report

    show_reproduction(report.rewrite_report(run_id, against, output, statements), as_json)


def show_reproduction(done: "ReproductionRun", as_json: bool) -> None:
    """Print the result of ``reproduce`` or ``report``."""
    from pipeline.report.page import summary as page_summary
    from pipeline.tracking.ui import links

    page = str(done.folder / "report.html")
    link = links.shown("run", links.link_to_run(done.reproduction.run_id))
    table = page_summary.reproduction_table(done.reproduction, done.verdicts, done.checks, page, link)
    show(done.result, as_json, table)


@cli.command(section=LOOK)
@click.option("--search", default="", help="Only trainings with all of these words in their name, id, text or study.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Largest number of trainings.")
@json_switch
def runs(search: str, limit: int, as_json: bool) -> None:
    """List the recorded trainings, newest first.

    val and test are perplexities, MACs are per character, and seconds are those of the training.
    """
    from dataclasses import asdict

    from pipeline.cli import runs
    from pipeline.tracking import listing

    rows = listing.run_rows(search, limit=limit + 1)
    text = runs.runs_table(rows[:limit]) if rows else "no training is recorded" + " with these words" * bool(search)
    if len(rows) > limit:
        text += f"\n(the last {limit}; more with --limit)"
    show({"runs": [asdict(row) for row in rows[:limit]]}, as_json, text)


@cli.command(section=LOOK)
@click.argument("first", type=completion.TRAINING)
@click.argument("second", type=completion.TRAINING)
@json_flag
def compare(first: str, second: str, as_json: bool) -> None:
    """Show how two trainings differ.

    Shows their options, figures, costs and sample texts side by side. FIRST and SECOND are run ids, the first
    characters of one, or latest, latest~1 and so on.
    """
    from pipeline.cli import compare

    result = compare.compare(first, second)
    show(result, as_json, compare.comparison(result))


@cli.command(section=LOOK)
@click.option("--max-macs", type=click.IntRange(1), default=None, help="Largest number of MACs per character.")
@click.option("--max-perplexity", type=float, default=None, help="Largest validation perplexity.")
@click.option(
    "--corpus",
    type=completion.TEXT,
    default="auto",
    show_default=True,
    help="Name of the text as recorded (time-machine, or my-book for my-book.txt), its path or its address; auto: the "
    "text of the latest finished training.",
)
@json_switch
def recommend(max_macs: int | None, max_perplexity: float | None, corpus: str, as_json: bool) -> None:
    """Recommend the best finished model within a limit.

    Of the finished trainings on one text, names the best with at most --max-macs, or the cheapest with at most
    --max-perplexity (and --max-macs).
    """
    from pipeline.cli import recommend

    result = recommend.recommended(corpus, max_macs, max_perplexity)
    next_command = "" if as_json else sample_command(result["run_id"])
    show(result, as_json, f"{recommend.sentence(result)}\nrun {result['run_id']}\n  {next_command}")


@cli.command(section=LOOK)
@click.argument("reference", metavar="RUN|STUDY|EXPERIMENT", type=completion.TRAINING)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=completion.FILE,
    required=True,
    help="Folder to write to; existing files are not overwritten.",
)
@json_flag
def export(reference: str, output: str, as_json: bool) -> None:
    """Export records as a page to share, with the data.

    Writes a run (its id, its first characters, or latest), a study or an MLflow experiment (by name) to a folder that
    can be read without MLflow: a page (index.html) with curves, Pareto front, sample texts, tables and the commands to
    repeat it, the figures as CSV, and the models as safetensors (and as ONNX, if that extra is installed).
    """
    from pathlib import Path

    from pipeline.export.export import export

    result = export(reference, Path(output))
    files = "\n".join(f"  {file}" for file in result["files"])
    show(result, as_json, f"{result['kind']} {result['name']}\n{files}\n\npage {result['page']}")


@cli.command(section=LOOK)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@click.option(
    "--open",
    "what",
    is_flag=False,
    flag_value="models",
    metavar="[WHAT]",
    help="Open the browser at a run (its id, its first characters, or latest), a search (its study's name), or one of "
    "the latest text's views: models, seeds or compute.  [without WHAT: models]",
)
def ui(port: int, what: str | None) -> None:
    """Start the MLflow UI.

    Listens on 127.0.0.1 only, and prints a link to each saved view. --open uses a UI that is running already.
    """
    from pipeline.cli import ui as server

    signals.disable_deadline()  # the server has its own
    sys.exit(server.serve(port, what, lambda line: click.echo(line, err=True)))


@cli.command(section=MAINTAIN)
@options_of(CorpusConfig, only=("corpus",))
@click.option(
    "--repair",
    is_flag=True,
    help="Close runs whose process died, and fix the artifact paths of a checkout that was moved.",
)
@click.option(
    "--close",
    type=completion.RUNNING,
    default=None,
    help="Close this run, whose machine or container no longer exists.",
)
@json_switch
def doctor(corpus: str, repair: bool, close: str | None, as_json: bool) -> None:
    """Show what commands would use here, and repair the store.

    Shows the text, store, device, threads and versions, with the reason for each, and the runs that are RUNNING, with
    the state of their processes. Changes nothing without --repair or --close.
    """
    config = CorpusConfig(corpus)
    from pipeline.cli import doctor

    done = {"closed": doctor.close(close)} if close is not None else {}
    done |= {"repaired": doctor.repair()} if repair else {}
    result = done | doctor.findings(config.corpus)
    lines = [(name, line) for name, value in result.items() for line in (value if isinstance(value, list) else [value])]
    show(result, as_json, "\n".join(f"{name:<15} {line}" for name, line in lines))


cli.add_command(cluster_commands)
cli.add_command(node)


def main() -> None:
    """Entry point of ``python -m pipeline`` and ``tmlm``."""
    open_closed_streams()
    signals.install()
    signals.on_forced_exit(record_signal)
    try:
        cli(prog_name="tmlm")
    except OSError as error:  # outside of a command: --help or an error message was written to a full disk
        with suppress(OSError):
            click.echo(f"Error: {printable(reason_of(error))}", err=True)
        sys.exit(1)
    finally:
        drop_unwritable()
