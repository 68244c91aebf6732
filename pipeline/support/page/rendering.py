"""The Jinja environments of pages, HTML and Markdown, with other people's words escaped; and which scripts may run."""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from textwrap import indent

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.support.markdown import plain

SHARED = Path(__file__).with_name("templates")


def html_environment(*templates: Path) -> Environment:
    """The environment for HTML: every value is escaped unless it is marked as safe.

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
    """The environment for Markdown: every value is escaped unless a template marks it as safe."""
    environment = Environment(
        loader=FileSystemLoader([*templates, SHARED]),
        autoescape=False,  # escapes HTML; finalize escapes Markdown
        finalize=lambda value: value if hasattr(value, "__html__") else plain(str(value)),  # safe strings have __html__
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = lambda text: indent(" ".join(text.split()), "    ")  # an indented block
    return environment


def shared_script(name: str) -> str:
    """The text of a shared script."""
    return (SHARED / name).read_text()


def script_sources(scripts: Iterable[str]) -> str:
    """The scripts that a page may run, for its Content-Security-Policy."""
    return " ".join(f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in scripts)
