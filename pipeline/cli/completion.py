"""Shell completion of runs, MODELs, texts and files. Values are neither changed nor checked."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

import click
from click.shell_completion import CompletionItem

MOST = 50  # runs


class Completed(click.ParamType):
    """A string for which the shell offers ``words`` (or known texts), runs of a ``stage``, and files if ``files``."""

    def __init__(self, name: str, words: tuple[str, ...] = (), stage: str = "", files: bool = False) -> None:
        self.name, self.words, self.stage, self.files = name, words, stage, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        items = [CompletionItem(incomplete, type="file")] if self.files else []  # first: bash drops the items before it
        words: Iterable[str] = self.words
        if self.name == "text":
            from pipeline.text.sources import KNOWN_TEXTS

            words = KNOWN_TEXTS
        items += [CompletionItem(word) for word in words if word.startswith(incomplete)]
        return items + (_runs(self.stage, incomplete) if self.stage else [])


def _runs(stage: str, beginning: str) -> list[CompletionItem]:
    """The latest runs of a stage whose id begins so, as short ids unless that is longer; for trainings, names too."""
    from pipeline.tracking import queries, recorded, references, store

    length = recorded.SHORT_ID if len(beginning) <= recorded.SHORT_ID else None
    with suppress(Exception), store.impatient():  # without a usable store, there are no candidates
        if store.look():
            conditions = queries.has_tag("stage", stage), queries.begins("attributes.run_id", beginning)
            runs = islice(queries.search_runs(*conditions, order="start_time DESC"), MOST)
            found = {run.id[:length]: references.describe_run(run) for run in runs if run.id.startswith(beginning)}
            if stage == "train":
                found = dict(islice(references.names(beginning), MOST)) | found
            return [CompletionItem(value, help=words) for value, words in found.items()]
    return []


LATEST = ("latest", "latest~1")

FILE = Completed("file", files=True)
TEXT = Completed("text", files=True)
TRAINING = Completed("run", LATEST, "train")
MODEL = Completed("model", LATEST, "train", files=True)
REPRODUCTION = Completed("run", stage="reproduce")
