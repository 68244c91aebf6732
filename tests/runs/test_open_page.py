"""``tmlm open``: the page of a run, which is made where the run lacks it."""

import json
import re
from pathlib import Path

import pytest

from pipeline.pages import page_models
from pipeline.pages.page import record_page
from pipeline.runs.delete import delete
from pipeline.runs.open_page import open_page
from pipeline.tracking.store import set_tags


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


def test_the_page_of_an_own_text_has_all_n_grams_and_the_game_and_the_recorded_one_does_not(trained):
    recorded = Path(record_page(trained.run_id)).read_text()
    opened = Path(open_page("latest", False)).read_text()
    here, elsewhere = (json.loads(re.findall(r'id="models">(.*?)</script>', text)[0]) for text in (opened, recorded))
    assert here["counting"]["name"] == here["models"][0]["compared"]["name"] == "n-grams of orders 1 to 10"
    on_test = trained.result["ngram_test_perplexity"]
    assert here["counting"]["test_perplexity"] == pytest.approx(on_test, rel=0.02)
    assert here["passages"]
    assert (elsewhere["counting"], elsewhere["passages"]) == (None, [])


def test_n_grams_that_do_not_fit_are_pruned(trained, monkeypatch):
    monkeypatch.setattr(page_models, "ALL_NGRAMS_BYTES", 1000)
    assert "n-grams on this page (orders" in Path(open_page("latest", False)).read_text()
