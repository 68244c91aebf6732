"""The command ``export``."""

from pathlib import Path

import click

from pipeline.cli import completion
from pipeline.cli.group import show
from pipeline.cli.options import LabCommand, flag, json_flag


@click.command(cls=LabCommand)
@click.argument("references", metavar="RUN...|STUDY|EXPERIMENT", nargs=-1, required=True, type=completion.TRAINING)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=completion.FILE,
    required=True,
    help="Folder to write to: a new or an empty one.",
)
@flag(
    "--with-ngrams",
    "Include n-grams of a text of your own in the page, networks on top of them, and passages of it word for word, to "
    "guess letters of: whoever has the page can read most of the text out of it. The texts that the lab downloads may "
    "be copied.",
)
@json_flag
def export(references: tuple[str, ...], output: str, with_ngrams: bool, as_json: bool) -> None:
    """Export records as a page to share, with the data.

    Writes a run (its id or first characters, latest, its name, or a search's @PICK), a study or an MLflow experiment
    (by name) to a folder that can be read without MLflow: a page (index.html) that runs the model, with curves, Pareto
    front, tables and the commands to repeat it, the figures as CSV and LaTeX, and the models as safetensors. Two to 20
    trainings, or runs of several seeds, of one text and alphabet are written together.
    """
    from pipeline.pages.export import export

    if not output or "://" in output:
        raise click.UsageError(f"--output {output!r} is no folder: give the path of one")
    result = export(*references, folder=Path(output), with_ngrams=with_ngrams)
    files = "\n".join(f"  {file}" for file in result["files"])
    show(result, as_json, f"{result['kind']} {result['name']}\n{files}\n\npage {result['page']}")
