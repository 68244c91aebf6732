"""The Jinja environments of the page: HTML and Markdown, with other people's words escaped."""

from pathlib import Path
from textwrap import indent

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.support.markdown import plain

TEMPLATES = Path(__file__).with_name("templates")


def html_environment() -> Environment:
    """The environment for HTML: every value is escaped unless it is marked as safe."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def markdown_environment() -> Environment:
    """The environment for Markdown: every value is escaped unless a template marks it as safe."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # escapes HTML; finalize escapes Markdown
        finalize=lambda value: value if hasattr(value, "__html__") else plain(str(value)),  # safe strings have __html__
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = lambda text: indent(" ".join(text.split()), "    ")  # an indented block
    return environment
