"""Run a Python module in a child process that stops, as on SIGTERM, when its parent is gone.

Otherwise ``kill -9`` of ``tmlm ui`` would leave MLflow's server running.
"""

import os
import runpy
import sys

from pipeline.support import signals


def child_command(module: str, *words: str) -> list[str]:
    """The command line that runs ``python -m MODULE WORDS...`` as such a child of this process."""
    return [sys.executable, "-m", "pipeline.support.child", str(os.getpid()), module, *words]


def main(parent: str, module: str, *words: str) -> None:
    """Run a module as ``__main__`` until it ends, or until the process ``parent`` (an id) is gone."""
    signals.install(parent=int(parent))
    signals.disable_deadline()  # shutting down may take longer: MLflow's server and a node wait for their processes
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
