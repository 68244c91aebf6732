"""MLflow's own server, as a child process that stops when this one is gone."""

from pipeline.support import child


def server_command(verb: str, host: str, port: int, workers: int, *words: str, uvicorn: str = "") -> list[str]:
    """The command line of ``mlflow ui`` or ``mlflow server``, which logs warnings but not every request.

    ``uvicorn`` are further options of the server that MLflow starts.
    """
    words = ("--host", host, "--port", str(port), "--workers", str(workers), *words)
    return child.child_command("mlflow", verb, *words, "--uvicorn-opts", f"--log-level warning {uvicorn}")


def server_environment(uri: str) -> dict[str, str]:
    """The server's environment variables; the store is one of them, since any user can read a command line."""
    return {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",  # warnings about MLflow's own code
    }
