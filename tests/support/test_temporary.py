"""The temporary folder of a command, and those that killed commands left."""

import os
import signal
import subprocess
import sys

import pytest

COMMAND = """
import os, signal, tempfile
from pipeline.support.temporary import use_own_folder
use_own_folder()
folder = tempfile.mkdtemp()
print(os.listdir(os.path.dirname(os.path.dirname(folder))))
if {killed}:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_command_leaves_in_its_temporary_folder_is_removed_by_itself_or_by_the_next(tmp_path, killed):
    def command(killed: bool) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", COMMAND.format(killed=killed)]
        return subprocess.run(words, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True)

    assert command(killed).returncode == (-signal.SIGKILL if killed else 0)
    assert len(os.listdir(tmp_path)) == killed
    assert command(False).stdout.count("tmlm-command-") == 1  # its own
    assert os.listdir(tmp_path) == []


def test_what_is_no_folder_or_of_another_user_neither_blocks_a_command_nor_goes(tmp_path):
    os.mkfifo(tmp_path / "tmlm-command-fifo")
    (tmp_path / "tmlm-command-theirs").mkdir()
    if os.geteuid() == 0:  # else no folder of another user can be made
        os.chown(tmp_path / "tmlm-command-theirs", 65534, -1)
    words = [sys.executable, "-c", COMMAND.format(killed=False)]
    subprocess.run(words, env={**os.environ, "TMPDIR": str(tmp_path)}, check=True, timeout=60)
    left = ["tmlm-command-fifo"] + ["tmlm-command-theirs"] * (os.geteuid() == 0)
    assert sorted(os.listdir(tmp_path)) == left
