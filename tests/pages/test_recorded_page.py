"""The page in the run of a training or a search: recorded once, linked in its description, and no reason to fail."""

from pipeline.pages.page import record_page
from pipeline.tracking import artifacts, recorded
from pipeline.tracking.descriptions import describe
from tests.labs import TINY_NAME, record


def test_a_page_is_recorded_once_and_linked_before_what_we_say_of_its_run(trained):
    def described() -> str:
        return recorded.run_of(trained.run_id).tag("mlflow.note.content")

    before = described()
    record_page(trained.run_id)
    link, _, rest = described().partition("): ")
    assert rest == before
    assert f"/runs/{trained.run_id}/artifacts/page.html?" in link
    page = artifacts.artifact_path(trained.run_id, "page.html")
    assert TINY_NAME in page.read_text()
    page.unlink()
    record_page(trained.run_id)  # which is linked
    assert not page.exists()
    describe(trained.run_id, {"about": before, "page": ""})  # as after more epochs
    assert described() == before
    record_page(trained.run_id)
    assert page.exists()


def test_a_page_that_can_not_be_made_fails_nothing(store, caplog):
    record_page(record("prepare", stage="prepare"))
    assert "has no page that runs its model" in caplog.text
