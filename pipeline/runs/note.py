"""Say why a run was made, or read what was said."""

from pipeline.tracking.descriptions import NOTE, checked_note, describe
from pipeline.tracking.references import find
from pipeline.tracking.store import store_errors


def note(reference: str, text: str | None = None) -> dict[str, str]:
    """Set the note of a run, which ``reference`` names as ``find`` takes it; "" removes it, None only reads it.

    Raises InputError for a note that is too long, and for a run that does not exist or was deleted.
    """
    run = find(reference)
    if text is not None:
        text = text and checked_note(text)
        with store_errors():
            describe(run.id, {NOTE: text})
    return {"run_id": run.id, "name": run.name, "note": run.note if text is None else text}
