"""What the recorder sees, what a power failure leaves by the model of a disk, and one command in all of its states."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.anomalies.__main__ import fail_power, record
from tests.anomalies.disk import Disk, Operation, RecordingError, State
from tests.anomalies.judge import judged
from tests.anomalies.lab import COMMANDS, Lab, outcome, states_before

needs_compiler = pytest.mark.skipif(
    not (sys.platform == "linux" and shutil.which("cc") and shutil.which("openssl")),
    reason="needs Linux with glibc, cc and openssl",
)
TEMPORARY, NAME = "/lab/.name.new", "/lab/name"


def states_after(tmp_path: Path, *operations: Operation) -> dict[str, State]:
    """The states after operations in an empty folder."""
    disk = Disk(tmp_path)
    for each in operations:
        disk.apply(each)
    return dict(disk.states())


def created(inode: int, path: str, data: bytes) -> list[Operation]:
    return [Operation("C", inode, 0, path.encode()), Operation("W", inode, 0, data)]


SYNC, FAILED, WRITE = (Operation(kind, 1, 0, data) for kind, data in (("S", b""), ("F", b""), ("W", b"again")))
RENAME = Operation("R", 1, 0, f"{TEMPORARY}\0{NAME}".encode())


def test_a_file_that_is_renamed_before_it_is_synced_may_be_empty_and_after_it_may_have_its_old_name(tmp_path):
    new = created(1, TEMPORARY, b"new")
    assert states_after(tmp_path, *new, RENAME)["data"] == {NAME: b""}
    whole = states_after(tmp_path, *new, SYNC, RENAME)
    named = {NAME: b"new"}
    assert whole == {"kept": named, "data": named, "names": {TEMPORARY: b"new"}, "renames": {}}


def test_a_later_sync_of_another_file_brings_earlier_names_and_not_their_data(tmp_path):
    states = states_after(tmp_path, *created(2, NAME, b"data"), *created(1, TEMPORARY, b""), SYNC)
    assert states["names"] == states["data"] == {NAME: b"", TEMPORARY: b""}


def test_a_sync_after_one_that_failed_brings_only_what_was_written_since(tmp_path):
    assert states_after(tmp_path, *created(1, NAME, b"data"), FAILED, SYNC)["data"] == {NAME: b""}
    assert states_after(tmp_path, *created(1, NAME, b"data"), FAILED, WRITE, SYNC)["data"] == {NAME: b"again"}


def test_of_a_torn_write_to_a_database_whole_sectors_arrive(tmp_path):
    states = states_after(tmp_path, *created(1, "/lab/store.db", b"x" * 2100))
    assert states["torn"] == {"/lab/store.db": b"x" * 1024}
    assert states_after(tmp_path, *created(1, NAME, b"abcd"))["torn"] == {NAME: b"ab"}


def test_a_rename_is_sure_once_its_own_folder_was_synced_and_not_by_another_sync(tmp_path):
    old, temporary, name = tmp_path / "name", tmp_path / ".name.new", str(tmp_path / "name")
    old.write_bytes(b"old")
    new = [*created(1, str(temporary), b"new"), SYNC, Operation("R", 1, 0, f"{temporary}\0{name}".encode())]
    another, folder = [*created(2, str(tmp_path / "other"), b""), Operation("S", 2, 0, b"")], tmp_path.stat().st_ino
    assert states_after(tmp_path, *new, *another)["renames"][name] == b"old"
    assert states_after(tmp_path, *new, Operation("S", folder, 0, b""))["renames"][name] == b"new"


CHECKPOINT = "mlruns/0/run/artifacts/checkpoints/last.safetensors"
PRINTED = Operation("P", 0, 0, b"done")


def replacing(root: Path, leaves_out: str) -> list[Operation]:
    """The operations of an atomic write of a checkpoint and of a print after it, but those of one kind."""
    path = root / CHECKPOINT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"old")
    temporary = path.with_name(".last.new")
    folder = Operation("S", path.parent.stat().st_ino, 0, b"")
    parts = {"file": SYNC, "rename": Operation("R", 1, 0, f"{temporary}\0{path}".encode()), "folder": folder}
    kept = [operation for name, operation in parts.items() if name != leaves_out]
    return [*created(1, str(temporary), b"new"), *kept, PRINTED]


@pytest.mark.parametrize("leaves_out", ["", "file", "folder"])
def test_a_file_that_was_relied_on_is_lost_without_each_sync_of_its_atomic_write(tmp_path, leaves_out):
    operations = replacing(tmp_path, leaves_out)
    found = judged(tmp_path, Disk(tmp_path), operations).lost
    assert bool(found) == bool(leaves_out)
    assert all(CHECKPOINT in sentence for sentence in found)


def test_a_checkpoint_that_is_written_in_place_is_lost_though_it_is_synced(tmp_path):
    path = tmp_path / CHECKPOINT
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    inode = path.stat().st_ino
    parts = {"T": b"", "W": b"again", "S": b""}
    operations = [Operation(kind, inode, 0, data) for kind, data in parts.items()]
    (sentence,) = judged(tmp_path, Disk(tmp_path), [*operations, PRINTED]).lost
    assert CHECKPOINT in sentence


@needs_compiler
def test_files_that_can_not_be_read_do_not_end_the_tool(tmp_path):
    with Lab(tmp_path) as lab:
        for name in ("last.safetensors", "store.db"):
            (lab.watched / name).write_bytes(b"cut" * 9)
        recorded, running = outcome(lab)
    assert "last.safetensors damaged" in recorded
    assert not running


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("call", ["fopen", "pwritev"])
def test_what_the_recorder_can_not_see_is_an_error(tmp_path, call):
    calls = {
        "fopen": "import ctypes; libc = ctypes.CDLL(None); libc.fopen(b'planted', b'w')",
        "pwritev": "import os; os.pwritev(os.open('planted', os.O_CREAT | os.O_RDWR), [b'x'], 0)",
    }
    with Lab(tmp_path) as lab, pytest.raises(RecordingError, match=r"missed operations on \S+/planted$"):
        lab.record(["-c", calls[call]])


@needs_compiler
@pytest.mark.slow
def test_a_write_that_is_short_is_gone_on_with_and_a_sync_that_fails_is_recorded(tmp_path):
    program = "with open('file', 'wb') as file: file.write(b'x' * 9); file.flush(); import os; os.fsync(file)"
    with Lab(tmp_path) as lab:
        _, operations, _ = lab.record(["-c", program], RECORDER_FAIL=f"W */file 1 -1 {tmp_path}/a")
        assert [len(each.data) for each in operations if each.kind == "W"] == [5, 4]
        _, operations, done = lab.record(["-c", program], RECORDER_FAIL=f"S */file 1 5 {tmp_path}/b")
    assert [each.kind for each in operations] == ["T", "W", "F"]
    assert (done.returncode, "Input/output error" in done.stderr) == (1, True)


@needs_compiler
@pytest.mark.slow
@pytest.mark.ci
def test_a_training_loses_nothing_that_it_reported_in_any_state_of_the_disk(tmp_path):
    with Lab(tmp_path) as lab:
        training = record(lab, "train", COMMANDS["train"], states_before(lab)("train"))
        _, cell = fail_power(lab, training)
    assert cell.cases > 500
    assert (cell.lost, cell.broken) == (0, 0)
