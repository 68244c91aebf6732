"""The command ``search``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.group import command_line, resumed_by, say, show
from pipeline.cli.options import LabCommand, flag, given, json_flag, options_of, text_options
from pipeline.cluster.commands import cluster_option, pool_on
from pipeline.config import QUICK_SEARCH, CorpusConfig, SearchConfig, quick_search

if TYPE_CHECKING:
    from pipeline.search.sentences import SearchRun

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
    from pipeline.search import run, sentences
    from pipeline.search.study.protocol import describe_training
    from pipeline.stages import sweep
    from pipeline.tracking.text_identity import text_to_train
    from pipeline.tracking.ui import links

    pool_for = pool_on(cluster, config.workers, sweep.do)
    resumed_by("search", {**chosen, "quick": quick, "cluster": cluster})
    run.check(config)
    corpus = text_to_train(corpus_config, "search")
    done = run.search(corpus, config, quick, say, pool_for(corpus))
    name = f"study {done.config.study_name} on {done.result['corpus']}"
    if quick:
        name = f"{name}: a first look at small models, trained for {describe_training(done.config)}"
    link = f"page   {done.page}\n" * bool(done.page) + links.link_line("front", links.link_to_search(done.run_id))
    show(
        {**done.result, "page": done.page},
        as_json,
        sentences.search_table(name, done, next_commands(done, chosen, quick), link, quick),
    )


def next_commands(done: "SearchRun", chosen: Mapping[str, Any], quick: bool) -> dict[str, str]:
    """Commands that use, serve and extend the picks of a search; ``chosen`` are the options that it was given."""
    from pipeline.tracking.program import command
    from pipeline.tracking.registry import REGISTERED_MODEL

    more = {name: value for name, value in chosen.items() if not quick or name not in NOT_IN_FULL}
    if more.get("trials"):
        more["trials"] *= 2
    search_on = {"search in full" if quick else "extend": command_line("search", more)}
    if not done.picks:
        return search_on
    if quick:
        like = {"like": f"@{done.registered['knee']}", **text_options(chosen)}
        return {"train in full": command_line("train", like), **search_on}
    pick = f"@{done.registered['lean']}"
    serve = f"{command('mlflow')} models serve -m models:/{REGISTERED_MODEL}{pick} --env-manager local"
    return {"use": f"{command()} sample {pick}", "serve": serve, **search_on}
