"""The explorer: its charts are drawn from the recorded trainings, and its script gets the same figures."""

import json
import re
from dataclasses import replace

import pytest

from pipeline.report.page.explorer import explorer_html
from pipeline.report.statements.table import report_statements
from pipeline.report.statements.verdicts import FAILS, HOLDS, Verdict
from pipeline.support.statistics import geometric_mean
from tests.report.page.pages import Page, cut, of_few, with_runs
from tests.report.reproductions import reproduction

TWO = ("gru-torch-2x32", "lstm-torch-2x32")


def data_of(html: str) -> list[dict]:
    found = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    data: list[dict] = json.loads(found[1])
    return data


def test_the_whole_report_is_one_small_element():
    html = explorer_html(reproduction())
    assert html.startswith("<figure")
    assert html.endswith("</figure>")
    assert len(html) < 400_000
    page = Page(html)
    assert len([tag for tag in page.all("g") if "point" in (tag.get("class") or "")]) == 17


def test_the_script_has_every_seed_with_both_averages():
    found = of_few(*TWO)
    for given, configuration in zip(data_of(explorer_html(found)), found.configurations, strict=True):
        assert given["seeds"] == [0, 1, 2]
        for curve in ("train", "val", "train_pooled", "val_pooled"):
            for values, run in zip(given[curve], configuration.runs, strict=True):
                assert values == pytest.approx(getattr(run, curve), rel=1e-3)


def test_a_point_of_the_front_is_the_mean_of_pooled_perplexities_at_the_best_epoch():
    found = of_few(*TWO)
    html = explorer_html(found)
    for configuration in found.configurations:
        mean = geometric_mean([run.val_pooled[run.best_epoch - 1] for run in configuration.runs])
        assert f"validation perplexity {mean:.2f} (pooled, at the best epoch, 3 seeds)" in html


def test_an_unfinished_training_is_hollow_and_not_of_the_front():
    found = of_few("gru-scratch-1x8", "gru-torch-2x32")
    html = explorer_html(with_runs(found, "gru-torch-2x32", (cut(found["gru-torch-2x32"].runs[0], 60),)))
    hollow = [tag for tag in Page(html).all("g") if "hollow" in (tag.get("class") or "").split()]
    assert [tag["data-number"] for tag in hollow] == ["1"]
    assert "(60 of 100 epochs)" in html
    assert "GRU 2x32</text>" not in html.split('class="curves"')[0]


def test_a_shape_by_another_recipe_on_the_same_text_is_drawn_once():
    found = of_few("gru-scratch-1x128", "gru-torch-1x128")
    same = tuple(replace(run, windowed=5.0) for run in found.configurations[0].runs)
    both = tuple(replace(each, same_text=same) for each in found.configurations)
    html = explorer_html(replace(found, configurations=both))
    assert html.count("GRU 1x128 by the stream recipe on the same characters: validation 5.00") == 1
    assert [each["other"] != "" for each in data_of(html)] == [True, True]


def test_verdicts_are_counted_for_the_subject_of_a_statement():
    about = [each for each in report_statements() if each.configurations[:1] == TWO[:1]]
    verdicts = [Verdict(each, FAILS if number else HOLDS, "") for number, each in enumerate(about)]
    given = data_of(explorer_html(of_few(*TWO), verdicts))
    assert [each["statements"] for each in given] == [f"1 reproduced, {len(about) - 1} not reproduced", ""]


def test_other_peoples_words_stay_words():
    found = of_few("gru-torch-2x32")
    run = replace(found.configurations[0].runs[0], texts=(("p", "</script><b>"),))
    row = replace(found.configurations[0].reported, id="<b>$</b>")
    html = explorer_html(replace(found, configurations=(replace(found.configurations[0], reported=row, runs=(run,)),)))
    assert "<b>$" not in html
    assert "</script><b>" not in html
    assert data_of(html)[0]["text"] == "seed 0 writes “</script><b>”"


def test_without_trainings_there_is_nothing_to_explore():
    assert explorer_html(reproduction(ends={})) == ""
