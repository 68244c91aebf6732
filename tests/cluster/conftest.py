"""Machines for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cluster.keys import make_keys
from tests.cluster.network import HEAD, network_of
from tests.cluster.searches import Cluster


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("keys") / "cluster"
    make_keys(folder, [HEAD])
    return folder


@pytest.fixture
def cluster(tmp_path, keys) -> Iterator[Cluster]:
    with network_of(tmp_path, keys, ("n1", "n2")) as machines:
        yield Cluster(machines)
