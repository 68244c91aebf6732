"""Models whose gate sees no characters, made by commit b2ed1f67, with their costs of 200 characters.

A checkpoint of an LSTM 1x8 on top of the n-grams of a made-up text, their gate as it was cached, and an exported page.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("data")
MADE: dict[str, Any] = json.loads((DATA / "gate-b2ed1f67.json").read_text())


def unpacked(folder: Path) -> Path:
    """The folder, with best.safetensors, gate.json and index.html."""
    with tarfile.open(DATA / "gate-b2ed1f67.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder
