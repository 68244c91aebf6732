"""A pseudo-terminal that records what it shows."""

import fcntl
import os
import pty
import re
import struct
import termios
from threading import Thread
from types import TracebackType
from typing import Self


class Terminal:
    """A terminal; ``file`` writes to it. A context manager, after which ``screen`` is complete."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._reader, self.fileno = pty.openpty()
        fcntl.ioctl(self.fileno, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.file = open(self.fileno, "w", encoding="utf-8")  # noqa: SIM115  # closed by __exit__
        self._written = b""
        self._thread = Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        try:
            while data := os.read(self._reader, 4096):
                self._written += data
        except OSError:  # closed
            pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self._thread.join()
        os.close(self._reader)

    @property
    def states(self) -> list[list[str]]:
        """The lines of the screen after each carriage return or line break, and at the end."""
        lines, row, column, states = [""], 0, 0, []
        for part in re.split(r"(\r|\n|\x1b\[K|\x1b\[A)", self._written.decode()):
            if part in ("\r", "\n"):
                states.append([line.rstrip() for line in lines])
            if part == "\r":
                column = 0
            elif part == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif part == "\x1b[A":
                row -= 1
            elif part == "\x1b[K":
                lines[row] = lines[row][:column]
            else:
                for character in part:
                    if column == self.columns:  # it wraps
                        row, column = row + 1, 0
                        lines += [""] * (row == len(lines))
                    lines[row] = f"{lines[row][:column]:<{column}}{character}{lines[row][column + 1 :]}"
                    column += 1
        return [*states, [line.rstrip() for line in lines]]

    @property
    def screen(self) -> list[str]:
        """The lines of the screen at the end, without the empty ones."""
        return [line for line in self.states[-1] if line]

    @property
    def bars(self) -> list[str]:
        """The progress bars that were on the screen, in order, without consecutive duplicates."""
        seen = [line for state in self.states for line in state if "%|" in line]
        return [line for line, before in zip(seen, ["", *seen], strict=False) if line != before]
