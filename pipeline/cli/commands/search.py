"""Commands that train many models: search, answer, reproduce; and report, which writes their page."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import completion
from pipeline.cli.cluster import cluster_option, pool_on
from pipeline.cli.group import say, show
from pipeline.cli.options import LabCommand, flag, given, json_flag, options_of
from pipeline.config import QUICK_SEARCH, AnswerConfig, CorpusConfig, ReproduceConfig, SearchConfig, quick_search
from pipeline.errors import option_name, without_secrets
from pipeline.support import signals

if TYPE_CHECKING:
    from pipeline.search.summary import SearchRun
    from pipeline.stages.report import ReproductionRun

NOT_IN_FULL = ("study_name", "minutes", "trials", "epochs", "confirm_seeds")  # options that are for a quick search only


@click.command(cls=LabCommand)
@options_of(SearchConfig, CorpusConfig)
@flag(
    "--quick",
    "Take a first look, in about a minute and in a separate study: options that you leave out become "
    + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in QUICK_SEARCH.items())
    + ".",
    group="Search",
)
@cluster_option
@json_flag
def search(quick: bool, cluster: str, as_json: bool, **options: Any) -> None:
    """Search for low perplexity at low cost.

    Runs an Optuna study of cell, layers and hidden size that minimises validation perplexity and MACs per character, or
    another --cost. Write a range as LOW..HIGH and choices as A,B,C. The same command again searches on.
    """
    chosen = given(options)
    if quick:
        options |= quick_search(chosen)
    corpus_config = CorpusConfig(options.pop("corpus"), options.pop("alphabet"))
    config = SearchConfig(**options)
    from pipeline.search import summary as search_summary
    from pipeline.search.study.protocol import describe_training
    from pipeline.stages import search, sweep
    from pipeline.tracking.text_identity import text_to_train
    from pipeline.tracking.ui import links

    pool_for = pool_on(cluster, config.workers, sweep.do)
    resumed_by("search", {**chosen, "quick": quick, "cluster": cluster})
    search.check(config)
    corpus = text_to_train(corpus_config, "search")
    done = search.search(corpus, config, quick, say, pool_for(corpus))
    name = f"study {done.config.study_name} on {done.result['corpus']}"
    if quick:
        name = f"{name}: a first look at small models, trained for {describe_training(done.config)}"
    link = links.link_line("front", links.link_to_search(done.run_id))
    show(done.result, as_json, search_summary.search_table(name, done, next_commands(done, chosen, quick), link))


def next_commands(done: "SearchRun", chosen: Mapping[str, Any], quick: bool) -> dict[str, str]:
    """Commands that use, serve and extend the picks of a search; ``chosen`` are the options that it was given."""
    from pipeline.tracking.program import command
    from pipeline.tracking.registry import REGISTERED_MODEL

    more = {name: value for name, value in chosen.items() if not quick or name not in NOT_IN_FULL}
    if more.get("trials"):
        more["trials"] *= 2
    search_on = {"train in full" if quick else "extend": command_line("search", more)}
    if not done.picks:
        return search_on
    pick = f"@{done.registered['small']}"
    serve = f"{command('mlflow')} models serve -m models:/{REGISTERED_MODEL}{pick} --env-manager local"
    return {"use": f"{command()} sample {pick}", "serve": serve, **search_on}


def command_line(name: str, options: Mapping[str, Any]) -> str:
    """The command of this name with these options, without secrets; those that are off or empty are left out."""
    from pipeline.tracking.program import command

    words = [command(), name]
    for option, value in options.items():
        if value not in (None, False, ""):
            words.append(option_name(option) + f" {shlex.quote(str(value))}" * (value is not True))
    return without_secrets(" ".join(words))


def resumed_by(name: str, options: Mapping[str, Any]) -> None:
    """Have Ctrl-C followed by the command that resumes this one, whose options these are."""
    signals.advise(f"The same command resumes it: {command_line(name, options)}")


@click.command(cls=LabCommand)
@options_of(CorpusConfig, AnswerConfig)
@json_flag
def answer(corpus: str, alphabet: Any, as_json: bool, **options: Any) -> None:
    """Say whether networks are worth their cost on a text.

    Trains networks of several sizes, on growing parts of the text, and on top of n-grams. Four sentences (alone,
    together, small, adaptive) and two figures compare them with n-grams. The same command again trains only what is
    missing.
    """
    chosen = given({"corpus": corpus, "alphabet": alphabet, **options})
    config, corpus_config = AnswerConfig(**options), CorpusConfig(corpus, alphabet)
    from pipeline.answer.sentences import answer_table
    from pipeline.stages import answer
    from pipeline.tracking.text_identity import text_to_train
    from pipeline.tracking.ui import links

    resumed_by("answer", chosen)
    done = answer.answer(text_to_train(corpus_config, "answer"), config, say)
    link = links.link_line("run", links.link_to_run(done.run_id))
    show(done.result, as_json, answer_table(done.findings, done.result["sentences"], link))


@click.command(cls=LabCommand)
@options_of(ReproduceConfig)
@flag("--quick", "Train only the small configurations, for a few epochs.", group="Reproduction")
@flag(
    "--check",
    "Exit with code 4 if a complexity differs from the printed one, a perplexity is outside the range of d2l's own "
    "trainings, or a training failed.",
    group="Reproduction",
)
@cluster_option
@json_flag
def reproduce(quick: bool, check: bool, cluster: str, as_json: bool, **options: Any) -> None:
    """Train the report's models and compare the results.

    Trains the configurations of the coursework report under its own protocol, and writes a page that compares the
    reported, the reproduced and the corrected figures. The same command again trains only what is missing.
    """
    chosen = given(options)
    config = ReproduceConfig(**options)
    from pipeline.stages import reproduce, sweep
    from pipeline.text.corpus import load_corpus

    pool_for = pool_on(cluster, config.workers, sweep.do)
    reproduce.rows_to_train(config, quick)  # refuses options before the text is loaded
    resumed_by("reproduce", {**chosen, "quick": quick, "check": check, "cluster": cluster})
    try:
        corpus = load_corpus(reproduce.TEXT)
        done = reproduce.reproduce(corpus, config, quick, check, say, pool_for(corpus))
    except reproduce.ChecksNotMetError as error:
        show_reproduction(error.done, as_json)
        raise
    show_reproduction(done, as_json)


@click.command(cls=LabCommand)
@click.option(
    "--run-id",
    type=completion.REPRODUCTION,
    default="",
    help="Run of the reproduction; by default the latest that is not quick.",
)
@json_flag
def report(run_id: str, as_json: bool) -> None:
    """Rewrite the page of a reproduction.

    Judges the report's statements by the recorded runs, without training.
    """
    from pipeline.stages import report

    show_reproduction(report.rewrite_report(run_id), as_json)


def show_reproduction(done: "ReproductionRun", as_json: bool) -> None:
    """Print the result of ``reproduce`` or ``report``."""
    from pipeline.report.page.sentences import reproduction_table
    from pipeline.tracking.ui import links

    page = str(done.folder / "report.html")
    link = links.link_line("run", links.link_to_run(done.reproduction.run_id))
    table = reproduction_table(done.reproduction, done.verdicts, done.checks, page, link)
    show(done.result, as_json, table)
