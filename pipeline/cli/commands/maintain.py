"""The command that shows and repairs what others use: doctor."""

import click

from pipeline.cli.group import MAINTAIN, show
from pipeline.cli.options import LabCommand, json_flag


@click.command(cls=LabCommand, section=MAINTAIN)
@click.option(
    "--repair",
    is_flag=True,
    help="Close runs whose process died, and fix the artifact paths of a checkout that was moved.",
)
@click.option("--close", default=None, help="Close this run, whose machine or container no longer exists.")
@json_flag
def doctor(repair: bool, close: str | None, as_json: bool) -> None:
    """Show what commands would use here, and repair the store.

    Shows the text, store, device, threads and versions, with the reason for each, and the runs that are RUNNING, with
    the state of their processes. Changes nothing without --repair or --close.
    """
    from pipeline.cli import doctor

    done = {"closed": doctor.close(close)} if close is not None else {}
    done |= {"repaired": doctor.repair()} if repair else {}
    result = done | doctor.findings()
    lines = [(name, line) for name, value in result.items() for line in (value if isinstance(value, list) else [value])]
    show(result, as_json, "\n".join(f"{name:<15} {line}" for name, line in lines))
