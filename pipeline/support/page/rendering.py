"""The Jinja environments of HTML and Markdown pages, which escape values, and the pages' allowed scripts."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from textwrap import indent

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.support.markdown import plain

SHARED = Path(__file__).with_name("templates")


def html_environment(*templates: Path) -> Environment:
    """The environment for HTML, in which every value is escaped unless it is marked as safe.

    Templates are looked up in these folders, then among the shared ones.
    """
    return Environment(
        loader=FileSystemLoader([*templates, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def markdown_environment(*templates: Path) -> Environment:
    """The environment for Markdown, in which every value is escaped unless it is marked as safe."""
    environment = Environment(
        loader=FileSystemLoader([*templates, SHARED]),
        autoescape=False,  # it would escape HTML; finalize escapes Markdown
        finalize=lambda value: value if hasattr(value, "__html__") else plain(str(value)),  # safe strings have __html__
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = lambda text: indent(" ".join(text.split()), "    ")  # an indented code block
    return environment


def shared(name: str) -> str:
    """The text of a shared template, style sheet or script."""
    return (SHARED / name).read_text()


def script_source(script: str) -> str:
    """The source of the script that a page may run, by its digest, for script-src of its Content-Security-Policy."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
