"""The wheel, installed into an empty environment and used from a folder that is another project's repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import Checkout

SCRIPT = """
import tmlm
model = tmlm.train("python-docs", hidden_size=4, epochs=1, budget_chars=20_000)
print(tmlm.load("latest").run_id == model.run_id, tuple(model.logits("it has").shape), model.plot())
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)  # pip installs torch
def test_the_wheel_works_in_an_empty_environment_from_another_folder(tmp_path):
    checkout, user = Checkout(tmp_path), tmp_path / "user"
    user.mkdir()
    bin_folder = user / "env" / "bin"
    environment = {name: value for name, value in checkout.environment.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{bin_folder}:{os.environ['PATH']}"

    def run(*words: str | Path, folder: Path = user) -> str:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run(sys.executable, "-m", "build", "--outdir", tmp_path, folder=checkout.folder)
    (wheel,) = tmp_path.glob("*.whl")
    run("git", "init", "--quiet", ".")
    somebody = ("-c", "user.name=u", "-c", "user.email=u@example.org")
    run("git", *somebody, "commit", "--quiet", "--allow-empty", "-m", "theirs")
    run(sys.executable, "-m", "venv", "env")
    run("pip", "install", "--quiet", wheel)

    assert run("python", "-c", SCRIPT).startswith("True (6, 28) Picture of ")
    assert "lstm-1x4-s0-epochs-1-budget-20000-python-docs" in run("tmlm", "runs", "--json")
    run("tmlm", "export", "latest", "--output", "page")
    assert "1x4" in (user / "page" / "index.html").read_text()
    assert "git checkout" not in (user / "page" / "index.html").read_text()
    assert sorted(path.name for path in user.iterdir()) == [".git", "env", "mlruns", "page"]
