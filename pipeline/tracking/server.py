"""MLflow's own server, as a process that stops when this one is gone."""

from pipeline.support import child


def command(verb: str, host: str, port: int, workers: int, *words: str) -> list[str]:
    """The command line of ``mlflow ui`` or ``mlflow server``, without a line for each request."""
    words = ("--host", host, "--port", str(port), "--workers", str(workers), *words)
    return child.command("mlflow", verb, *words, "--uvicorn-opts", "--log-level warning")


def environment(uri: str) -> dict[str, str]:
    """Its variables; the database is among them, as every user of a machine can read a command line."""
    return {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",  # of MLflow's own code
    }
