"""Render pages with Jinja: HTML in one file that needs nothing else, and Markdown. Both escape all text."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.pages.document import Page
from pipeline.support.markdown import plain
from pipeline.support.wording import printable

TEMPLATES = Path(__file__).with_name("templates")
OPTIONS: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}


def _escaped(value: Any) -> Any:
    """A value as Markdown text, with a space at its ends if it has some there, unless it is marked as safe."""
    if hasattr(value, "__html__"):
        return value
    text, inner = str(value), plain(str(value))
    return f"{' ' * text[:1].isspace()}{inner}{' ' * text[-1:].isspace()}" if inner else ""


def _printable(value: Any) -> Any:
    return printable(value) if type(value) is str else value


HTML = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=_printable, **OPTIONS)
MARKDOWN = Environment(loader=FileSystemLoader(TEMPLATES), finalize=_escaped, **OPTIONS)


def html(page: Page) -> str:
    """The page as one HTML file, which may run its own scripts only."""
    scripts = [shared("page.js"), *page.scripts]
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    template = HTML.get_template("page.html.jinja")
    return template.render(page=page, scripts=scripts, sources=" ".join(f"'sha256-{digest}'" for digest in digests))


def markdown(page: Page) -> str:
    return MARKDOWN.get_template("page.md.jinja").render(page=page)


def shared(name: str) -> str:
    """The text of a shared template, style sheet or script."""
    return (TEMPLATES / name).read_text()
