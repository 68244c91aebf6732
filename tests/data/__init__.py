"""What tests read that is not made by the code under test."""

import json
import tarfile
from pathlib import Path
from typing import Any

GATE = Path(__file__).with_name("gate-b2ed1f67.json")
MADE: dict[str, Any] = json.loads(GATE.read_text())  # costs of 200 characters


def unpacked(folder: Path) -> Path:
    """What commit b2ed1f67 made, whose gate sees no characters: best.safetensors on top, gate.json, index.html."""
    with tarfile.open(GATE.with_suffix(".tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder
