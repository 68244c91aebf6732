"""The processes of a cluster: what is checked before they are started."""

import socket
from contextlib import closing

import pytest

from pipeline.cluster import processes
from pipeline.cluster.keys import Address
from pipeline.cluster.processes import check_can_listen
from pipeline.errors import InputError
from tests.checkout import free_port


def test_a_port_that_is_taken_is_named_with_its_option():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = rf"can't listen on 127.0.0.1:{port} \(Address already in use\); give another --mlflow-port"
        with pytest.raises(InputError, match=said):
            check_can_listen("127.0.0.1", {"--port": free_port(), "--mlflow-port": port})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_there", "reason"), [(False, "Connection refused"), (True, "the server there is not a scheduler")]
)
def test_a_node_that_can_not_join_says_why(monkeypatch, is_there, reason):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    monkeypatch.setattr(processes, "GONE_SECONDS", 1.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = Address("127.0.0.1", server.getsockname()[1] if is_there else free_port(), None)
        with pytest.raises(SystemExit, match=f"The scheduler {address} can't be reached .*{reason}"):
            processes.main(str(address), "", "1")
