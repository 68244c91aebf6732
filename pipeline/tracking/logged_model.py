"""Log a trained model in its run, so that MLflow can load and serve it."""

import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

# first: it sets the environment that MLflow reads when it is imported
import pipeline.tracking.store  # noqa: F401

# isort: split

import mlflow
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from models.decoding import DEFAULT_LENGTH, Decoding
from pipeline.support.code_copy import copy_as_package
from pipeline.support.machine import public_version
from pipeline.tracking.relocation import location_of

SERVED_MODULE = "pipeline.tracking.served_model"
SERVED_PACKAGES = ("mlflow", "torch", "numpy", "pandas", "safetensors")  # what SERVED_MODULE needs
SERVED_TYPES = {str: DataType.string, float: DataType.double, int: DataType.long}

SIGNATURE = ModelSignature(  # prompts in, texts out, and the options of `tmlm sample`
    inputs=Schema([ColSpec(DataType.string)]),
    outputs=Schema([ColSpec(DataType.string)]),
    params=ParamSchema(
        [
            ParamSpec("length", DataType.long, DEFAULT_LENGTH),
            *(
                ParamSpec(option.name, SERVED_TYPES[type(option.default)], option.default)
                for option in fields(Decoding)
            ),
        ]
    ),
)


def log_model(run_id: str, name: str, checkpoint: Path, example: str, epoch: int, tags: Mapping[str, str]) -> str:
    """Log the model of a checkpoint (text in, text out) in a run; returns the model's id.

    The code that the model needs is logged with it. ``epoch`` is the one after which the checkpoint was written, which
    MLflow takes as the model's step.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = copy_as_package(SERVED_MODULE, Path(folder))
        with importable(package):
            info = Model.log(
                None,
                mlflow.pyfunc,
                name=name,
                run_id=run_id,
                python_model=str(package.joinpath(*SERVED_MODULE.split(".")).with_suffix(".py")),
                artifacts={"checkpoint": location_of(checkpoint)},
                code_paths=[str(package)],
                signature=SIGNATURE,
                input_example=[example],
                pip_requirements=[f"{library}=={public_version(library)}" for library in SERVED_PACKAGES],
                step=epoch,
                tags=dict(tags),
            )
    return str(info.model_id)


@contextmanager
def importable(package: Path) -> Iterator[None]:
    """Make a package importable within the block, and remove its modules from this process afterwards.

    MLflow runs the model's code when it logs the model, and loads it once to validate it.
    """
    path, before = sys.path, set(sys.modules)
    sys.path = [str(package.parent), *path]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path = path
        for name in sys.modules.keys() - before:
            # MLflow names the module of a model's file code_model_...
            if name.partition(".")[0] == package.name or name.startswith("code_model_"):
                del sys.modules[name]
