"""Files that are whole or not there, small files that a user names; and the names of a training's two checkpoints."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from filelock import FileLock, Timeout

from pipeline.errors import InputError

LAST_CHECKPOINT = "last.safetensors"  # the whole state of a training: what it is resumed from

BEST_CHECKPOINT = "best.safetensors"  # the weights of the epoch that validates best: what is evaluated and served


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
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
        _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a write does not say of what
            error.filename = str(path)
        raise


def leftovers(path: Path) -> list[Path]:
    """What killed writers of a file have left beside its place; only for one who knows that nobody writes it now."""
    return list(path.parent.glob(f".{path.name}.*"))


def read_small(path: str | Path, option: str, most_bytes: int) -> str:
    """The text of a small UTF-8 file that an option names, without a byte order mark.

    Raises InputError for anything else: a pipe or a device would be waited for or never end, and no table or space
    that is meant is larger.
    """
    place = Path(path)
    try:
        if place.exists() and not place.is_file():
            raise InputError(f"{option} {path} is {'a folder' if place.is_dir() else 'no regular file'}; give a file")
        with place.open("rb") as file:
            data = file.read(most_bytes + 1)
        text = data.decode("utf-8-sig") if len(data) <= most_bytes else ""
    except (OSError, ValueError) as error:  # ValueError: also a name with a NUL byte
        reason = (error.strerror if isinstance(error, OSError) else "") or " ".join(str(error).split())
        raise InputError(f"{option} {path} can't be read ({reason}); give a UTF-8 text file") from None
    if len(data) > most_bytes:
        raise InputError(f"{option} {path} has more than {most_bytes:,} bytes; give a smaller file")
    return text


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file or none: written beside its place, synced, then renamed."""
    with atomic_write(path) as file:
        file.write(data)


@contextmanager
def exclusive_lock(lock: Path, refusal: str) -> Iterator[None]:
    """For as long as this command works on something. InputError, ``refusal``, where another one of this machine is."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise InputError(refusal) from None
    try:
        yield
    finally:
        held.release()


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power failure; where folders can't be opened (Windows), it is left to it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
