"""The server process of the UI: MLflow's own command, stopped when the process that started it is gone.

Run as ``python -m pipeline.cli.ui_server PARENT WORDS...``. Otherwise ``kill -9`` of ``tmlm ui`` would leave MLflow's
server listening. MLflow's command passes SIGTERM on to its workers.
"""

import runpy
import sys

from pipeline.support import signals


def main(parent: str, *words: str) -> None:
    """Run ``mlflow WORDS...`` in this process until it ends or its parent, ``parent``, is gone."""
    signals.install(parent=int(parent))
    signals.disable_deadline()  # a server shuts down by itself
    sys.argv = ["mlflow", *words]
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
