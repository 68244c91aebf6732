"""Find a Chromium for the tests in tests/browser; ``python -m tests.browser.browsers`` installs one if there is none.

`make browser` calls it. Playwright is a development tool of these tests alone, so only that target installs it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


class NoBrowserError(Exception):
    """There is no browser to test with."""


def launched(playwright: Any) -> Any:
    """A running browser: Playwright's own Chromium, or one on the PATH. Raises NoBrowserError."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    for path in (playwright.chromium.executable_path, *filter(None, found)):
        if Path(path).is_file():
            return playwright.chromium.launch(executable_path=path, args=list(FLAGS))
    raise NoBrowserError("neither Playwright's own Chromium nor another one on the PATH; `make browser` installs one")


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
    """Install Playwright's own Chromium, as root with what it needs, or else the distribution's."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "20000"}

    def does(*words: str) -> bool:
        return not subprocess.run(words, env=environment, stdout=sys.stderr, check=False, timeout=600).returncode

    needs = ["--with-deps"] if os.geteuid() == 0 else []
    if not does(sys.executable, "-m", "playwright", "install", *needs, "chromium") and shutil.which("apt-get"):
        does("apt-get", "update", "-q")
        does("apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium")


if __name__ == "__main__":
    if _why_none_starts():
        _install()
    if reason := _why_none_starts():
        sys.exit(f"No browser: the tests in tests/browser will be skipped.\n{reason}")
