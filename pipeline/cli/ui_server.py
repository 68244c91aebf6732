"""The process of the UI's server: MLflow's own command, which also stops when the process that started it is gone.

Run as ``python -m pipeline.cli.ui_server PARENT WORDS...``: without it, ``kill -9`` of ``tmlm ui`` would leave MLflow's
server listening. MLflow's command passes SIGTERM on to its workers.
"""

import runpy
import sys

from pipeline.support import signals


def main(parent: str, *words: str) -> None:
    """Run ``mlflow WORDS...`` here, as long as the process with the id ``parent`` is this one's parent."""
    signals.install(parent=int(parent))
    signals.disable_deadline()  # a server shuts down by itself
    sys.argv = ["mlflow", *words]
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
