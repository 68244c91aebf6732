"""What is on the disk after a power failure, by the list of operations of ``recorder.c``.

The model is that of a journalling file system (ext4 with ordered data, XFS). Names (create, rename, link, unlink,
mkdir, rmdir) survive in their order, and any fsync, and an fdatasync of a file that is new or has grown since its last,
brings all earlier ones with it. The data of each file survive to its own last fsync or fdatasync, independently, also
of a file that was renamed since; a sync that fails gives up what it was to bring, whatever later ones do. After each
operation there are five states:

    kept     all of it: as after kill -9
    data     names kept, unsynced data gone
    names    names since the last sync of anything gone, and each file's data since its own
    renames  as data, but a name that a rename brought is the old one, until its folder itself was synced (POSIX)
    torn     as data, but half of the last write has arrived; of a database, a multiple of 512 bytes
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = None  # the content of a folder
DATABASES = (".db", ".db-wal", ".db-journal")
State = Mapping[str, bytes | str | None]  # by path: the bytes of a file, the target of a link, FOLDER


@dataclass(frozen=True)
class Operation:
    """A record of the recorder; ``data`` are bytes that were written or printed, or paths."""

    kind: str
    inode: int
    offset: int
    data: bytes

    @property
    def paths(self) -> list[str]:
        return self.data.decode().split("\0")


@dataclass(eq=False)
class File:
    """A file's data, those that a sync would bring to the disk, and those that the last one has, with their size."""

    data: bytes = b""
    pending: bytes = b""
    synced: bytes = b""
    synced_size: int = -1  # there was none


class RecordingError(Exception):
    """A list of operations that can't be replayed."""


def operations(log: Path) -> list[Operation]:
    """Read a recording. Raises RecordingError for a mapping that the recorder can't follow."""
    found, data, at = [], log.read_bytes(), 0
    while at < len(data):
        end = data.index(b"\n", at)
        kind, inode, offset, length = data[at:end].split()
        at = end + 1 + int(length) + 1
        found.append(Operation(kind.decode(), int(inode), int(offset), data[end + 1 : at - 1]))
        if kind == b"E":
            raise RecordingError("a file was mapped for writing")
    return found


def read(root: Path) -> dict[str, tuple[int, bytes | str | None]]:
    """What is below a folder, by path: the inode and the content."""
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for path in sorted(root.rglob("*")):
        if path.name.endswith("-shm"):
            continue
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else FOLDER
        found[str(path)] = path.lstat().st_ino, content
    return found


def contents(root: Path) -> dict[str, bytes | str | None]:
    """What is below a folder, as a state."""
    return {name: content for name, (_, content) in read(root).items()}


class Disk:
    """A folder, from what it was at the beginning, as operations change it."""

    def __init__(self, root: Path) -> None:
        self.names: dict[str, File | str | None] = {}
        self.inodes: dict[int, File] = {}
        for path, (inode, content) in read(root).items():
            entry = File(content, content, content, len(content)) if isinstance(content, bytes) else content
            self.names[path] = self.inodes.setdefault(inode, entry) if isinstance(entry, File) else entry
        self.synced_names = dict(self.names)
        self.folders = {inode: path for path, (inode, content) in read(root).items() if content is FOLDER}
        self.folders[root.stat().st_ino] = str(root)
        self.replaced: dict[str, dict[str, File | str | None]] = {}  # what renames to a name replaced, until its sync
        self.printed = ""
        self.torn: tuple[File, bytes] | None = None  # the file of the last operation, if that wrote, and its data torn

    def apply(self, operation: Operation) -> None:
        """Carry out an operation."""
        kind, self.torn = operation.kind, None
        if kind == "P":
            self.printed += operation.data.decode()
        elif kind in "WTSDF":
            if (file := self.inodes.get(operation.inode)) is not None:
                self._change(file, operation)
            elif kind in "SD":  # a folder
                self.synced_names = dict(self.names)
                synced = self.folders.get(operation.inode)
                self.replaced = {name: old for name, old in self.replaced.items() if parent(name) != synced}
        elif kind == "C":
            self.folders.pop(operation.inode, None)  # one that is gone
            self.names[operation.paths[0]] = self.inodes[operation.inode] = File()
        elif kind == "M":
            self.inodes.pop(operation.inode, None)  # that of a file that is gone
            self.names[operation.paths[0]] = FOLDER
            self.folders[operation.inode] = operation.paths[0]
        elif kind in "UX":
            self.names.pop(operation.paths[0], None)  # a name that was moved in from elsewhere, which fails in the end
        else:
            source, target = operation.paths
            if kind == "Y":
                self.names[target] = source
            elif kind == "L":
                self.names[target] = self.names[source]
            else:
                moved = {name for name in self.names if is_below(name, source)}
                self.replaced.setdefault(
                    target, {name: self.names[name] for name in self.names if is_below(name, target)}
                )
                for inode, name in self.folders.items():
                    if is_below(name, source):
                        self.folders[inode] = target + name[len(source) :]
                self.names |= {target + name[len(source) :]: self.names[name] for name in moved}
                self.names = {name: entry for name, entry in self.names.items() if name not in moved}

    def _change(self, file: File, operation: Operation) -> None:
        size, at, written = len(file.data), operation.offset, operation.data
        if operation.kind == "T":
            file.data, file.pending = (data[:at].ljust(at, b"\0") for data in (file.data, file.pending))
        elif operation.kind == "F":
            file.pending = file.synced
        elif operation.kind == "W":
            file.data, file.pending = (_written(data, at, written) for data in (file.data, file.pending))
            name = next((name for name, entry in self.names.items() if entry is file), "")
            half = len(written) // 2 // 512 * 512 if name.endswith(DATABASES) else len(written) // 2
            self.torn = file, _written(file.synced, at, written[:half])
        else:
            if operation.kind == "S" or file.synced_size < size:
                self.synced_names = dict(self.names)
            file.synced, file.synced_size = file.pending, size

    def names_of(self, inode: int) -> list[str]:
        """The names of a file."""
        file = self.inodes.get(inode)
        return [name for name, entry in self.names.items() if isinstance(entry, File) and entry is file]

    def _without_renames(self) -> dict[str, File | str | None]:
        found = dict(self.names)
        for target, old in self.replaced.items():
            found = {name: entry for name, entry in found.items() if not is_below(name, target)} | old
        return found

    def states(self) -> Iterator[tuple[str, dict[str, bytes | str | None]]]:
        """The states after the last operation, by name."""
        yield "kept", {name: entry.data if isinstance(entry, File) else entry for name, entry in self.names.items()}
        for kind, names in (("data", self.names), ("names", self.synced_names), ("renames", self._without_renames())):
            yield kind, {name: entry.synced if isinstance(entry, File) else entry for name, entry in names.items()}
        if self.torn:
            file, data = self.torn
            torn = {name: data if entry is file else entry for name, entry in self.names.items()}
            yield "torn", {name: entry.synced if isinstance(entry, File) else entry for name, entry in torn.items()}


def is_below(name: str, path: str) -> bool:
    """Whether a name is a path, or below it."""
    return name == path or name.startswith(f"{path}/")


def parent(name: str) -> str:
    """The folder of a name."""
    return name.rpartition("/")[0]


def _written(data: bytes, at: int, written: bytes) -> bytes:
    return data[:at].ljust(at, b"\0") + written + data[at + len(written) :]


def build(root: Path, state: State) -> None:
    """Make a folder what a state says."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, content in sorted(state.items()):
        path = Path(name)
        if content is FOLDER:
            path.mkdir(parents=True, exist_ok=True)
        elif not path.parent.is_dir():  # whose name did not survive
            continue
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


def differences(disk: Disk, root: Path) -> list[str]:
    """Where what was replayed is not what is there: an operation that the recorder has missed."""
    real = contents(root)
    kept = dict(disk.states())["kept"]
    return [name for name in sorted({*real, *kept}) if name not in real or name not in kept or real[name] != kept[name]]
