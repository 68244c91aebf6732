"""The description of a run in MLflow's UI, composed here alone: a person's note, the link of its page, and our text.

Each of the three is a tag, and nothing is read back from a description. One that is not what the tags say was edited by
a person or written by an earlier version: it stays until we describe the run anew.
"""

from collections.abc import Mapping

from pipeline.errors import InputError
from pipeline.support.markdown import plain
from pipeline.support.wording import counted, printable
from pipeline.tracking.names import DESCRIPTION, bare_tags, recorded_tag
from pipeline.tracking.store import client, set_tags

NOTE, PAGE, ABOUT = "note", "page", "about"  # tags, in the order of the description
LONGEST_NOTE = 1000  # characters
LONGEST = 8000  # characters of a tag that MLflow keeps


def one_line(text: str) -> str:
    """What a person or another store's record says, in one line without characters that control a terminal."""
    return printable(" ".join(text.split()))


def checked_note(text: str, option: str = "TEXT") -> str:
    """A note as it is recorded. Raises InputError, which names ``option``, for one that is empty or too long."""
    note = one_line(text)
    if not 1 <= len(note) <= LONGEST_NOTE:
        raise InputError(f"{option} has {counted(len(note), 'character')}; give a note of 1 to {LONGEST_NOTE:,}")
    return note


def composed(tags: Mapping[str, str]) -> str:
    """The description that tags make, by their bare names."""
    ours = ": ".join(filter(None, (tags.get(PAGE), tags.get(ABOUT))))
    return "\n\n".join(filter(None, (plain(one_line(tags.get(NOTE, ""))), ours)))[:LONGEST]


def describe(run_id: str, said: Mapping[str, str]) -> None:
    """Set these tags of a run, by their bare names ("": delete it), and the description that they make."""
    before = bare_tags(client().get_run(run_id).data.tags)
    is_ours = ABOUT in said or before.get(DESCRIPTION, "") in ("", composed(before))
    for name in (name for name, value in said.items() if name in before and not value):
        client().delete_tag(run_id, recorded_tag(name))
    described = {DESCRIPTION: composed({**before, **said})} if is_ours else {}
    set_tags(run_id, {name: value for name, value in said.items() if value} | described)


def without_note(tags: Mapping[str, str]) -> dict[str, str]:
    """Recorded tags without the note, also in the description."""
    bare, kept = bare_tags(tags), {name: value for name, value in tags.items() if name != NOTE}
    if kept.get(DESCRIPTION) == composed(bare):
        kept[DESCRIPTION] = composed({**bare, NOTE: ""})
    return {name: value for name, value in kept.items() if value or name != DESCRIPTION}
