"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes its place when the block ends, synced, and never if it fails.

    Until then it is ``.<name>.<random>`` beside its place: what ``leftovers`` finds if the process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")  # not tempfile's: that may be read by its owner only
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def leftovers(path: Path) -> list[Path]:
    """What killed writers of a file have left beside its place; only for one who knows that nobody writes it now."""
    return list(path.parent.glob(f".{path.name}.*"))


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file or none: written beside its place, synced, then renamed."""
    with whole_file(path) as file:
        file.write(data)
