"""Commands about what was recorded: runs, compare, best, note, open, push, ui, delete, doctor."""

import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import click

from pipeline.cli import completion
from pipeline.cli.group import say, show
from pipeline.cli.options import LabCommand, flag, json_flag
from pipeline.support import signals


@click.command(cls=LabCommand)
@click.option("--search", default="", help="Only trainings with all of these words in name, id, text, study or note.")
@click.option(
    "--corpus",
    type=completion.TEXT,
    default="",
    help="Only trainings on this text: its recorded name, path or address.",
)
@click.option(
    "--sort", metavar="COLUMN", default="", help="Sort by a column of the list, such as val; -COLUMN: descending."
)
@click.option(
    "--limit", type=click.IntRange(1, 10**6), default=20, show_default=True, help="Largest number of trainings."
)
@flag("--all", "Also list each training of a search, an answer, a reproduction or several seeds.")
@json_flag
def runs(search: str, corpus: str, sort: str, limit: int, all: bool, as_json: bool) -> None:
    """List the recorded trainings, newest first, or sorted by a column.

    val and test are perplexities, MACs are per character, and seconds are those of the training. The trainings of a
    search, an answer or a reproduction are one row, with the figures of the best and the seconds of all; several seeds
    are one row with their means. A narrow terminal shows fewer columns. Notes stand below.
    """
    from pipeline.runs import listing, sentences
    from pipeline.tracking import queries

    found = queries.listed_trainings(search, corpus)
    listed: Iterable[dict[str, Any]] = (training.row() for training in found) if all else listing.folded(found)
    rows = listing.sorted_rows(listed, sort) if sort else list(islice(listed, limit + 1))
    if rows:
        text = sentences.runs_table(rows[:limit])
    elif search or corpus:
        text = f"no training is recorded{' with these words' * bool(search)}{' on this text' * bool(corpus)}"
    else:
        text = queries.unread_runs() or "no training is recorded"
    if len(rows) > limit:
        text += f"\n(the {'first' if sort else 'last'} {limit}; more with --limit)"
    if sort and (warning := sentences.not_comparable(rows, sort)):
        say(warning)
    show({"runs": rows[:limit]}, as_json, text)


@click.command(cls=LabCommand)
@click.argument("references", metavar="RUN|STUDY...", nargs=-1, required=True, type=completion.TRAINING)
@click.option(
    "--plot", metavar="FILE", default="", type=completion.FILE, help="Draw curves or fronts to this .png, .svg or .pdf."
)
@json_flag
def compare(references: tuple[str, ...], plot: str, as_json: bool) -> None:
    """Show how 2 to 20 trainings or searches differ.

    Of trainings, shows the best perplexities and how far the others are above them, by seeds where a run has several,
    and the costs and options that differ; of two, sample texts, too. Of searches, shows the hypervolumes of their
    fronts within one reference point, and which members dominate which. Give runs (ids or their first characters,
    latest, latest~1, names), picks (@knee, @STUDY-knee), or the names of studies.
    """
    from pipeline.runs import compare as comparison
    from pipeline.runs.sentences import comparison_text

    result = comparison.compare(*references, plot=plot)
    show(result, as_json, comparison_text(result))


@click.command(cls=LabCommand)
@click.argument("text", default="auto", metavar="[TEXT]", type=completion.TEXT)
@click.option("--max-macs", type=click.IntRange(1), help="Largest number of MACs per character.")
@click.option(
    "--max-kb",
    type=click.FloatRange(0, min_open=True),
    help="Largest size in kilobytes (1,000 bytes), with weights of as few bits as keep the perplexity.",
)
@click.option(
    "--max-perplexity",
    type=click.FloatRange(1),
    help="Largest validation perplexity: show the cheapest, by MACs, in one line.",
)
@json_flag
def best(text: str, as_json: bool, **limits: Any) -> None:
    """Show the best models on a text.

    Of the finished trainings on one text, by their means over seeds: the best network alone; the best within --max-macs
    and --max-kb, or the smallest within 5 % of the best; and the best with n-grams mixed in. TEXT is the name of a text
    as recorded (time-machine, or my-book for my-book.txt), its path or its address; by default, the text of the last
    training that you started.
    """
    from pipeline.runs.best import best
    from pipeline.runs.sentences import best_text

    result = best(text, **limits)
    show(result, as_json, best_text(result, any(limits.values())))


@click.command(cls=LabCommand)
@click.argument("reference", metavar="RUN|STUDY", type=completion.TRAINING)
@click.argument("text", metavar="[TEXT]", required=False)
@json_flag
def note(reference: str, text: str | None, as_json: bool) -> None:
    """Say why a run was made, or show what was said.

    TEXT has 1 to 1,000 characters, and takes the place of an earlier note; "" removes it; without TEXT, the note is
    printed. It is the tag `note` of the run, and opens its description in MLflow. `tmlm runs --search` finds its words.
    """
    from pipeline.runs.note import note

    result = note(reference, text)
    none = f"{result['name']} has no note" if text is None else f"{result['name']} has no note any more"
    show(result, as_json, result["note"] or none)


@click.command(cls=LabCommand)
@click.argument("uri", metavar="URI", type=completion.FILE)
@click.argument("reference", metavar="[RUN|STUDY|all]", default="all", type=completion.TRAINING)
@json_flag
def push(uri: str, reference: str, as_json: bool) -> None:
    """Copy runs to another store or MLflow server.

    URI is http://..., sqlite:///FILE, or the folder of a checkout or of an mlflow.db. Copies a run (its id or first
    characters, latest, its name, or @PICK), a study with its trials, or all runs: options, curves, tags, artifacts,
    models with their aliases, and nesting. Of what was pushed before, only the note is brought up to date; the same
    command completes a push that was stopped.
    """
    from pipeline.runs import push

    result = push.push(uri, reference)
    show(result, as_json, push.summary(result))


@click.command(cls=LabCommand, name="open")
@click.argument("what", default="latest", metavar="[WHAT]", type=completion.TRAINING)
@json_flag
def open_(what: str, as_json: bool) -> None:
    """Open the page of a model in the browser.

    The page reads what you type, and writes. WHAT is a training (its id or first characters, latest, its name, or
    @PICK), a run of several seeds, a main job, or a search (its study's name). Prints the path of the page, and over
    ssh how to copy it. For MLflow: tmlm ui.
    """
    from pipeline.runs import open_page, ui

    path = open_page.open_page(what, ui.has_browser())
    show({"page": path}, as_json, path)


@click.command(cls=LabCommand)
@click.argument("what", default="", metavar="[WHAT]", type=completion.TRAINING)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@flag("--no-open", "Print the link, and open no browser.")
def ui(what: str, port: int, no_open: bool) -> None:
    """Start the MLflow UI and open it in the browser; for the page of a model: tmlm open.

    WHAT is a run (its id or first characters, latest, its name, or @PICK), a search (its study's name), or by default
    models: those of the text of your last training. Listens on 127.0.0.1 only. A UI of this store that is running
    already is used. Without a terminal or over ssh, only the link is printed.
    """
    from pipeline.runs import ui as server

    signals.disable_deadline()  # the server has its own
    sys.exit(server.serve_ui(port, what, not no_open and server.has_browser()))


@click.command(cls=LabCommand)
@click.argument("named", metavar="[RUN|STUDY]...", nargs=-1, type=completion.TRAINING)
@click.option("--text", default="", type=completion.TEXT, help="Name of a text, whose copies and caches are deleted.")
@flag("--yes", "Ask nothing.")
@flag("--dry-run", "Only show what would be deleted.")
@flag("--weights", "Delete only the weights of finished trainings, which keep their figures.")
@flag("--cache", "Delete all texts, n-grams and downloads in the cache that no running command uses.")
@json_flag
def delete(
    named: tuple[str, ...], text: str, yes: bool, dry_run: bool, weights: bool, cache: bool, as_json: bool
) -> None:
    """Delete runs, studies, the weights of trainings, and the kept copies of texts.

    Deletes a run (its id or first characters, latest, its name) with the runs nested in it, its evaluations and
    samples, logged models, registered versions and aliases; a study also with its trials in Optuna; of a step its main
    job. With --weights, finished trainings lose their checkpoints and logged models, and keep their figures. Shows all
    of it with its size, and asks. The same command completes a deletion that was killed.
    """
    from pipeline.runs import delete
    from pipeline.runs.sentences import deletion_text

    def ask(found: Mapping[str, Any]) -> None:
        if not yes and not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at: give --yes, or --dry-run to see what is deleted")
        if not yes:
            say(deletion_text(found))
            click.confirm("Delete all of it?", abort=True, err=True)

    result = delete.delete(named, text, dry_run, weights, cache, ask)
    show(result, as_json, deletion_text(result))


@click.command(cls=LabCommand)
@flag("--repair", "Close runs whose process died, and fix the artifact paths of a checkout that was moved.")
@click.option("--close", help="Close this run, whose machine or container no longer exists.")
@flag("--upgrade", "Upgrade the tables of a store that an older MLflow wrote, and keep a backup beside it.")
@json_flag
def doctor(repair: bool, close: str | None, upgrade: bool, as_json: bool) -> None:
    """Show what commands would use here, and repair the store.

    Shows the text, store, device, threads and versions, with the reason for each, and the runs that are RUNNING, with
    the state of their processes. Changes nothing without --repair, --close or --upgrade.
    """
    from pipeline.runs import doctor

    done = {"upgraded": doctor.upgrade()} if upgrade else {}
    done |= {"closed": doctor.close(close)} if close is not None else {}
    done |= {"repaired": doctor.repair()} if repair else {}
    result = done | doctor.findings()
    lines = [(name, line) for name, value in result.items() for line in (value if isinstance(value, list) else [value])]
    show(result, as_json, "\n".join(f"{name:<15} {line}" for name, line in lines))
