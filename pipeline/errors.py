"""What a command tells its user when it can't go on, and the exit code that goes with it."""

import errno


class TmlmError(Exception):
    """A reason that a user can act on; shown as one sentence, without a traceback."""

    exit_code = 1


class InputError(TmlmError):
    """What was given can't be used: a text, a model, an option."""

    exit_code = 2


class DataUnavailableError(TmlmError):
    """A text that is asked for can't be had."""

    exit_code = 3


class CheckFailedError(TmlmError):
    """Figures are not what --check holds them against."""

    exit_code = 4


class TrainingDivergedError(TmlmError):
    """The loss is no longer a number; what was best until then is kept."""


class RemoteError(TmlmError):
    """What was raised in another process, as "Type: text", where the exception itself can't be pickled."""


class RecordingError(TmlmError):
    """A run can't be recorded any further: the store or its disk refuses."""


REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit (ulimit -f)",
    errno.EMFILE: "raise the limit (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.EACCES: "change its permissions, or use another folder",
    errno.EPERM: "change its permissions, or use another folder",
    errno.EROFS: "use another folder",
}


def option_name(field_name: str) -> str:
    """The command line's name of a configuration's field."""
    return f"--{field_name.replace('_', '-')}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory could not be had: Python's and NumPy's MemoryError, and torch's of any device.

    torch raises a plain RuntimeError on a CPU, and on a GPU a subclass that is not imported here.
    """
    is_of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_of_torch)


def reason_of(error: OSError) -> str:
    """What the system refused, for which file, what to do about it, and the notes that others left with the error."""
    path = error.filename2 or error.filename  # of a copy, where it goes to
    where = f": {path}" if path else ""
    remedy = REMEDIES.get(error.errno or 0)
    said = "; ".join([f"{error.strerror or error}{where}", *([remedy] if remedy else [])])
    return message_of(error, said)


def message_of(error: Exception, said: str | None = None) -> str:
    """What an error says, and the notes that others left with it."""
    return "; ".join([str(error) if said is None else said, *getattr(error, "__notes__", [])])
