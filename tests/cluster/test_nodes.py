"""Nodes that come and go while a search runs on them, in network namespaces."""

import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from pipeline.training.metrics import TRAIN_CURVE, VAL_CURVE
from tests.cluster.network import NETWORK, network_of
from tests.cluster.searches import ADDRESS, SEARCH, SPACE, Cluster, is_running_on

pytestmark = NETWORK


@pytest.fixture
def three(tmp_path, keys) -> Iterator[Cluster]:
    """A cluster whose third machine, n3, is not a node yet."""
    with network_of(tmp_path, keys, ("n1", "n2", "n3")) as machines:
        yield Cluster(machines)


def test_a_node_leaves_and_another_one_joins_while_a_search_runs(three):
    search = three.search("--trials", "10")
    run = three.wait_for(is_running_on("n1"))
    assert three.machines["n1"].kill("pipeline node", signal.SIGTERM)
    three.machines["n3"].tmlm("node", ADDRESS, "--workers", "2")
    finished = three.check_complete(search, trials=10)
    assert {"n2", "n3"} <= {each["tags"]["process.host"] for each in finished}
    (left,) = [each for each in three.trainings() if each["id"] == run["id"]]
    assert left["status"] == "FINISHED", "resumed on another node"
    assert re.search(r"is lost: the node n1 has stopped it$", three.head.log.read_text(), re.M)
    assert three.machines["n1"].running[0].wait(timeout=10) == 143


def curves(database: Path) -> dict[tuple[str, int], float]:
    """The points of the perplexity curves of the only finished training, and its figures (step 0)."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        rows = connection.execute(
            "SELECT key, step, value FROM metrics JOIN runs USING (run_uuid) WHERE status = 'FINISHED'"
            " AND (key IN (?, ?) OR key LIKE 'result/%')",
            (TRAIN_CURVE, VAL_CURVE),
        )
        return {(key, step): value for key, step, value in rows}


def test_a_training_goes_on_at_another_node_from_its_last_sent_checkpoint_bit_for_bit(cluster):
    """The one training of a search is lost with its node; its curves are those of a search on one machine."""
    for machine in cluster.machines.values():
        source = machine.checkout.folder / "pipeline" / "tracking" / "runs.py"
        sooner, count = re.subn(r"^SEND_SECONDS = [\d.]+", "SEND_SECONDS = 1.0", source.read_text(), flags=re.M)
        assert count == 1
        source.write_text(sooner)
    options = ["--trials", "1", "--epochs", "60", "--hidden-size", "48"]
    search = cluster.search(*options)
    store = cluster.head.checkout.folder / "mlruns"

    def has_sent_a_checkpoint(run):
        sent = store.glob(f"cluster/artifacts/**/{run['id']}/artifacts/checkpoints/last.safetensors")
        return run["status"] == "RUNNING" and any(sent)

    run = cluster.wait_for(has_sent_a_checkpoint)
    cluster.machines[run["tags"]["process.host"]].power_off()
    (finished,) = cluster.check_complete(search, trials=1)
    assert finished["id"] == run["id"]
    assert finished["tags"]["process.host"] != run["tags"]["process.host"]
    logs = "".join(machine.log.read_text() for machine in cluster.machines.values() if machine.log.exists())
    first = re.search(r"Resuming \S+ \(\w+\) after epoch (\d+)", logs)
    assert first is not None
    assert int(first[1]) > 0
    words = [*SEARCH, *SPACE, "--corpus", "text.txt", *options, "--cluster", "", "--study-name", "alone"]
    alone = cluster.head.run("python", "-m", "pipeline", *words, seconds=300)
    assert alone.returncode == 0, alone.stderr
    ours, theirs = curves(store / "cluster" / "mlflow.db"), curves(store / "mlflow.db")
    assert max(step for _, step in ours) > int(first[1])
    assert ours == theirs
