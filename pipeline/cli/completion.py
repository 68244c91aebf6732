"""Shell completion of runs, MODELs, texts and files. Values are neither changed nor checked."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from pipeline.tracking import completion

Candidates = Callable[[str], list[tuple[str, str]]]  # beginning -> (value, description)

LATEST = [("latest", "the training that finished last"), ("latest~1", "the one before")]

KNOWN_TEXTS = [("time-machine", ""), ("tiny-shakespeare", ""), ("python-docs", "")]


class Completed(click.ParamType):
    """A string for which the shell offers ``candidates``, and file names if ``files``."""

    def __init__(self, name: str, candidates: Candidates = lambda beginning: [], files: bool = False) -> None:
        self.name, self.candidates, self.files = name, candidates, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        files = [CompletionItem(incomplete, type="file")] if self.files else []  # first: bash drops the items before it
        found = [(value, help) for value, help in self.candidates(incomplete) if value.startswith(incomplete)]
        return files + [CompletionItem(value, help=help or None) for value, help in found]


def _trainings(beginning: str) -> list[tuple[str, str]]:
    return LATEST + completion.runs(beginning, "train")


FILE = Completed("file", files=True)
FOLDER = Completed("dir", files=True)
TEXT = Completed("text", lambda beginning: KNOWN_TEXTS, files=True)
TRAINING = Completed("run", _trainings)
MODEL = Completed("model", lambda beginning: _trainings(beginning) + completion.models(), files=True)
REPRODUCTION = Completed("run", lambda beginning: completion.runs(beginning, "reproduce"))
RUNNING = Completed("run", lambda beginning: completion.runs(beginning, "train", "RUNNING"))
