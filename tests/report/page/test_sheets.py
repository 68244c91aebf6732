"""Tables of the page: what is recorded stands in its column, and what is missing is named."""

from collections import Counter
from dataclasses import replace
from math import exp, log, sqrt
from statistics import fmean, stdev

import pytest

from pipeline.report.page.page import pages
from pipeline.report.page.sheets import NOTHING
from pipeline.report.reproduction import PromptInText, Reproduction
from pipeline.report.table import read_table, report_table
from tests.report.page.pages import CHECKS, Page, cut, full, of_few, page, with_runs
from tests.report.reproductions import reproduction

pytestmark = pytest.mark.usefixtures("undrawn")


def test_the_rows_of_a_table_are_as_wide_as_its_heads():
    columns = {"perplexity": 15, "cost": 13, "verdicts": 3, "corrections": 4, "baselines": 3, "checks": 6}
    for section, width in columns.items():
        widths = Counter(len(cells) for where, cells in page().rows if where == section)
        assert widths.most_common(1)[0][0] == width
        assert len(widths) <= 2  # and the groups over the heads
    for line in full().markdown.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_reported_reproduced_and_corrected_stand_in_one_row():
    cells = page().row("perplexity", "lstm-torch-1x128")
    runs = reproduction()["lstm-torch-1x128"].runs
    assert [cell.split()[0] for cell in cells[1:3]] == ["22", "1"]
    assert cells[6].split()[0] == "2.07"  # training, last
    assert cells[8].split()[0] == cells[12].split()[0] == "7.27"  # the best validation, which is what to print
    assert cells[12].split()[1:] == ["epoch", str(runs[0].best_epoch)]
    assert [cell.split()[0] for cell in cells[13:]] == ["3.72", "3.81"]


def test_the_interval_is_students_t_over_the_seeds_and_one_seed_has_none():
    logs = [log(run.best_val) for run in reproduction()["gru-torch-8x32"].runs]
    half = 4.302653 * stdev(logs) / sqrt(3)  # 97.5 % of Student's t with 2 degrees of freedom, of the printed tables
    low, mean, high = (f"{exp(fmean(logs) + way * half):.2f}" for way in (-1, 0, 1))
    assert page().row("perplexity", "gru-torch-8x32")[8].split() == [mean, low, "to", high]
    single = Page(pages(of_few("gru-torch-8x32", seeds=1)).html)
    assert single.row("perplexity", "gru-torch-8x32")[8].split() == ["16.92"]


def test_the_print_out_of_another_shape_is_corrected_and_the_others_agree():
    wrong = page().row("cost", "gru-torch-1x128")
    assert [cell.split() for cell in wrong[-2:]] == [
        ["60.67", "k", "✗", "not", "5.95", "k"],
        ["63.05", "✗", "not", "6.32"],
    ]
    agreeing = [
        cells[0].split()[0] for section, cells in page().rows if section == "cost" and "✓" in cells[-2] + cells[-1]
    ]
    assert sorted(agreeing) == sorted(
        row.id for row in report_table().rows if row.params and row.id != "gru-torch-1x128"
    )
    assert "16 of 18 reported sizes (parameters, MACs) are those of the shape named" in page().texts["summary"]


@pytest.mark.parametrize(
    ("printed", "agrees"),
    [("20.22 k", True), ("20k", True), ("20,224", True), ("0.02 M", True), ("20.3 k", False), ("22 k", False),
     ("20225", False), ("twenty", None)],
)  # fmt: skip
def test_a_size_is_read_in_any_unit_and_judged_to_its_last_digit(printed, agrees):
    found = of_few("rnn-torch-1x128", seeds=1)
    (only,) = found.configurations
    changed = replace(only, reported=replace(only.reported, params=printed))
    cell = Page(pages(replace(found, configurations=(changed,))).html).row("cost", "rnn-torch-1x128")[-2]
    assert ("✓" in cell, "✗" in cell) == (agrees is True, agrees is False)


def test_verdicts_have_a_sign_and_a_word_and_the_number_that_decides():
    for section, text in (("html", page().texts["verdicts"]), ("markdown", full().markdown)):
        assert "9 reproduced, 0 in part, 0 conclusion right, reason wrong, 9 not reproduced, 18 open" in text, section
        for words in ("✓ reproduced", "✗ not reproduced", "? open", "because of number 35"):
            assert words in text, section
    kinds = Counter(cell.get("class") for cell in page().all("td"))
    assert (kinds["verdict holds"], kinds["verdict fails"], kinds["verdict open"]) == (9, 9, 18)


def test_reported_strings_stand_over_ours_under_what_the_text_says():
    rows = [cells for section, cells in page().rows if section == "texts"]
    assert rows[1][2].startswith(" it has happened before the")
    at = next(i for i, cells in enumerate(rows) if cells[0].split()[0] == "gru-torch-1x128")
    assert [cell.strip() for cell in rows[at][1:3]] == ["as reported", "it hass to the the time tr"]
    assert [cell.strip() for cell in rows[at + 1][:2]] == ["reproduced, seed 0", "it has the the the the the"]


def test_a_check_that_is_met_one_that_is_not_and_one_of_nothing_are_told_apart_and_counted():
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for where, cells in page().rows if where == "checks"}
    assert rows["rnn-torch-1x128"] == ["✓ 1 met", *[NOTHING] * 4]
    assert rows["gru-torch-1x128"] == ["? 1 of a known error", *[NOTHING] * 4]
    assert rows["gru-torch-2x32"] == [NOTHING, NOTHING, "✓ 1 met", "✗ 1 not met", "5, 10 and 100 of 100"]
    assert rows["gru-scratch-1x1024"] == [*[NOTHING] * 3, "? 1 nothing to compare with", NOTHING]
    for text in (page().texts["checks"], full().markdown):
        assert "Of 3 figures 2 are as printed" in text
        assert "1 is not. 2 more: a known error of the report, or nothing" in text
        assert "for 1 up to the last epoch (gru-torch-2x32); for 1 nowhere, for want of d2l's (gru-scratch-" in text
        assert text.count("validation is outside of it") == text.count("another's: a known error") == 1
        assert "the RNN has 20,224 parameters" not in text
    met = Page(pages(of_few("rnn-torch-1x128", seeds=1), checks=CHECKS[:1]).html).texts["checks"]
    assert "Not met" not in met


def test_the_console_and_the_page_say_the_same_of_a_mean():
    """17.535 of a single seed is 17.54 or 17.53 by how its mean is taken."""
    found = of_few("gru-torch-2x32", seeds=1)
    (run,) = found.configurations[0].runs
    found = with_runs(found, "gru-torch-2x32", (replace(run, train=(*run.train[:-1], 17.535)),))
    shown = f"{found.configurations[0].mean_curve('train')[-1]:.2f}"
    assert Page(pages(found).html).row("perplexity", "gru-torch-2x32")[6].split() == [shown]


def with_texts(found: Reproduction, *texts: tuple[str, str]) -> Reproduction:
    """The only configuration's only training, having written these."""
    (each,) = found.configurations
    return replace(found, configurations=(replace(each, runs=(replace(each.runs[0], texts=texts),)),))


def test_spaces_that_would_not_be_seen_are_shown():
    found = with_texts(of_few("rnn-torch-1x128", seeds=1), ("it has", "it has" + 20 * " "), ("staring hard", "a  b c"))
    both = pages(found)
    for text in (Page(both.html).texts["texts"], both.markdown):
        assert "it has" + 20 * "␣" in text
        assert "a␣␣b c" in text
        assert "␣ is a space that would not be seen." in text
    plain = with_texts(of_few("rnn-torch-1x128", seeds=1), ("it has", "it has the time"))
    places = tuple(replace(place, continuation=" the end") for place in plain.text.prompts)
    assert "␣" not in pages(replace(plain, text=replace(plain.text, prompts=places))).markdown


def test_a_prompt_that_stands_in_the_text_twice_is_shown_where_it_stands_first():
    found = of_few("gru-torch-2x32", seeds=1)
    again = PromptInText("it has", 13_903, "validation", " no real existence ")
    shown = Page(pages(replace(found, text=replace(found.text, prompts=(*found.text.prompts, again)))).html)
    assert "character 13,823" in shown.texts["texts"]
    assert "13,903" not in shown.texts["texts"]


def test_a_prompt_that_is_not_asked_of_ours_says_so(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("id,implementation,cell,num_layers,hidden_size,sample_the_sun\na,torch,gru,1,16,the sun is up\n")
    found = reproduction(seeds=1, table=read_table(path), ends={"a": (5.0, 6.0)})
    both = pages(found)
    rows = [cells for where, cells in Page(both.html).rows if where == "texts"]
    assert rows[0][-1].strip() == "the sun"
    assert [cells[-1].split() for cells in rows[1:]] == [
        [NOTHING, "not", "looked", "for"],
        ["the", "sun", "is", "up"],
        [NOTHING, "not", "asked", "of", "ours"],
    ]
    assert "write on from “it has”, “proceeded the” and “staring hard” alone" in both.markdown


def test_seeds_that_have_not_finished_are_left_out_of_the_means():
    found = of_few("gru-torch-2x32")
    runs = found.configurations[0].runs
    some = Page(pages(with_runs(found, "gru-torch-2x32", (*runs[:2], cut(runs[2], 3)))).html)
    assert some.row("perplexity", "gru-torch-2x32")[3].split() == ["2", "seeds", "2", "of", "3", "seeds"]
    two = Page(pages(with_runs(found, "gru-torch-2x32", runs[:2])).html)
    assert some.row("perplexity", "gru-torch-2x32")[4:] == two.row("perplexity", "gru-torch-2x32")[4:]


def test_a_run_that_exploded_is_shown_without_digits():
    found = of_few("gru-torch-2x32", seeds=1)
    (run,) = found.configurations[0].runs
    exploded = replace(run, train=(float("inf"),) * run.epochs, val=(1e300,) * run.epochs, stopped="diverged")
    assert "over a million" in pages(with_runs(found, "gru-torch-2x32", (exploded,))).html
