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
def test_what_a_command_leaves_in_its_temporary_folder_is_removed_by_itself_or_the_next_alone(tmp_path, killed):
    def command(killed: bool) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", COMMAND.format(killed=killed)]
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)

    kept = ["tmlm-command-fifo"] + ["tmlm-command-theirs"] * (os.geteuid() == 0)
    os.mkfifo(tmp_path / kept[0])  # which blocks whoever opens it
    for theirs in kept[1:]:
        (tmp_path / theirs).mkdir()
        os.chown(tmp_path / theirs, 65534, -1)
    assert command(killed).returncode == (-signal.SIGKILL if killed else 0)
    assert len(os.listdir(tmp_path)) == killed + len(kept)
    assert command(False).stdout.count("tmlm-command-") == 1 + len(kept)  # its own
    assert sorted(os.listdir(tmp_path)) == kept
