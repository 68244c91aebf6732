"""What an address may hold besides scheme, host and path is neither printed nor recorded, wherever it is given."""

import traceback

import mlflow.store.db.utils
import pytest
from click.testing import CliRunner
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import tmlm
from pipeline.cli.main import cli
from pipeline.errors import InputError, TmlmError, without_secrets

FORMS = {  # of an address, with its scheme and host, and how it is shown
    "{}://u:S3CRET@{}/x": "{}://{}/x",
    "{}://u:S3%43RET@{}/x": "{}://{}/x",
    "{}://u:a S3CRET@{}/x": "{}://{}/x",
    "{}://{}/x?token=S3CRET&a=b": "{}://{}/x",
    "{}://{}/x#S3CRET": "{}://{}/x",
    "{}://u:S3CRET@[::1]:1/x": "{}://[::1]:1/x",
    "{}://u:S3CRET@[::1": "{}://***",
}
SCHEMES = ("http", "https", "sqlite", "postgresql", "databricks", "ftp", "tls", "s3")
SEARCH = ("search", "--trials", "1", "--hidden-size", "4..5", "--epochs", "1", "--corpus", "python-docs")
PLACES = {  # the words of a command before and after an address, or the variable and the command
    "corpus": (("prepare", "--corpus"), ()),
    "text": (("evaluate", "latest", "--text"), ()),
    "space": ((*SEARCH, "--space"), ()),
    "sample": (("sample",), ()),
    "plot": (("compare", "latest", "latest", "--plot"), ()),
    "export": (("export",), ("-o", "exported")),
    "output": (("export", "latest", "-o"), ()),
    "push": (("push",), ("latest",)),
    "delete": (("delete",), ("--yes",)),
    "node": (("node",), ()),
    "cluster": ((*SEARCH, "--cluster"), ()),
    "no argument": (("runs",), ()),
    "no command": ((), ()),
    "MLFLOW_TRACKING_URI": ((), ("runs",)),
    "TMLM_STORAGE": ((), SEARCH),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_of_an_address_is_printed_or_recorded(trained, tmp_path, monkeypatch, place):
    monkeypatch.setattr(mlflow.store.db.utils, "MAX_RETRY_COUNT", 1)
    monkeypatch.chdir(tmp_path)
    before, after = PLACES[place]
    for number, form in enumerate(FORMS):
        address = form.format(SCHEMES[(number + list(PLACES).index(place)) % len(SCHEMES)], "127.0.0.1:1")
        if place.isupper():
            monkeypatch.setenv(place, address)
        words = after if place.isupper() else (*before, address, *after)
        done = CliRunner().invoke(cli, words)
        assert isinstance(done.exception, SystemExit), (address, done.exception)
        assert done.exit_code in (1, 2, 3), done.output
        assert "S3CRET" not in done.output
        assert "S3%43RET" not in done.output
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"S3CRET" in path.read_bytes() or "S3CRET" in str(path)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("form", FORMS)
def test_an_address_is_shown_by_scheme_host_and_path(scheme, form):
    assert without_secrets(form.format(scheme, "host")) == FORMS[form].format(scheme, "host")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no postgresql://u:sec/r@t@host/db, sorry", "no postgresql://host/db, sorry"),
        ("API request to http://u:secret@host:80/api failed", "API request to http://host:80/api failed"),
        ("with url: /api?token=secret (Caused by", "with url: /api (Caused by"),
        ("'http://u:secret@[::1'; see https://host/@me/x.txt.", "'http://***'; see https://host/@me/x.txt."),
        ("no http://u:a, sec/r@t@host:80/db: tls://host:1/x is", "no http://host:80/db: tls://host:1/x is"),
        ("http://host:80 has no such run; give @PICK or me@x", "http://host:80 has no such run; give @PICK or me@x"),
    ],
)
def test_every_address_of_an_error_is_without_secrets(text, shown):
    assert without_secrets(text) == shown == str(InputError(text))


@pytest.mark.parametrize("address", ["http://u:S3CRET@127.0.0.1:1", "http://127.0.0.1:1/?t=S3CRET", "foo://u:S3CRET@x"])
def test_no_traceback_in_python_has_a_secret_of_the_store_whose_error_is_logged(no_store, monkeypatch, caplog, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    caplog.set_level("DEBUG", "pipeline")
    for number, call in enumerate((tmlm.runs, tmlm.load, tmlm.delete, tmlm.train), 1):
        with pytest.raises(InputError) as refusal:
            call("python-docs")  # type: ignore[operator]
        assert len(caplog.records) == number
        assert "S3CRET" not in caplog.text + "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize("fails", ["log_batch", "set_terminated", "list_artifacts"])
def test_nor_has_one_of_a_store_that_fails_later(trained, monkeypatch, fails):
    def fail(*args: object, **options: object) -> None:
        raise MlflowException("API request to http://u:S3CRET@host/api failed")

    monkeypatch.setattr(MlflowClient, fails, fail)
    with pytest.raises(TmlmError) as failure:
        tmlm.load(trained.run_id).evaluate(text=__file__)
    assert "S3CRET" not in "".join(traceback.format_exception(failure.value))
