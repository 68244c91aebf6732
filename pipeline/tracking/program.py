"""How to call tmlm on the current store from the shell that started this command."""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from pipeline.config import UNDER_MLFLOW
from pipeline.support.files import ROOT
from pipeline.tracking.store import setup, sqlite_address, sqlite_file

UNDER_MAKE = "MAKELEVEL"  # environment variable that make sets


def command(name: str = "tmlm") -> str:
    """How to call tmlm, or mlflow; a database that it would not find is named.

    tmlm finds ours, but not one that ``mlflow run`` sets for this process only; mlflow that of the working folder.
    """
    store = setup()
    file = sqlite_file(store.uri)
    is_found = store.database is not None and (name == "tmlm" or Path.cwd() == store.database.parent.parent)
    named = "" if is_found or file is None else f"MLFLOW_TRACKING_URI={shlex.quote(sqlite_address(file))} "
    return named + program(name)


def program(name: str, prefix: str = sys.prefix) -> str:
    """``tmlm`` if the shell finds it, else its path: make adds .venv to the PATH of its own commands only."""
    script = Path(sysconfig.get_path("scripts", vars={"base": prefix})) / name
    if not script.is_file():  # the environment of conda.yaml has only our dependencies
        return f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m pipeline"
    activated = any(os.environ.get(name) == prefix for name in ("VIRTUAL_ENV", "CONDA_PREFIX"))
    found = shutil.which(name)
    if found and os.path.samefile(found, script) and (activated or UNDER_MAKE not in os.environ):
        return name
    is_here = UNDER_MAKE in os.environ or UNDER_MLFLOW not in os.environ  # mlflow run changes the working folder
    if is_here and script.is_relative_to(Path.cwd()):
        script = script.relative_to(Path.cwd())
    return shlex.quote(str(script))
