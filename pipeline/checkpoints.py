"""Import path of ``load_model`` in models that release 0.1 logged."""

from pipeline.training.checkpoints import load_model

__all__ = ["load_model"]
