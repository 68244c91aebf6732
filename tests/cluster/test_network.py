"""A search on machines of their own (network namespaces): what is complete, what is left RUNNING, who is let in."""

import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from pipeline.cluster.keys import make_keys
from pipeline.training.metrics import TRAIN_CURVE, VAL_CURVE
from tests.cluster.network import HEAD, NETWORK, network_of
from tests.cluster.searches import ADDRESS, SEARCH, SPACE, Cluster, is_running_on

pytestmark = NETWORK


def test_all_trials_are_complete_on_both_nodes_which_get_the_text_and_nobody_else_is_let_in(cluster, tmp_path):
    search = cluster.search()
    cluster.wait_for(lambda run: run["status"] == "RUNNING")
    for machine in cluster.machines.values():
        on = machine.listening()
        assert all(address.startswith(("10.77.0.", "127.0.0.1:")) for address in on), on
    assert f"{HEAD}:8786" in cluster.head.listening()
    finished = cluster.check_complete(search)
    assert {run["tags"]["process.host"] for run in finished} == {"n1", "n2"}
    for name in ("n1", "n2"):
        (_,) = (cluster.machines[name].checkout.folder.parent / "cache" / "prepared").glob("text-letters-sent-*")
    # who has no keys, or those of another cluster
    other = tmp_path / "other"
    make_keys(other)
    plain = "import distributed; distributed.Client('tcp://10.77.0.1:8786', timeout=5)"
    assert cluster.machines["n1"].run("python", "-c", plain).returncode == 1
    refused = cluster.machines["n1"].run(
        "env", f"TMLM_CLUSTER_KEYS={other}", "python", "-m", "pipeline", *SEARCH, *SPACE
    )
    assert refused.returncode == 1
    assert re.search(r"Error: the scheduler tls://10.77.0.1:8786 can't be reached \(.+\); check", refused.stderr)


@pytest.mark.ci
def test_a_training_that_is_killed_is_repeated(cluster):
    search = cluster.search()
    run = cluster.wait_for(is_running_on("n1"))
    assert cluster.machines["n1"].kill("multiprocessing-fork")
    cluster.check_complete(search)
    (killed,) = [training for training in cluster.trainings() if training["id"] == run["id"]]
    assert killed["status"] in ("FAILED", "FINISHED")  # resumed in its own run, if a checkpoint was sent
    assert "exit code -9" in killed["tags"].get("failure", "") + killed["tags"].get("resumed", "")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_search_that_is_stopped_or_killed_stops_on_the_nodes_and_goes_on_with_the_same_command(cluster, signum):
    search = cluster.search()
    cluster.wait_for(is_running_on("n1"))
    assert cluster.head.kill("search", signum, of=search)
    assert search.wait(timeout=30) in (143, 128 + 9, -9)
    time.sleep(6)
    assert not [run for run in cluster.trainings() if run["status"] == "RUNNING"], "its trainings have stopped"
    assert Counter(run["status"] for run in cluster.trainings())["KILLED"] >= 1
    cluster.check_complete(cluster.search())


@pytest.mark.parametrize(("words", "name"), [("dask scheduler", "scheduler"), ("mlflow server", "MLflow server")])
def test_a_server_that_is_killed_comes_back_and_the_search_goes_on(cluster, words, name):
    search = cluster.search()
    cluster.wait_for(is_running_on("n1"))
    assert cluster.head.kill(words)
    cluster.check_complete(search)
    said = cluster.head.log.read_text()
    assert f"The {name} has exited with code -9; restarting it" in said
    assert "/distributed/" not in said  # no traceback of dask's; MLflow logs its own of requests that were cut


def test_a_training_that_a_node_goes_on_with_after_another_has_resumed_it_counts_once(cluster):
    search, n2 = cluster.search(), cluster.machines["n2"]
    run = cluster.wait_for(is_running_on("n2"))
    n2.kill("", signal.SIGSTOP)
    cluster.wait_for(lambda each: each["id"] == run["id"] and each["tags"]["process.host"] == "n1")
    n2.kill("multiprocessing-fork", signal.SIGCONT)  # it trains on, while its node can't hear that it is not wanted
    cluster.wait_for(lambda each: each["id"] == run["id"] and each["status"] == "FINISHED")
    n2.kill("", signal.SIGCONT)
    finished = cluster.check_complete(search)
    (resumed,) = [each for each in cluster.trainings() if each["tags"]["step_key"] == run["tags"]["step_key"]]
    assert "the node n2 is gone" in resumed["tags"]["resumed"]
    assert not [each for each in finished if "failure" in each["tags"]]


# --- nodes that come and go ----------------------------------------------------------------------------------------


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
    (left,) = [training for training in three.trainings() if training["id"] == run["id"]]
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
