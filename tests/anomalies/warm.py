"""Run commands in forks of a process that has imported what they import: a line of JSON in, an exit code out.

A line has the words after ``python -m pipeline`` (or after ``python``, -c and a program), the folder to work in, the
variables that are added to the environment, and the files that standard output and standard error go to.
"""

import json
import os
import pkgutil
import runpy
import signal
import sys
from importlib import import_module

import pipeline

SECONDS = 300  # after which a command is killed
names = [module.name for module in pkgutil.walk_packages(pipeline.__path__, "pipeline.")]
for name in [*names, "mlflow.store.tracking.sqlalchemy_store", "mlflow.pyfunc", "matplotlib.pyplot", "optuna.storages"]:
    if "__main__" not in name:
        import_module(name)
for line in sys.stdin:
    words, folder, environment, *outputs = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201 - to who asked
    else:
        signal.alarm(SECONDS)
        os.chdir(folder)
        os.environ |= environment
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(outputs, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if words[0] == "-c":
            exec(words[1])
        else:
            sys.argv[1:] = words
            runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
        break
