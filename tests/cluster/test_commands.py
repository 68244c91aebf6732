"""The commands of a cluster: what they refuse before anything is started."""

import importlib.util
import ssl
import stat
from types import SimpleNamespace
from typing import Any

import pytest

import pipeline.cluster
from tests.cli.commands import run


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch, tmp_path):
    monkeypatch.setenv("TMLM_CLUSTER_KEYS", str(tmp_path / "keys"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "--cluster", "tls://10.0.0.1", "--workers", "2"], "--workers can't be given with --cluster"),
        (["reproduce", "--cluster", "tcp://10.0.0.1:8786"], "without TLS"),
        (["search", "--cluster", "tls://10.0.0.1"], "needs keys"),
        (["node", "tls://10.0.0.1"], "needs keys"),
        (["cluster", "serve", "--host", "0.0.0.0"], "every interface"),
        (["cluster", "serve", "--host", "10.9.9.9"], "can't listen on 10.9.9.9:8786"),
        (["cluster", "serve", "--host", "10.9.9.9", "--without-tls"], "on the loopback interface only"),
        (["cluster", "serve", "--host", "127.0.0.1", "--port", "8793", "--mlflow-port", "8793"], "are the same port"),
        (["cluster", "keys", "~nobody-of-this-name/keys"], "give a path without ~"),
    ],
)
def test_what_is_not_safe_is_refused_with_exit_code_2_before_keys_are_made(words, message, tmp_path):
    code, _, error = run(*words)
    assert code == 2
    assert message in error
    assert not (tmp_path / "keys").exists()


def test_a_store_other_than_the_clusters_is_refused_with_what_to_set_as_under_mlflow_run(monkeypatch):
    pool = SimpleNamespace(mlflow_address=lambda address: "http://127.0.0.1:5000")
    monkeypatch.setattr(pipeline.cluster, "pool", pool, raising=False)  # the real one imports dask
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    code, _, error = run("search", "--cluster", "tcp://127.0.0.1:8786")
    assert code == 2
    assert "sqlite:///mlflow.db, but the cluster records in http://127.0.0.1:5000" in error
    assert "again with MLFLOW_TRACKING_URI=http://127.0.0.1:5000" in error


def test_without_the_extra_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, error = run("node", "tls://10.0.0.1")
    assert code == 2
    assert "pip install 'time-machine-lm[cluster]'" in error


def test_keys_are_made_in_the_folder_that_is_given_or_the_usual_one(tmp_path):
    assert run("cluster", "keys", str(tmp_path / "mine"))[0] == 0
    assert run("cluster", "keys")[1].startswith(f"Wrote the keys to {tmp_path / 'keys'}. Copy it to each")
    assert (tmp_path / "mine" / "key.pem").is_file()
    code, _, error = run("cluster", "keys")
    assert (code, "already" in error) == (2, True)


def test_a_cluster_is_served_with_new_keys_to_who_has_them_and_its_stores_password_in_the_environment(
    monkeypatch, tmp_path
):
    given: dict[str, Any] = {}

    def supervise(commands, environment, say, when_ready):
        given.update(commands=commands, environment=environment)
        return 0

    monkeypatch.setattr("pipeline.cluster.processes.supervise", supervise)
    monkeypatch.setattr("pipeline.tracking.store.root", lambda: tmp_path)
    monkeypatch.setenv("TMLM_CLUSTER_STORE", "postgresql://u:secret@host/db")
    (tmp_path / "mlruns" / "cluster").mkdir(parents=True)  # of an earlier version, which anyone can read
    code, printed, error = run("cluster", "serve", "--host", "127.0.0.1")
    assert code == 0
    assert given["environment"]["MLFLOW_BACKEND_STORE_URI"] == "postgresql://u:secret@host/db"
    assert "secret" not in printed + error + str(given["commands"])
    certificate = str(tmp_path / "keys" / "certificate.pem")
    assert {"tls", "--tls-ca-file", certificate, "--no-dashboard"} <= set(given["commands"]["scheduler"])
    assert stat.S_IMODE((tmp_path / "mlruns" / "cluster").stat().st_mode) == 0o700
    server = " ".join(given["commands"]["MLflow server"])
    assert f"--ssl-ca-certs {certificate} --ssl-cert-reqs {ssl.CERT_REQUIRED:d}" in server
