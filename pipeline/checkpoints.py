"""Where models that release 0.1 has logged look for ``load_model``, in a process that has imported this package."""

from pipeline.training.checkpoints import load_model

__all__ = ["load_model"]
