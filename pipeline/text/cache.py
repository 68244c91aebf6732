"""The folder that keeps downloads, prepared texts and their n-grams, and how its files are read and written."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from pipeline.errors import InputError, reason_of


def cache_dir() -> Path:
    """The folder of downloads and prepared texts: $TMLM_CACHE_DIR, else the user's cache folder."""
    own = os.environ.get("TMLM_CACHE_DIR")
    return Path(os.path.expanduser(own)) if own else platformdirs.user_cache_path("time-machine-lm")


@contextmanager
def writing_cache() -> Iterator[None]:
    """Turn an OSError while the cache is written into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache {cache_dir()} can't be written: {reason_of(error)}; TMLM_CACHE_DIR sets another folder"
        ) from None


def bytes_in(file: Path) -> bytes:
    """What a file of the cache holds; nothing if it can't be read."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def json_in(file: Path) -> dict[str, Any]:
    """What a file of the cache says; {} if it is missing or damaged."""
    try:
        found = json.loads(bytes_in(file))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
