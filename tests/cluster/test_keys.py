"""The keys of a cluster, and which addresses need them."""

import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

import pipeline.cluster.keys as keys_module
from pipeline.cluster.keys import FILES, Address, make_keys
from pipeline.errors import InputError


@contextmanager
def tls_server(keys: Path) -> Iterator[int]:
    """The port of a server that has these keys, for one connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(keys / FILES[0], keys / FILES[1])

    def accept() -> None:
        with suppress(OSError), closing(server.accept()[0]) as connection:
            context.wrap_socket(connection, server_side=True).close()

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_keys_are_readable_by_their_owner_only(keys):
    assert {stat.S_IMODE((keys / name).stat().st_mode) for name in FILES} == {0o600}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert sorted(path.name for path in keys.iterdir()) == sorted(FILES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1:8786", "not the address of a scheduler; give tls://HOST:8786"),
        ("tls://10.0.0.1:port", "not the address of a scheduler"),
        ("tls://10.0.0.1:8786", "needs keys, and .* has none; .*TMLM_CLUSTER_KEYS"),
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        Address.read(text, tmp_path)


def test_an_address_is_read_as_it_is_shown(keys, tmp_path):
    for text in ("tls://10.0.0.1:8786", "tls://[::1]:1"):
        assert str(Address.read(text, keys)) == text
    assert str(Address.read("tcp://127.0.0.1:8786", tmp_path)) == "tcp://127.0.0.1:8786"


@pytest.mark.parametrize(("host", "message"), [("head", "not an IP"), ("10.9.9.9", r"are for .*--head 10\.9\.9\.9")])
def test_a_host_that_is_not_one_interface_or_of_the_keys_is_refused(host, message, keys):
    with pytest.raises(InputError, match=message):
        _ = Address.to_serve(host, 8786, keys).certified_host


def test_keys_may_have_the_name_of_a_head_whose_address_is_not_known_before(tmp_path):
    make_keys(tmp_path, ["lab-head"])
    assert Address.to_serve("10.1.2.3", 8786, tmp_path).certified_host == "lab-head"


@pytest.mark.parametrize("head", ["", "höst", "10.0.0.1:8786"])
def test_what_is_no_name_and_no_address_of_a_head_is_refused(tmp_path, head):
    with pytest.raises(InputError, match="is no name and no IP address"):
        make_keys(tmp_path, ["lab-head", head])


def test_there_is_tls_on_loopback_too_unless_it_is_declined(keys):
    assert str(Address.to_serve("127.0.0.1", 1, keys)) == "tls://127.0.0.1:1"
    assert str(Address.to_serve("127.0.0.1", 1, None)) == "tcp://127.0.0.1:1"


@pytest.mark.parametrize(("path", "mode"), [("key.pem", 0o644), (".", 0o777)])
def test_keys_that_others_can_read_or_replace_are_refused(tmp_path, path, mode):
    make_keys(tmp_path, ["10.0.0.1"])
    (tmp_path / path).chmod(mode)
    with pytest.raises(InputError, match="can be read or changed by other users"):
        Address.read("tls://10.0.0.1", tmp_path)


def test_keys_are_not_made_where_others_can_replace_them(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(InputError, match="can be read or changed by other users"):
        make_keys(tmp_path)
    assert not list(tmp_path.iterdir())


def test_keys_are_valid_where_the_clock_is_hours_behind(keys):
    certificate = x509.load_pem_x509_certificate((keys / FILES[0]).read_bytes())
    assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(hours=12)


def test_keys_that_are_expired_or_of_another_cluster_are_named_as_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(keys_module, "VALID", -timedelta(hours=1))
    make_keys(tmp_path / "old")
    monkeypatch.undo()
    make_keys(tmp_path / "new")
    for name, reason in (("old", "certificate has expired"), ("new", "self-signed certificate")):
        with tls_server(tmp_path / "old") as port:
            assert Address("127.0.0.1", port, tmp_path / name).unreachable_reason() == reason
