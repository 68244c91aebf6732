"""Find a Chromium for the tests in tests/browser; ``python -m tests.browser.browsers`` installs one if there is none.

`make browser` calls it. Playwright is a development tool of these tests alone, so only that target installs it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")  # on the PATH

FLAGS = (
    "--no-sandbox",  # as root in a container there is none
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

INSTALL_SECONDS = 600

HOW = "`make browser` installs Playwright and, where it can, Chromium"


class NoBrowserError(Exception):
    """There is no browser to test with."""


def launched(playwright: Any) -> Any:
    """A running browser: Playwright's own Chromium, or one on the PATH. Raises NoBrowserError."""
    found = [shutil.which(name) for name in NAMES]
    for path in [Path(playwright.chromium.executable_path), *(Path(name) for name in found if name)]:
        if path.is_file():
            return playwright.chromium.launch(executable_path=path, args=list(FLAGS))
    raise NoBrowserError(f"neither Playwright's own Chromium nor {' or '.join(NAMES)} on the PATH: {HOW}")


def _why_none_starts() -> str:
    """The reason why no browser starts; "" if one does."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            launched(playwright).close()
        except (NoBrowserError, Error) as error:
            return str(error)
    return ""


def _install() -> None:
    """Install Playwright's own Chromium or, as root on a machine with apt-get, the distribution's."""
    if _does(sys.executable, "-m", "playwright", "install", "chromium"):
        if os.geteuid() == 0:
            _does(sys.executable, "-m", "playwright", "install-deps", "chromium")
    elif os.geteuid() == 0 and shutil.which("apt-get"):
        _does("apt-get", "update", "-q")
        _does("apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium")


def _does(*words: str) -> bool:
    """Whether a command succeeds; its output goes to standard error."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "20000"}
    print("+", *words, file=sys.stderr, flush=True)  # noqa: T201
    try:
        done = subprocess.run(words, env=environment, stdout=sys.stderr, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    if _why_none_starts():
        _install()
    if reason := _why_none_starts():
        sys.exit(f"No browser: the tests in tests/browser will be skipped.\n{reason}")
