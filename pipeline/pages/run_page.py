"""Record the page of a training or a search in its run, where MLflow's UI shows it."""

import logging

from pipeline.pages.page import page_of
from pipeline.tracking import recorded, store
from pipeline.tracking.ui.links import link_within

log = logging.getLogger(__name__)

PAGE = "page.html"  # artifact that runs the models


def record_page(run_id: str) -> None:
    """Record the page that ``export`` makes of a run as an artifact, and link it first in the run's note.

    A linked page is kept: the note is written anew when the run ends. A failure is logged, not raised: what the page
    shows is recorded.
    """
    try:
        with store.impatient():
            run = recorded.run_of(run_id)
            link = f"[Let it read your text, and write]({link_within(run.id, PAGE)})"
            if link not in (note := run.tag(store.NOTE)):
                store.client().log_text(run.id, page_of(run.id), PAGE)
                store.set_tags(run.id, {store.NOTE: f"{link}: {note}"})  # MLflow folds what is below
    except Exception as error:  # of any kind
        log.warning("%s has no page that runs its model: %s", run_id, error)
