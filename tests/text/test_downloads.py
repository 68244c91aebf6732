"""Downloads through the command, from a server that does what servers do: nothing partial is kept, nothing hangs."""

import datetime
import hashlib
import re
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.cli.main import cli
from pipeline.config import CorpusConfig
from pipeline.text import downloads
from pipeline.text.corpus import load_corpus
from pipeline.text.downloads import cache_dir, download
from tests.limits import SLACK

TEXT = "".join(f"It was number {i} of many, and not the last;\n" for i in range(500)).encode()


class Server(ThreadingHTTPServer):
    """On https://localhost, with a certificate that only ``certificate`` vouches for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.asked: list[str] = []
        self.over = threading.Event()
        self.certificate = folder / "certificate.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.certificate.write_bytes(certificate.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "key.pem").write_bytes(private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def url(self, path: str, scheme: str = "https") -> str:
        return f"{scheme}://localhost:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what is tested here."""


class Pages(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        getattr(self, path[1:].partition(".")[0].replace("-", "_"), self.missing)()

    def answer(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def good(self) -> None:
        self.answer(Content_Length=len(TEXT))
        self.wfile.write(TEXT)

    def missing(self) -> None:
        self.answer(404, Content_Length=0)

    def empty(self) -> None:
        self.answer(204)

    def large(self) -> None:
        """Without a length."""
        self.answer()
        for _ in range(40):
            self.wfile.write(bytes(100_000))

    def to_good(self) -> None:
        self.answer(302, Location="/good.txt", Content_Length=0)

    def to_http(self) -> None:
        self.answer(301, Location=self.server.url("/good.txt", "http"), Content_Length=0)

    def short(self) -> None:
        """Half of what is promised, then a proper end."""
        self.answer(Content_Length=len(TEXT))
        self.wfile.write(TEXT[: len(TEXT) // 2])

    def silent(self) -> None:
        self.server.over.wait(20)

    def trickle(self) -> None:
        """At a rate that never misses the limit of a part."""
        self.answer(Content_Length=len(TEXT))
        for start in range(0, len(TEXT), 500):
            if self.server.over.wait(0.05):
                return
            self.wfile.write(TEXT[start : start + 500])
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Not on the test's standard error."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
    yield running
    running.over.set()
    running.shutdown()
    running.server_close()


@pytest.fixture(autouse=True)
def _online(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of this server alone."""
    monkeypatch.delenv("TMLM_OFFLINE")
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    server.asked.clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the limits."""
    monkeypatch.setattr(downloads, "PART_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "TOTAL_SECONDS", 1.0)
    monkeypatch.setattr(downloads, "MOST_BYTES", 1_000_000)


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
        ("/to-http", "redirected to http://localhost:"),
        ("/short", "the connection broke off after"),
        ("/silent", "the request failed (ReadTimeout)"),
        ("/trickle", "given up after"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_failed_download_keeps_nothing_and_tells_no_secret(server, path, reason):
    """Neither the user nor the signature of the address is printed."""
    url = server.url(path)
    started = time.monotonic()
    done = prepare(f"{url.replace('//', '//user:secret@')}?X-Amz-Signature=secret#secret")
    assert done.exit_code == 3
    assert done.stdout == ""
    assert f"Error: --corpus {url}: {reason}" in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert kept() == []
    assert "/good.txt" not in server.asked
    assert time.monotonic() - started < 5 * SLACK


@pytest.mark.parametrize(
    "url", ["http://localhost/a.txt", "HTTP://localhost/", "https://", "https://[", "https://a:x/"]
)
def test_an_address_that_is_no_https_address_is_wrong_input(server, url):
    done = prepare(url)
    assert done.exit_code == 2
    assert re.fullmatch(r"Error: --corpus \S+ is not an https address; .*\n", done.stderr), done.stderr


def test_redirect_to_https_is_followed_and_the_text_is_kept(server, store):
    url = server.url("/to-good")
    first = prepare(url)
    assert first.exit_code == 0, first.stderr
    assert f"source        {url}" in first.stdout
    assert server.asked == ["/to-good", "/good.txt"]
    corpus = load_corpus(CorpusConfig(url))
    assert corpus.source_sha256 == hashlib.sha256(TEXT).hexdigest()
    assert len(server.asked) == 2
    assert len(kept()) == 1


def test_force_downloads_a_changed_text_again_and_keeps_the_old_one_if_that_fails(server, store, monkeypatch):
    url = server.url("/good.txt")
    assert prepare(url).exit_code == 0
    changed = TEXT.replace(b"number", b"figure")
    monkeypatch.setitem(globals(), "TEXT", changed)
    assert load_corpus(CorpusConfig(url)).source_sha256 != hashlib.sha256(changed).hexdigest()
    assert prepare(url, "--force").exit_code == 0
    assert load_corpus(CorpusConfig(url)).source_sha256 == hashlib.sha256(changed).hexdigest()
    monkeypatch.setattr(Pages, "good", Pages.short)
    assert prepare(url, "--force").exit_code == 3
    assert load_corpus(CorpusConfig(url)).source_sha256 == hashlib.sha256(changed).hexdigest()


def test_several_who_want_the_same_ask_once(server):
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(lambda _: download(server.url("/good.txt"), online=True), range(4)))
    assert len(files) == 1
    assert server.asked == ["/good.txt"]
