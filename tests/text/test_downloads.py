"""Downloads through the command, from servers that do what servers do: nothing partial is kept, nothing hangs."""

import hashlib
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from pipeline.cli.main import cli
from pipeline.config import CorpusConfig
from pipeline.text import downloads
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import load_corpus
from pipeline.text.downloads import download

TEXT = "".join(f"It was number {i} of many, and not the last;\n" for i in range(500)).encode()
HOST = "https://example.org"
WHOLE = {"Content-Length": str(len(TEXT))}


class Slow(io.BytesIO):
    """A body whose parts never miss their own limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        time.sleep(0.05)
        return super().read(size)


class Web:
    """The network: at each path a status, headers and a body, or an error of the connection."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pages: dict[str, Any] = {
            "/good.txt": (200, WHOLE, TEXT),
            "/empty": (204, {}, b""),
            "/large": (200, {}, bytes(4_000_000)),
            "/to-good": (302, {"Location": "/good.txt"}, b""),
            "/to-http": (301, {"Location": "http://example.org/good.txt"}, b""),
            "/short": (200, WHOLE, TEXT[: len(TEXT) // 2]),
            "/silent": requests.ReadTimeout("secret"),
            "/trickle": (200, WHOLE, Slow(TEXT)),
        }

    def send(self, adapter: HTTPAdapter, request: Any, **options: Any) -> requests.Response:
        path = request.path_url.partition("?")[0]
        self.asked.append(path)
        assert options["timeout"] == (downloads.CONNECT_SECONDS, downloads.PART_SECONDS)
        assert options["verify"], "its certificate"
        page = self.pages.get(path, (404, {}, b""))
        if isinstance(page, Exception):
            raise page
        status, heads, body = page
        stream = body if isinstance(body, io.BytesIO) else io.BytesIO(body)
        answer = HTTPResponse(stream, heads, status, preload_content=False, request_method="GET")
        return adapter.build_response(request, answer)


@pytest.fixture(autouse=True)
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web()
    monkeypatch.setattr(HTTPAdapter, "send", lambda adapter, request, **options: web.send(adapter, request, **options))
    monkeypatch.delenv("TMLM_OFFLINE")
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    monkeypatch.setattr(downloads, "TOTAL_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "MOST_BYTES", 1_000_000)
    return web


def prepare(*words: str) -> Result:
    """The command, in this process, so that it has the short limits."""
    return CliRunner().invoke(cli, ["prepare", "--corpus", *words], prog_name="tmlm", catch_exceptions=False)


def kept() -> list[str]:
    """What the folder of downloads holds, but for the locks."""
    return sorted(path.name for path in (cache_dir() / "downloads").glob("*") if path.suffix != ".lock")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing.txt", "HTTP status 404"),
        ("/empty", "HTTP status 204"),
        ("/large", "it has more than 1,000,000 bytes"),
        ("/to-http", "redirected to http://example.org/good.txt, which is not https"),
        ("/short", "the connection broke off after"),
        ("/silent", "the request failed (ReadTimeout)"),
        ("/trickle", "given up after"),
    ],
)
def test_failed_download_keeps_nothing_and_tells_no_secret(web, path, reason):
    """Neither the user nor the signature of the address is printed."""
    done = prepare(f"https://user:secret@example.org{path}?X-Amz-Signature=secret#secret")
    assert done.exit_code == 3
    assert done.stdout == ""
    assert f"Error: --corpus {HOST}{path}: {reason}" in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert kept() == []
    assert web.asked == [path]


@pytest.mark.parametrize(
    "url", ["http://localhost/a.txt", "HTTP://localhost/", "https://", "https://[", "https://a:x/"]
)
def test_an_address_that_is_no_https_address_is_wrong_input(url):
    done = prepare(url)
    assert done.exit_code == 2
    assert re.fullmatch(r"Error: --corpus \S+ is not an https address; .*\n", done.stderr), done.stderr


def test_redirect_to_https_is_followed_and_the_text_is_kept_unless_force_downloads_another_whole_one(web, store):
    def digest() -> str:
        return load_corpus(CorpusConfig(f"{HOST}/to-good")).source_sha256

    first = prepare(f"{HOST}/to-good")
    assert first.exit_code == 0, first.stderr
    assert f"source        {HOST}/to-good" in first.stdout
    changed = TEXT.replace(b"number", b"figure")
    web.pages["/good.txt"] = (200, WHOLE, changed)
    assert digest() == hashlib.sha256(TEXT).hexdigest()
    assert web.asked == ["/to-good", "/good.txt"]
    assert len(kept()) == 1
    assert prepare(f"{HOST}/to-good", "--force").exit_code == 0
    assert digest() == hashlib.sha256(changed).hexdigest()
    web.pages["/good.txt"] = web.pages["/short"]
    assert prepare(f"{HOST}/to-good", "--force").exit_code == 3
    assert digest() == hashlib.sha256(changed).hexdigest()


def test_several_who_want_the_same_ask_once(web):
    web.pages["/good.txt"] = (200, {}, Slow(TEXT[:3000]))
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(lambda _: download(f"{HOST}/good.txt", online=True), range(4)))
    assert len(files) == 1
    assert web.asked == ["/good.txt"]
