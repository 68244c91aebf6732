"""Shell completion of runs, MODELs, texts and files. Values are neither changed nor checked."""

import click
from click.shell_completion import CompletionItem


class Completed(click.ParamType):
    """A string for which the shell offers ``words``, recorded runs of a ``stage``, and file names if ``files``."""

    def __init__(self, name: str, words: tuple[str, ...] = (), stage: str = "", files: bool = False) -> None:
        self.name, self.words, self.stage, self.files = name, words, stage, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        items = [CompletionItem(incomplete, type="file")] if self.files else []  # first: bash drops the items before it
        items += [CompletionItem(word) for word in self.words if word.startswith(incomplete)]
        if self.stage:
            from pipeline.tracking import completion

            items += [CompletionItem(id, help=name) for id, name in completion.runs(incomplete, self.stage)]
        return items


LATEST = ("latest", "latest~1")

FILE = Completed("file", files=True)
TEXT = Completed("text", ("time-machine", "tiny-shakespeare", "python-docs"), files=True)
TRAINING = Completed("run", LATEST, "train")
MODEL = Completed("model", LATEST, "train", files=True)
REPRODUCTION = Completed("run", stage="reproduce")
