"""A Python module's program as a process that stops, as on SIGTERM, when the one that started it is gone.

Otherwise ``kill -9`` of ``tmlm ui`` would leave MLflow's server listening.
"""

import os
import runpy
import sys

from pipeline.support import signals


def command(module: str, *words: str) -> list[str]:
    """The command line that runs ``python -m MODULE WORDS...`` as such a process of this one."""
    return [sys.executable, "-m", "pipeline.support.child", str(os.getpid()), module, *words]


def main(parent: str, module: str, *words: str) -> None:
    """Run a module's program until it ends, or until ``parent``, a process id, is gone."""
    signals.install(parent=int(parent))
    signals.disable_deadline()  # it may have to wait: MLflow's server for its workers, a node for its trainings
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
