"""The keys of a cluster, and which addresses need them."""

import stat

import pytest

from pipeline.cluster.keys import FILES, Address, keys_folder, make_keys
from pipeline.errors import InputError


def test_keys_are_readable_by_their_owner_only(keys):
    assert {stat.S_IMODE((keys / name).stat().st_mode) for name in FILES} == {0o600}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert sorted(path.name for path in keys.iterdir()) == sorted(FILES)


def test_keys_are_never_overwritten(keys):
    with pytest.raises(InputError, match=r"has certificate.pem and key.pem already; give another DIR"):
        make_keys(keys)


def test_the_folder_is_given_by_option_or_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("TMLM_CLUSTER_KEYS", str(tmp_path))
    assert keys_folder() == tmp_path
    assert keys_folder("/other") != tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1:8786", "not the address of a scheduler; give tls://HOST:PORT"),
        ("tls://10.0.0.1:port", "not the address of a scheduler"),
        ("tcp://10.0.0.1:8786", "without TLS, which is allowed on the loopback interface only"),
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


@pytest.mark.parametrize(
    ("host", "message"), [("0.0.0.0", "every interface"), ("head", "not an IP"), ("10.0.0.1", "needs keys")]
)
def test_a_host_that_is_not_one_interface_or_has_no_keys_is_refused(host, message, tmp_path):
    with pytest.raises(InputError, match=message):
        Address.to_serve(host, 8786, tmp_path)


def test_tls_is_used_wherever_there_are_keys(keys, tmp_path):
    assert str(Address.to_serve("127.0.0.1", 1, keys)) == "tls://127.0.0.1:1"
    assert str(Address.to_serve("127.0.0.1", 1, tmp_path)) == "tcp://127.0.0.1:1"
