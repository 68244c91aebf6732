"""What a command tells its user when it can't go on, and the exit code that goes with it."""


class TmlmError(Exception):
    """A reason that a user can act on; shown as one sentence, without a traceback."""

    exit_code = 1


class InputError(TmlmError):
    """What was given can't be used: a text, a model, an option."""

    exit_code = 2


class DataUnavailableError(TmlmError):
    """A text that is asked for can't be had."""

    exit_code = 3


class TrainingDivergedError(TmlmError):
    """The loss is no longer a number; what was best until then is kept."""


class RecordingError(TmlmError):
    """A run can't be recorded any further: the store or its disk refuses."""
