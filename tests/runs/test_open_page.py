"""``tmlm open``: the page of a run, which is made where the run lacks it."""

from pathlib import Path

from pipeline.runs.delete import delete
from pipeline.runs.open_page import open_page
from pipeline.tracking.artifacts import PAGE_FILE
from pipeline.tracking.store import client, set_tags


def test_a_page_that_a_run_lacks_is_made_anew_only_after_a_change_and_goes_with_the_run(trained, tmp_path):
    opened: list[str] = []
    page = Path(open_page("latest", True, opened.append))
    assert opened == [page.as_uri()]
    assert page.parent.name == ".pages"
    first = page.stat().st_ino
    assert open_page(trained.run_id, False) == str(page)
    assert page.stat().st_ino == first
    set_tags(trained.run_id, {"note": "why"})
    open_page("latest", False)
    assert page.stat().st_ino != first
    page.write_bytes(b"\xff\xfe")
    open_page("latest", False)
    assert page.read_bytes().endswith(b"</html>")

    victim = tmp_path / "victim"
    victim.write_text(page.read_text())
    for change in (open_page, delete):
        page.unlink()
        page.symlink_to(victim)
        open_page("latest", False) if change is open_page else delete([trained.run_id])
        assert victim.is_file()
        assert not page.is_symlink()
    assert not page.exists()


def test_a_page_that_a_run_has_recorded_is_opened_as_it_is(trained):
    client().log_text(trained.run_id, "the page", PAGE_FILE)
    assert Path(open_page("latest", False)).read_text() == "the page"
