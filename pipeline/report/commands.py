"""The commands ``reproduce`` and ``report``."""

from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import completion
from pipeline.cli.group import resumed_by, say, show
from pipeline.cli.options import LabCommand, flag, given, json_flag, options_of
from pipeline.cluster.commands import cluster_option, pool_on
from pipeline.config import ReproduceConfig

if TYPE_CHECKING:
    from pipeline.report.rewrite import ReproductionRun


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
    from pipeline.report import reproduce
    from pipeline.stages import sweep
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
    from pipeline.report import rewrite

    show_reproduction(rewrite.rewrite_report(run_id), as_json)


def show_reproduction(done: "ReproductionRun", as_json: bool) -> None:
    """Print the result of ``reproduce`` or ``report``."""
    from pipeline.report.page.sentences import reproduction_table
    from pipeline.tracking.ui import links

    page = str(done.folder / "report.html")
    link = links.link_line("run", links.link_to_run(done.reproduction.run_id))
    show(done.result, as_json, reproduction_table(done.reproduction, done.verdicts, done.checks, page, link))
