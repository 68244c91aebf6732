"""Execute the notebook docs/tour.ipynb in a copy of the project; ``python -m tests.tour`` also saves its outputs.

Results, tables and pictures, made small, are saved; messages, which name folders of this machine, are not.
"""

import io
import os
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from tests.checkout import Checkout

TOUR = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"
CELL_SECONDS = 240  # after which a cell counts as hanging


def executed(checkout: Checkout) -> NotebookNode:
    """Execute the notebook, which records in the copy. Raises CellExecutionError if a cell fails."""
    notebook: NotebookNode = nbformat.read(TOUR, as_version=4)
    folder = checkout.folder / "docs"
    paths = os.pathsep.join([str(checkout.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env={**checkout.environment, "PYTHONPATH": paths})
    return notebook


def kept(notebook: NotebookNode) -> NotebookNode:
    """The notebook as it is committed: without messages and times."""
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = list(_kept_outputs(cell.outputs))
    return notebook


def _kept_outputs(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """The outputs without messages; printed text as one output, pictures made small."""
    printed = [output.text for output in outputs if output.get("name") == "stdout"]
    if printed:
        yield nbformat.v4.new_output("stream", name="stdout", text="".join(printed))
    for output in (each for each in outputs if each.output_type != "stream"):
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = _small(output.data["image/png"])
        yield output


def _small(png: str) -> str:
    """Reduce a picture in base64 to half its width and height and 128 colours."""
    picture = Image.open(io.BytesIO(b64decode(png))).convert("RGB")
    smaller = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    smaller.quantize(128, Image.Quantize.FASTOCTREE).save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        nbformat.write(kept(executed(Checkout(Path(temporary)))), TOUR)
