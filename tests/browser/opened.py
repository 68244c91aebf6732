"""A page that was opened in the browser: what it shows, and what it reported and requested meanwhile."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

PATIENCE_MS = 60_000  # a busy machine is no error

MLFLOWS_OWN = ("/static-files/", "/ajax-api/2.0/mlflow/users/current")  # where MLflow's own messages come from


@dataclass
class Opened:
    """The page, its errors with the address that each comes from, and the addresses that it requested."""

    page: "Page"
    errors: list[tuple[str, str]] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    @property
    def our_errors(self) -> list[tuple[str, str]]:
        """The errors in the console that no script of MLflow has caused."""
        return [(text, address) for text, address in self.errors if not any(own in address for own in MLFLOWS_OWN)]

    @property
    def excess_width(self) -> int:
        """By how many pixels the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def unfold(self) -> None:
        """Open all sections that can be folded."""
        self.page.evaluate("document.querySelectorAll('details').forEach(section => { section.open = true })")

    def wait_for(self, *texts: str) -> None:
        """Wait until each text is on the page."""
        for text in texts:
            self.page.get_by_text(text).first.wait_for()


def listening(page: "Page") -> Opened:
    """The page with its errors and requests from now on."""
    opened = Opened(page)

    def hear(message: "ConsoleMessage") -> None:
        if message.type == "error":
            opened.errors.append((message.text, message.location["url"]))

    page.on("console", hear)
    page.on("pageerror", lambda error: opened.errors.append((str(error), error.stack or "")))
    page.on("request", lambda request: opened.requested.append(request.url))
    page.set_default_timeout(PATIENCE_MS)
    return opened
