"""A browser, and a store with a training, a search, their exported pages and MLflow's UI: made once for all tests."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.browser.browsers import NoBrowserError, launched
from tests.checkout import ROOT, ask, free_port, server
from tests.cli.commands import run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

TINY = ["--hidden-size", "8", "--epochs", "2", "--batch-size", "32"]
SPACE = ["--trials", "3", "--epochs", "1", "--cell", "lstm", "--num-layers", "1", "--hidden-size", "4..8"]
SEARCH = ("search", "--study-name", "shapes", "--confirm-seeds", "1", "--workers", "1", *SPACE)
PATIENCE_MS = 60_000  # a busy machine is no error
MLFLOWS_OWN = ("/static-files/", "/ajax-api/2.0/mlflow/users/current")  # where MLflow's own messages come from


@dataclass
class Opened:
    """The page, the errors in its console that no script of MLflow has caused, and the addresses that it requested."""

    page: "Page"
    errors: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def wait_for(self, *texts: str) -> None:
        for text in texts:
            self.page.get_by_text(text).first.wait_for()


Visit = Callable[..., Opened]


@dataclass(frozen=True)
class Lab:
    """A store whose UI is running: its address, what each command printed, and the folder of the exported pages."""

    address: str
    printed: dict[str, str]
    exports: Path

    def link(self, command: str, label: str) -> str:
        """The link that a command has printed under a label."""
        (link,) = re.findall(rf"^ *{label} +(http\S+)$", self.printed[command], re.MULTILINE)
        return str(link)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A running browser. Skips the test where there is none, and fails it where TMLM_REQUIRE_BROWSER says there is."""
    missing = pytest.fail if os.environ.get("TMLM_REQUIRE_BROWSER") else pytest.skip
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright, launched(playwright) as running:
            yield running
    except (ImportError, NoBrowserError) as error:
        missing(f"no browser, which `make browser` installs: {error}")


@pytest.fixture(scope="session")
def evaluate(browser: "Browser") -> "Iterator[Callable[..., Any]]":
    """Call a function of JavaScript with an argument in a window that has the scripts of a page's models."""
    from pipeline.pages.page_models import SCRIPTS

    page = browser.new_page()
    for script in SCRIPTS:
        page.add_script_tag(content=script.read_text())
    yield page.evaluate
    page.close()


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Visit]:
    """Open an address in a window of its own, as someone who has never used the UI; closed after the test."""
    contexts = []

    def visit(
        address: str, width: int = 1400, colours: Literal["light", "dark"] = "light", by_touch: bool = False
    ) -> Opened:
        size: ViewportSize = {"width": width, "height": 1000}
        context = browser.new_context(viewport=size, color_scheme=colours, has_touch=by_touch, is_mobile=by_touch)
        contexts.append(context)
        opened = Opened(context.new_page())

        def hear(text: str, address: str) -> None:
            if not any(own in address for own in MLFLOWS_OWN):
                opened.errors.append(f"{text} ({address})")

        opened.page.on("console", lambda said: hear(said.text, said.location["url"]) if said.type == "error" else None)
        opened.page.on("pageerror", lambda error: hear(str(error), error.stack or ""))
        opened.page.on("request", lambda request: opened.requested.append(request.url))
        opened.page.set_default_timeout(PATIENCE_MS)
        opened.page.goto(address, wait_until="domcontentloaded")
        return opened

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def lab(
    browser: "Browser", tmp_path_factory: pytest.TempPathFactory, empty_database: Path, small_text: Path
) -> Iterator[Lab]:
    """Two seeds of a tiny model, a search of three trials, and the pages of both; only where there is a browser."""
    from tests import labs

    def said(*words: str) -> str:
        code, out, err = run(*words)
        assert code == 0, err
        return out

    folder = tmp_path_factory.mktemp("browser")
    text = ("--corpus", str(small_text), "--alphabet", "letters")
    commands = {
        "pipeline": ("pipeline", *text, *TINY),
        "train": ("train", *text, *TINY, "--seed", "1"),
        "export a training": ("export", "latest", "-o", str(folder / "training"), "--with-ngrams"),
        "export trainings": ("export", "latest", "latest~1", "-o", str(folder / "trainings"), "--with-ngrams"),
        "search": (*SEARCH, *text),
        "export a study": ("export", "shapes", "-o", str(folder / "study")),
    }
    with labs.store_at(labs.new_store(folder / "lab", empty_database)) as home, _ui(home) as address:
        yield Lab(address, {name: said(*words) for name, words in commands.items()}, folder)


@contextmanager
def _ui(home: Path) -> Iterator[str]:
    """``tmlm ui`` on the store of a folder, until the block ends; gives its address once it answers."""
    from pipeline.tracking.store import setup

    setup()
    port = free_port()
    paths = os.pathsep.join([str(ROOT), *sys.path])  # of another MLflow, too (`make mlflow-range`)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlruns/mlflow.db", "PYTHONPATH": paths}
    with server(home, environment, sys.executable, "-m", "pipeline", "ui", "--port", str(port)):
        ask(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
