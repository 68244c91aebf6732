"""Atomic writes and locks."""

import errno
import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.support import files
from pipeline.support.files import (
    atomic_folder,
    atomic_write,
    command_lock,
    create_database,
    leftovers,
    write_atomically,
)
from tests.labs import everything


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert [part.read_bytes() for part in leftovers(path)] == [b"new"], "what a killed writer leaves"
        assert leftovers(path.with_name("other")) == []
    assert path.read_bytes() == b"new"
    assert leftovers(path) == []


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    with suppress(KeyboardInterrupt), atomic_write(tmp_path / "file") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_failed_write_names_its_file(tmp_path, file_size_limit):
    path = tmp_path / "file"
    with file_size_limit(10), pytest.raises(OSError, match="File too large") as error:
        write_atomically(path, b"x" * 100)
    assert error.value.filename == str(path)
    assert os.listdir(tmp_path) == []


def test_a_lock_is_exclusive_and_released_at_the_end_of_its_block(tmp_path):
    lock = tmp_path / "new" / ".lock"
    with command_lock(lock, "busy"), pytest.raises(InputError, match="busy"), command_lock(lock, "busy"):
        pytest.fail("held twice")
    with command_lock(lock, "busy"):
        pass


def leave_unfinished(path: Path) -> Path:
    """Leave the hidden folder of a killed process that was writing ``path``; returns it."""
    hidden = path.with_name(f".{path.name}.0123abcd")
    (hidden / files.CONTENTS).mkdir(parents=True)
    (hidden / files.MARKER).touch()
    return hidden


def test_a_folder_has_one_writer_and_the_second_is_refused(tmp_path):
    folder = tmp_path / "page"
    with atomic_folder(folder) as first:
        with pytest.raises(InputError, match=f"is writing {folder}"), atomic_folder(folder):
            pytest.fail("written twice")
        with atomic_folder(tmp_path / "page.2") as other:
            (other / "file").write_text("of another folder")
        (first / "file").write_text("first")
    assert {path.name: os.listdir(path) for path in tmp_path.iterdir()} == {"page": ["file"], "page.2": ["file"]}


def test_a_folder_that_is_filled_meanwhile_is_not_replaced(tmp_path):
    folder = tmp_path / "page"
    with pytest.raises(InputError, match="got files"), atomic_folder(folder):
        write_atomically(folder / "thesis", b"")
    assert [path.name for path in tmp_path.rglob("*")] == ["page", "thesis"]


def test_only_what_a_killed_writer_left_is_removed(tmp_path):
    folder = tmp_path / "page[1]"
    leave_unfinished(folder)
    kept = {leave_unfinished(tmp_path / "page[1].2"), tmp_path / ".page[1].unfinished", tmp_path / ".page[1].89abcdef"}
    for path in kept:
        path.mkdir(exist_ok=True)
    with atomic_folder(folder):
        pass
    assert set(tmp_path.iterdir()) == {folder, *kept}


@pytest.mark.parametrize("mode", [0o700, 0o2770])
def test_a_folder_keeps_its_mode_and_its_owner(tmp_path, mode):
    folder = tmp_path / "page"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 1234, 1234)
    folder.chmod(mode)
    before = folder.stat()
    with atomic_folder(folder) as unfinished:
        assert unfinished.stat().st_mode == before.st_mode, "what is private is so from the beginning"
    after = folder.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_mount_point_is_refused(tmp_path, monkeypatch):
    def refuse(*paths: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(InputError, match="mount point"), atomic_folder(tmp_path / "page"):
        pass
    assert os.listdir(tmp_path) == []


def create(file: Path, is_cut_off: bool = False) -> None:
    """Create a database in write-ahead mode, whose table ``second`` has a row once it is complete."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE first (x)")
        if is_cut_off:
            raise OSError(errno.ENOSPC, "full")
        connection.execute("CREATE TABLE second (x INTEGER PRIMARY KEY AUTOINCREMENT)")
        connection.execute("INSERT INTO second VALUES (7)")


def test_a_database_whose_creation_was_cut_off_is_created_whole_by_the_next(tmp_path):
    file = tmp_path / "new.db"
    with pytest.raises(OSError, match="full"):
        create_database(file, lambda made: create(made, is_cut_off=True), "second")
    assert not file.exists()
    leave_unfinished(file)
    (users := tmp_path / ".new.db.unfinished").mkdir()
    for _ in range(2):  # the second time, it is there
        create_database(file, create, "second")
    create(tmp_path / "expected.db")
    assert everything(file) == everything(tmp_path / "expected.db")
    assert {path.name for path in tmp_path.iterdir()} == {"new.db", ".new.db.lock", "expected.db", users.name}


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("before", ["nothing", "an empty file", "a link to nothing"])
def test_a_new_database_takes_the_place_of_no_file(tmp_path, monkeypatch, before, has_links):
    def refuse(*paths: Path) -> None:
        raise PermissionError(errno.EPERM, "no links")

    file, target = tmp_path / "new.db", tmp_path / "target.db"
    if before == "an empty file":
        file.touch()
        os.utime(file, (0, 0))  # nobody is creating it
    if before == "a link to nothing":
        file.symlink_to(target)
    with suppress(FileNotFoundError):
        inode = file.stat().st_ino
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    create_database(file, create, "second")
    create(tmp_path / "expected.db")
    assert everything(file) == everything(tmp_path / "expected.db")
    assert before != "an empty file" or file.stat().st_ino == inode
    assert file.is_symlink() == target.exists() == (before == "a link to nothing")


def test_a_database_that_another_program_has_begun_is_waited_for_and_used(tmp_path):
    """It begins while ours is being made, makes one table after the other, and has both in the end."""
    file, begun = tmp_path / "new.db", []

    def another() -> None:
        for statement in ("CREATE TABLE first (x)", "CREATE TABLE second (x)", "INSERT INTO second VALUES ('theirs')"):
            time.sleep(0.2)
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute(statement)

    def create_late(made: Path) -> None:
        file.touch()
        begun.append(threading.Thread(target=another))
        begun[0].start()
        create(made)

    create_database(file, create_late, "second")
    assert "INSERT INTO \"second\" VALUES('theirs');" in everything(file)
    begun[0].join()
