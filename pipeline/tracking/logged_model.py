"""Log a trained model in its run, so that MLflow can load and serve it."""

import ast
import importlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

import pipeline.tracking.store  # noqa: F401
from models.decoding import DEFAULT_LENGTH, Decoding
from pipeline.support.files import ROOT
from pipeline.support.machine import public_version
from pipeline.tracking.relocation import location_of

import mlflow
from mlflow.models import Model, infer_signature

_importing = threading.Lock()
OURS = ("models", "pipeline")  # the packages of which a logged model has copies
SERVED_MODULE = "pipeline.tracking.served_model"
SERVED_PACKAGES = ("mlflow", "torch", "numpy", "pandas", "safetensors")  # what SERVED_MODULE needs

# prompts in, texts out, and the options of `tmlm sample`
SIGNATURE = infer_signature([""], [""], {"length": DEFAULT_LENGTH, **asdict(Decoding())})


def log_model(run_id: str, name: str, checkpoint: Path, example: str, epoch: int, tags: Mapping[str, str]) -> str:
    """Log the model of a checkpoint (text in, text out) in a run; returns the model's id.

    The code that it needs is logged with it. ``epoch`` is the one after which the checkpoint was written.
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
    """Make a package, which MLflow runs when it logs it, importable within the block, and forget its modules then.

    One thread at a time: all have the same sys.path and sys.modules.
    """
    with _importing:
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


def copy_as_package(module: str, folder: Path) -> Path:
    """Copy a module and all modules of this project that it imports; returns the folder of the new package.

    The package's name is tmlm_ and a digest of what was copied, and imports among the modules are rewritten
    accordingly: a process that imports it may have modules ``models`` or ``pipeline`` of another project or version.
    """
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in _files_behind(module)}
    digest = sha256("\0".join(f"{file}\0{source}" for file, source in sources.items()).encode()).hexdigest()
    package = folder / f"tmlm_{digest[:12]}"
    for file, source in sources.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        renamed = re.sub(rf"^( *from )({'|'.join(OURS)})\b", rf"\1{package.name}.\2", source, flags=re.MULTILINE)
        (package / file).write_text(renamed, encoding="utf-8")
    (package / "__init__.py").write_text(f'"""A copy of what {module} of time-machine-lm needs."""\n', encoding="utf-8")
    return package


@cache
def _files_behind(module: str) -> list[Path]:
    """The files of a module, of what it imports, and of their packages, in alphabetical order."""
    files: set[Path] = set()
    waiting = [module]
    while waiting:
        file = Path(*waiting.pop().split(".")).with_suffix(".py")
        if file in files or file.parts[0] not in OURS or not (ROOT / file).is_file():
            continue
        files.add(file)
        for node in ast.walk(ast.parse((ROOT / file).read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    packages = {parent / "__init__.py" for file in files for parent in file.parents if parent.parts}
    return sorted(files | packages)
