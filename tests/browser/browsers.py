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


def starts() -> bool:
    """Whether a browser starts."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            launched(playwright).close()
        except (NoBrowserError, Error) as error:
            sys.stderr.write(f"{error}\n")
            return False
    return True


def install() -> None:
    """Install Playwright's own Chromium, as root with what it needs, or else the distribution's."""
    needs = ["--with-deps"] if os.geteuid() == 0 else []
    settings = {"DEBIAN_FRONTEND": "noninteractive", "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "20000"}
    environment = {**os.environ, **settings}
    words = [sys.executable, "-m", "playwright", "install", *needs, "chromium"]
    if subprocess.run(words, env=environment, stdout=sys.stderr, check=False).returncode and shutil.which("apt-get"):
        for rest in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-q", *rest], env=environment, stdout=sys.stderr, check=False)


if __name__ == "__main__":
    if not starts():
        install()
        if not starts():
            sys.exit("No browser: the tests in tests/browser will be skipped.")
