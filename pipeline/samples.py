"""Where models that release 0.1 has logged look for ``continuations``, in a process that has imported this package."""

from pipeline.training.samples import continuations

__all__ = ["continuations"]
