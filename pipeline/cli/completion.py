"""Shell completion of runs, MODELs, texts and files. Values are neither changed nor checked."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

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


def _runs(stage: str, status: str = "%") -> Candidates:
    def candidates(beginning: str) -> list[tuple[str, str]]:
        from pipeline.tracking import completion

        return completion.runs(beginning, stage, status)

    return candidates


def _trainings(beginning: str) -> list[tuple[str, str]]:
    return LATEST + _runs("train")(beginning)


def _models(beginning: str) -> list[tuple[str, str]]:
    from pipeline.tracking import completion

    return _trainings(beginning) + completion.models()


FILE = Completed("file", files=True)
TEXT = Completed("text", lambda beginning: KNOWN_TEXTS, files=True)
TRAINING = Completed("run", _trainings)
MODEL = Completed("model", _models, files=True)
REPRODUCTION = Completed("run", _runs("reproduce"))
RUNNING = Completed("run", _runs("train", "RUNNING"))
