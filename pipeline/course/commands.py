"""The command ``check``."""

from dataclasses import asdict

import click

from pipeline.cli import completion
from pipeline.cli.group import show
from pipeline.cli.options import LabCommand, flag, json_flag
from pipeline.config import CorpusConfig
from pipeline.errors import CheckFailedError, DataUnavailableError, InputError


@click.command(cls=LabCommand)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=completion.FILE)
@flag("--quick", "Take the figures as they were handed in; needs no text, and can't see that one was altered.")
@json_flag
def check(folders: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Check what students of the course hand in.

    Each DIR is a folder that `tmlm export` has written for an exercise of docs/course.md. Its figures are computed from
    its weights and The Time Machine, compared with those of its card, and judged by the bands of the course. Nothing in
    a folder is executed, no link is followed, and nothing is recorded. The exit code is 2 if a folder can't be read or
    was altered, else 4 if a figure is out of its band or a network is missing.
    """
    from pipeline.course import check as hand_ins
    from pipeline.course.bands import packaged_course
    from pipeline.text.corpus import load_corpus

    try:
        corpus = None if quick else load_corpus(CorpusConfig("time-machine", "letters"))
    except DataUnavailableError as error:
        remedy = "Nothing was judged; --quick takes the figures as handed in, without the text."
        raise DataUnavailableError(f"{error} {remedy}") from None
    found = hand_ins.check(folders, packaged_course(), corpus)
    result = {"quick": quick, "folders": [asdict(each) for each in found]}
    show(result, as_json, hand_ins.summary(found, quick))
    if bad := sum(each.verdict in ("can't be read", "altered") for each in found):
        raise InputError(f"{bad} of {len(found)} folders can't be read or were altered")
    if wrong := sum(each.verdict != "right" for each in found):
        raise CheckFailedError(f"{wrong} of {len(found)} folders are out of their bands or incomplete")
