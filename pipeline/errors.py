"""Errors that a user can act on, and their exit codes."""

import errno
import re
from collections.abc import Sequence
from typing import Any


class TmlmError(Exception):
    """An error that a user can act on: shown as one sentence, without a traceback."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class InputError(TmlmError):
    """An input that can't be used: a text, a model, an option."""

    exit_code = 2


class DataUnavailableError(TmlmError):
    """A requested text is not available."""

    exit_code = 3


class CheckFailedError(TmlmError):
    """Figures differ from what --check expects."""

    exit_code = 4


class TrainingDivergedError(TmlmError):
    """The loss became NaN or infinite; the best checkpoint before that is kept.

    Of several seeds, ``models`` are those of the seeds that did not diverge.
    """

    models: Sequence[Any] = ()


class RemoteError(TmlmError):
    """An exception of another process, as "Type: message", if it can't be pickled itself."""


class ClusterError(TmlmError):
    """A cluster's scheduler can't be reached, or has had no node for too long."""


class UnfitNodeError(TmlmError):
    """A node of a cluster can't do the tasks of a command: its code differs, or it can't get the text."""


class RecordingError(TmlmError):
    """A run can't be recorded any further: the store refuses or its disk is full."""


REMEDIES = {  # what the user can do, by errno
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit (ulimit -f)",
    errno.EACCES: "change its permissions, or use another folder",
    errno.EPERM: "change its permissions, or use another folder",
    errno.EROFS: "use another folder",
    errno.EMFILE: "raise the limit (ulimit -n)",
}

NO_MEMORY = (  # in the messages of RuntimeError, ImportError and SystemError
    "can't allocate memory",  # torch, on a CPU
    "could not create a primitive",  # oneDNN
    "can't start new thread",  # whose stack has no room
    "error return without exception set",  # Python's parser
    "failed to map segment",  # of a library
)


USER = r"""[^\s:/@]*:(?!\d{1,5}[/\s])(?:(?!://).)*[^\s('"`]@(?=[\w[])"""  # name, password with spaces and @; no port
ADDRESS = re.compile(  # "url: " and a path: requests
    rf"""(\w[\w+.-]*://|(?<=url: ))((?:{USER})?\S+?)(?=['"`),.;:\]>]*(?:\s|$))"""
)
HOST_AND_PATH = re.compile(r"(\[[\w:.%]*\]|[^:/@[\]]*)(:\d*)?(/.*)?")


def without_secrets(text: str) -> str:
    """A text with its addresses reduced to scheme, host and path, to show and record.

    User name, password, query and fragment may each hold a secret. A password may contain spaces, a slash or an at
    sign, but not the last two in a web address, whose path may.
    """
    return ADDRESS.sub(_without_secrets, text)


def _without_secrets(address: re.Match[str]) -> str:
    scheme, rest = address.groups()
    place = re.split("[?#]", rest, maxsplit=1)[0]
    is_plain = HOST_AND_PATH.fullmatch(place) and (scheme.lower() in ("http://", "https://") or place.startswith("/"))
    if not is_plain:
        place = place.rpartition("@")[2]
    return scheme + (place if HOST_AND_PATH.fullmatch(place) else "***")


def option_name(field_name: str) -> str:
    """The command-line option of a configuration's field."""
    return f"--{field_name.replace('_', '-')}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means out of memory: the MemoryError of Python and NumPy, or one of NO_MEMORY.

    torch's error on a GPU is a subclass of RuntimeError, recognised by its name so as not to import torch.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    has_a_text = isinstance(error, RuntimeError | ImportError | SystemError)
    return has_a_text and any(words in str(error) for words in NO_MEMORY)


def reason_of(error: OSError) -> str:
    """The system's reason, the file and what to do about it, followed by the error's notes."""
    path = error.filename2 or error.filename  # filename2: the target of a copy
    reason = f"{error.strerror or error}: {path}" if path else str(error.strerror or error)
    remedy = REMEDIES.get(error.errno or 0)
    return message_of(error, f"{reason}; {remedy}" if remedy else reason)


def message_of(error: Exception, message: str | None = None) -> str:
    """An error's message, or ``message`` in place of it, followed by the error's notes."""
    return "; ".join([str(error) if message is None else message, *getattr(error, "__notes__", [])])
