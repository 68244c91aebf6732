"""Import path of ``continuations`` in models that release 0.1 logged."""

from pipeline.training.samples import continuations

__all__ = ["continuations"]
