"""What ``delete`` shows and asks."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from pipeline.cli.group import say
from pipeline.errors import InputError
from pipeline.support.markdown import text_table
from pipeline.support.terminal import wrapped


def ask(result: Mapping[str, Any]) -> None:
    """Show what will be deleted, and ask. Raises InputError without a terminal, and click.Abort for no."""
    if not sys.stdin.isatty():
        raise InputError("delete asks before it deletes, and there is no terminal: give --yes (or --dry-run)")
    say(deletion_text(result))
    click.confirm("Delete all of it?", abort=True, err=True)


def deletion_text(result: Mapping[str, Any]) -> str:
    """What is deleted, with its size, and what stays."""
    if result["completed"]:
        lines = ["An earlier deletion was cut off. This has completed it, and deleted nothing else: give it again."]
    else:
        lines = [wrapped(f"{note}.") for note in result["notes"]]
    sizes = [f"{each['megabytes']:.1f} MB" if each["path"] else "" for each in result["deleted"]]
    rows = [(each["kind"], each["name"], each["id"], size) for each, size in zip(result["deleted"], sizes, strict=True)]
    lines.append(text_table((), [*rows, ("sum", "", "", f"{result['megabytes']:.1f} MB")], left=(0, 1, 2)))
    return "\n".join(
        [*lines, *(f"stays: {each['name']} ({each['id']}): {each['reason']}" for each in result["stayed"])]
    )
