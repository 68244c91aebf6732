"""MLflow servers in the process of a test: its own application, with artifacts, or one that stands in for its UI."""

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from werkzeug.serving import WSGIRequestHandler, make_server

from pipeline.tracking.store import setup


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Print nothing, as tests look at the output of commands."""


class MlflowServer:
    """A running server; ``refuse`` makes it answer requests with an error."""

    def __init__(self, database: Path, artifacts: Path, patch: pytest.MonkeyPatch) -> None:
        from mlflow.server import app, handlers
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with warnings.catch_warnings(action="ignore"), suppress(ImportError):  # the server does so at a search of runs
            import mlflow.server.auth  # noqa: F401

        patch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(artifacts))
        patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        # made here, as the server would set the tracking address of this process to its database
        patch.setattr(handlers, "_tracking_store", SqlAlchemyStore(f"sqlite:///{database}", "mlflow-artifacts:/"))
        patch.setattr(handlers, "_model_registry_store", RegistryStore(f"sqlite:///{database}"))
        patch.setattr(handlers, "_artifact_repo", None)
        self._app = app
        self._refused: dict[str, tuple[str, int, bytes]] = {}
        self.requests: list[str] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.requests.append(f"{environ['REQUEST_METHOD']} {path}")
        for text, (method, status, body) in self._refused.items():
            if text in path and environ["REQUEST_METHOD"] in method:
                start_response(f"{status} refused", [("Content-Type", "text/plain")])
                return [body]
        return self._app(environ, start_response)

    def refuse(self, text: str, method: str = "GET POST PUT", status: int = 403, body: bytes = b"refused") -> None:
        """From now on, answer requests of these methods whose path contains the text with this status and body."""
        self._refused[text] = (method, status, body)

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials}127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Stop the server; its port then refuses connections."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def answering(location: str = "", port: int = 0) -> Iterator[int]:
    """A server of the current store, or of one whose experiment has its artifacts at ``location``; gives its port."""
    location = location or str(MlflowClient(setup().uri).get_experiment("0").artifact_location)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/2.0/mlflow/experiments/get?experiment_id=0"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"experiment": {"artifact_location": location}}).encode())

        def log_message(self, *what: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield listening.server_port
        finally:
            listening.shutdown()
            thread.join()
