"""Render pages with Jinja: HTML in one file that needs nothing else, and Markdown. Both escape all text."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.support.markdown import plain
from pipeline.support.page.document import Page
from pipeline.support.wording import printable

TEMPLATES = Path(__file__).with_name("templates")


def _environment(is_html: bool) -> Environment:
    """The environment for HTML or Markdown, in which every value is escaped unless it is marked as safe."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if is_html:
        made.finalize = lambda value: printable(value) if type(value) is str else value
    else:
        made.finalize = lambda value: value if hasattr(value, "__html__") else _escaped(str(value))  # safe ones have it
    return made


def _escaped(text: str) -> str:
    """A text in Markdown, with a space at its ends if it has some there."""
    inner = plain(text)
    return f"{' ' * text[:1].isspace()}{inner}{' ' * text[-1:].isspace()}" if inner else ""


def html(page: Page) -> str:
    """The page as one HTML file, which may run its own scripts only."""
    scripts = [shared("page.js"), *page.scripts]
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    template = _environment(is_html=True).get_template("page.html.jinja")
    return template.render(page=page, scripts=scripts, sources=" ".join(f"'sha256-{digest}'" for digest in digests))


def markdown(page: Page) -> str:
    return _environment(is_html=False).get_template("page.md.jinja").render(page=page)


def shared(name: str) -> str:
    """The text of a shared template, style sheet or script."""
    return (TEMPLATES / name).read_text()
