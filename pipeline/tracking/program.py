"""How to call tmlm on the current store from the shell that started this command."""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from pipeline.support.files import ROOT
from pipeline.tracking.store import setup, sqlite_file

UNDER_MAKE, UNDER_MLFLOW = "MAKELEVEL", "MLFLOW_RUN_ID"  # environment variables set by make and by mlflow run


def command() -> str:
    """How to call tmlm; a database other than ours is named, as ``mlflow run`` sets it for this process only."""
    store = setup()
    file = sqlite_file(store.uri)
    if store.database is not None or file is None:
        return program()
    return f"MLFLOW_TRACKING_URI={shlex.quote(f'sqlite:///{file}')} {program()}"


def program() -> str:
    """``tmlm`` if the shell finds it, else its path: make adds .venv to the PATH of its own commands only."""
    script = Path(sysconfig.get_path("scripts")) / "tmlm"
    if not script.is_file():  # the environment of conda.yaml has only our dependencies
        return f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m pipeline"
    activated = any(os.environ.get(name) == sys.prefix for name in ("VIRTUAL_ENV", "CONDA_PREFIX"))
    found = shutil.which("tmlm")
    if found and os.path.samefile(found, script) and (activated or UNDER_MAKE not in os.environ):
        return "tmlm"
    is_here = UNDER_MAKE in os.environ or UNDER_MLFLOW not in os.environ  # mlflow run changes the working folder
    if is_here and script.is_relative_to(Path.cwd()):
        script = script.relative_to(Path.cwd())
    return shlex.quote(str(script))
