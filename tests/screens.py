"""Take the pictures of docs/screens in Chromium, light and dark: ``python -m tests.screens``, or ``make screens``.

A main job and a quick search are recorded on the default text, unless there is a store with runs:

    python -m tests.screens --store mlruns --study search
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser.browsers import launched
from tests.checkout import ROOT, ask, free_port, server

FOLDER = ROOT / "docs" / "screens"
LARGEST_BYTES = 200_000  # of a picture
DRAWN_MS = 3_000  # after the first chart is there, until all are drawn
PATIENCE_MS = 120_000
TYPED = "A function returns a value, unless a penguin has eaten it."
NEWCOMERS = {  # what MLflow's UI would otherwise show to someone who opens it for the first time
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}


@dataclass(frozen=True)
class Screen:
    """A picture: of the page that ``tmlm ui WHAT`` opens, or of a page that runs a model, a file or of ``what``."""

    name: str
    what: str
    height: int
    runs_model: bool = False
    width: int = 1200


def screens(study: str) -> tuple[Screen, ...]:
    """The pictures; ``study`` is the name of the study that they show."""
    return (
        Screen("run", "latest", 720),
        Screen("search", study, 900),
        Screen("export", study, 1000, runs_model=True),
        Screen("page", "docs/demo/index.html", 500, runs_model=True),
    )


class Lab:
    """A store and the commands that use it."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
            "TMLM_STORAGE": f"sqlite:///{store}/optuna.db",
            "PYTHONPATH": str(ROOT),
        }

    def tmlm(self, *words: str, **streams: Any) -> subprocess.CompletedProcess[str]:
        """Run a command, which writes to standard error unless ``streams`` say otherwise."""
        command = [sys.executable, "-m", "pipeline", *words]
        return subprocess.run(command, env=self.environment, check=True, text=True, **{"stdout": sys.stderr, **streams})

    def link_to(self, what: str) -> str:
        """The address that ``tmlm ui WHAT`` opens."""
        return self.tmlm("ui", what, "--no-open", stderr=subprocess.PIPE).stderr.splitlines()[-1]

    def record(self) -> None:
        """A main job and a quick search."""
        self.tmlm("pipeline")
        self.tmlm("search", "--quick", "--study-name", "look", "--epochs", "6")


def taken(browser: Any, address: str, screen: Screen, colours: str) -> bytes:
    """A picture of a page with 256 colours, as a PNG."""
    size = {"width": screen.width, "height": screen.height}
    context = browser.new_context(viewport=size, color_scheme=colours)
    for key, value in NEWCOMERS.items():
        context.add_init_script(f"localStorage.setItem({key!r}, {value!r})")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address, wait_until="domcontentloaded")
    if screen.runs_model:
        idle = page.locator("#live[aria-busy=false]")
        idle.wait_for()
        page.get_by_label("Text for the model to read").fill(TYPED)
        idle.wait_for()
        page.get_by_role("button", name="Write").click()
        page.locator("#live[aria-busy=true]").wait_for()
        idle.wait_for()
    else:
        page.locator("svg.main-svg").first.wait_for()
    page.wait_for_timeout(DRAWN_MS)
    picture, file = Image.open(io.BytesIO(page.screenshot())).convert("RGB"), io.BytesIO()
    context.close()
    picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def take(lab: Lab, study: str, wanted: set[str], folder: Path) -> None:
    """Write the pictures of a store."""
    from playwright.sync_api import sync_playwright  # installed by `make screens`

    port, every = free_port(), [screen for screen in screens(study) if not wanted or screen.name in wanted]
    serving = (sys.executable, "-m", "pipeline", "ui", "--port", str(port), "--no-open")
    with (
        tempfile.TemporaryDirectory() as temporary,
        server(ROOT, lab.environment, *serving),
        sync_playwright() as playwright,
        launched(playwright) as browser,
    ):
        ask(f"http://127.0.0.1:{port}/health")
        for screen in every:
            if screen.what.endswith(".html"):
                address = (ROOT / screen.what).as_uri()
            elif screen.runs_model:
                lab.tmlm("export", screen.what, "-o", f"{temporary}/{screen.name}")
                address = Path(temporary, screen.name, "index.html").as_uri()
            else:
                address = lab.link_to(screen.what)
            for colours in ("light", "dark"):
                png = taken(browser, address, screen, colours)
                path = folder / f"{screen.name}{'-dark' * (colours == 'dark')}.png"
                if len(png) > LARGEST_BYTES:
                    sys.exit(f"{path.name} has {len(png):,} bytes, more than {LARGEST_BYTES:,}: make it smaller")
                path.write_bytes(png)
                sys.stderr.write(f"{path}  {len(png):,} bytes\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder of the store (default: one that is deleted)")
    parser.add_argument("--study", default="look", help="study to show (default: look)")
    parser.add_argument("--only", nargs="+", default=[], help="pictures to take: run, search, export, page")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for the pictures (default: docs/screens)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as new:
        lab = Lab((given.store or Path(new)).resolve())
        if not (lab.store / "mlflow.db").exists():
            lab.record()
        take(lab, given.study, set(given.only), given.output)
