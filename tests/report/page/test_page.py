"""The page: it has what was recorded and nothing else, in one file, and other people's words stay words."""

import re
import struct
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from math import exp, log, sqrt
from statistics import fmean, stdev

import pytest

from pipeline.report.checks import Check
from pipeline.report.claims.findings import Outcome
from pipeline.report.claims.verdicts import Correction, Explanation, Verdict
from pipeline.report.page.page import Pages, pages, write
from pipeline.report.page.sheets import NOTHING
from pipeline.report.reproduction import Configuration, PromptInText, RecordedTraining, Reproduction
from pipeline.report.table import claims, read_table, report_table
from pipeline.support import plotting
from tests.report.reproductions import ENDS, reproduction, training

OUTCOMES: tuple[Outcome, ...] = ("holds", "does not hold", "can't be judged")
VERDICTS = [
    Verdict(claim, OUTCOMES[min(number % 4, 2)], f"because of number {number}") for number, claim in enumerate(claims())
]  # 9, 9 and 18
CORRECTIONS = [Correction(n, f"error {n}", f"said {n}", f"found {n}", f"instead {n}") for n in range(1, 13)]
EXPLANATIONS = [Explanation("Why eight layers did not train", "They know letter frequencies & nothing else.")]
CHECKS = [
    Check("1", True, "the RNN has 20,224 parameters", "rnn-torch-1x128"),
    Check("2", None, "the GRU has another's: a known error", "gru-torch-1x128"),
    Check("3", True, "training is in its band", "gru-torch-2x32", "train", (5, 10, 100), 100),
    Check("4", False, "validation is outside of it", "gru-torch-2x32", "val", (5, 10, 100), 100),
    Check("5", None, "d2l has none of it", "gru-scratch-1x1024", "val", (), 50),
]
VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = """<b onclick='x()'>|`*_&"$1$</b>"""


class Page(HTMLParser):
    """An HTML page as its tags, its text by section, and the rows of its tables; it fails on a tag left open."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section, self.texts = "", {"": ""}
        self.rows: list[tuple[str, list[str]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
            self.texts[self.section] = ""
        if tag == "tr":
            self.rows.append((self.section, []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts[self.section] += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][1][-1] += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, section: str, head: str) -> list[str]:
        """The cells of a row, the first row of its name."""
        return next(cells for where, cells in self.rows if where == section and cells[0].split()[:1] == [head])


@cache
def full() -> Pages:
    return pages(reproduction(), VERDICTS, CORRECTIONS, EXPLANATIONS, CHECKS)


@cache
def page() -> Page:
    return Page(full().html)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Pictures are made, which says that they can be, but drawn only for the page of all."""
    full()
    monkeypatch.setattr(plotting, "png", lambda figure, shades: b"")


def of_few(*ids: str, **changes) -> Reproduction:
    """A reproduction of these configurations alone, which is drawn in no time."""
    found = reproduction(**changes)
    return replace(found, configurations=tuple(found[id] for id in ids))


def cut(run: RecordedTraining, epochs: int) -> RecordedTraining:
    """The training as it was after so many epochs."""
    curves = {name: getattr(run, name)[:epochs] for name in ("train", "val", "train_pooled", "val_pooled")}
    return replace(run, status="KILLED", texts=(), test_perplexity=None, **curves)


def with_runs(found: Reproduction, id: str, runs: tuple[RecordedTraining, ...]) -> Reproduction:
    changed = [replace(each, runs=runs) if each.id == id else each for each in found.configurations]
    return replace(found, configurations=tuple(changed))


# --- one file, whole and closed --------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself():
    assert not page().all("script") + page().all("link") + page().all("iframe")
    assert all((image["src"] or "").startswith("data:image/png;base64,iVBOR") for image in page().all("img"))
    assert not re.search(r"@import|url\(|\son\w+=|javascript:", full().html)
    policy = page().all("meta")[-1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_a_page_of_all_configurations_is_small():
    assert len(reproduction().configurations) == 17
    assert len(full().html.encode()) < 2_500_000
    assert len(full().markdown.encode()) < 100_000
    assert sum(map(len, full().figures.values())) < 1_000_000


def test_the_contents_lead_to_every_section_and_each_link_to_an_anchor():
    anchors = {attributes["id"] for _, attributes in page().tags if "id" in attributes}
    links = [link["href"] or "" for link in page().all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    assert {section["id"] for section in page().all("section")} <= {link[1:] for link in links}


def test_tables_have_captions_and_their_heads_scopes_and_figures_have_words():
    assert len(page().all("caption")) == len(page().all("table"))
    assert {head.get("scope") for head in page().all("th")} == {"col", "colgroup", "row"}
    assert len(page().all("figcaption")) == len(page().all("figure")) == 17 + 5
    assert all(len(image["alt"] or "") > 40 for image in page().all("img"))


def test_the_rows_of_a_table_are_as_wide_as_its_heads():
    columns = {"perplexity": 15, "cost": 13, "verdicts": 3, "corrections": 4, "baselines": 3, "checks": 6}
    for section, width in columns.items():
        widths = Counter(len(cells) for where, cells in page().rows if where == section)
        assert widths.most_common(1)[0][0] == width
        assert len(widths) <= 2  # and the groups over the heads
    for line in full().markdown.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_the_figures_of_the_markdown_are_those_on_disk(tmp_path):
    write(full(), tmp_path)
    shown = re.findall(r"\]\((figures/[^)]*)\)", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("figures/*"))
    assert len(shown) == 22
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == full().html
    for name in shown:
        png = (tmp_path / name).read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        assert png.startswith(b"\x89PNG")
        assert width > 500
        assert height > 300
        assert 5_000 < len(png) < 70_000, name


# --- what it says ----------------------------------------------------------------------------------------------------


def test_every_configuration_has_its_rows_and_its_figure():
    for row in report_table().rows:
        for section in ("perplexity", "cost", "texts"):
            assert page().row(section, row.id)
        assert f"figures/{row.id}.png" in full().figures
        assert full().markdown.count(f"| {row.id} ") == 4  # in the table of checks too


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


def test_the_summary_counts_what_was_measured():
    words = page().texts["summary"]
    assert "17 of 17 configurations were trained for all their epochs." in words
    assert "6.58 (gru-torch-2x32, epoch 85)" in words
    assert "none of the 17 networks is better than a 4-gram" in words
    assert "Of 36 claims, 9 hold, 9 do not hold, 18 can't be judged" in words
    assert (
        "lstm-torch-1x128, which ends at 2.07 in training and at 10.03 in validation, after 7.27 at epoch 66" in words
    )
    assert "by validation (gru-1x32, 3.72) has a perplexity of 3.81 on held-out test text, behind a Kneser-Ney" in words


def test_another_number_makes_another_page(monkeypatch):
    monkeypatch.undo()  # pictures count
    ends = {"gru-torch-2x32": ENDS["gru-torch-2x32"]}
    found = of_few("gru-torch-2x32", seeds=1, ends=ends)
    better = of_few("gru-torch-2x32", seeds=1, ends={"gru-torch-2x32": (4.1, 4.5)})
    before, after = pages(found), pages(better)
    for one, other in ((before.html, after.html), (before.markdown, after.markdown)):
        assert one != other
        assert "so that none of the 1 networks is" in one
        assert "so that 1 of the 1 networks is better than a 4-gram" in other
    assert before.figures["figures/gru-torch-2x32.png"] != after.figures["figures/gru-torch-2x32.png"]
    assert pages(found) == before


def test_verdicts_have_a_sign_and_a_word_and_the_number_that_decides():
    for section, text in (("html", page().texts["verdicts"]), ("markdown", full().markdown)):
        assert "9 hold, 9 do not hold, 18 can't be judged" in text, section
        for words in ("✓ holds", "✗ does not hold", "? can't be judged", "because of number 35"):
            assert words in text, section
    kinds = Counter(cell.get("class") for cell in page().all("td"))
    assert (kinds["verdict holds"], kinds["verdict fails"], kinds["verdict open"]) == (9, 9, 18)


def test_corrections_explanations_checks_and_baselines_are_there():
    for text in ("".join(page().texts.values()), full().markdown):
        for words in ("error 12", "instead 12", "Why eight layers did not train", "Kneser-Ney 6-gram", "outside of it",
                      "validation text, character 13,823", "an example", "Dive into Deep Learning"):  # fmt: skip
            assert words in text


def test_reported_strings_stand_over_ours_under_what_the_text_says():
    rows = [cells for section, cells in page().rows if section == "texts"]
    assert rows[1][2].startswith(" it has happened before the")
    at = next(i for i, cells in enumerate(rows) if cells[0].split()[0] == "gru-torch-1x128")
    assert [cell.strip() for cell in rows[at][1:3]] == ["as reported", "it hass to the the time tr"]
    assert [cell.strip() for cell in rows[at + 1][:2]] == ["reproduced, seed 0", "it has the the the the the"]


def test_the_best_of_the_stream_preset_is_chosen_by_validation_and_its_test_perplexity_told():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32", seeds=1)
    figures = {"gru-torch-2x32": (9.0, 3.5), "lstm-torch-2x32": (3.0, 3.9)}
    for id, (val, test) in figures.items():
        stream = tuple(replace(run, val=(val,) * 26, test_perplexity=test) for run in found[id].stream)
        changed = [replace(each, stream=stream) if each.id == id else each for each in found.configurations]
        found = replace(found, configurations=tuple(changed))
    words = Page(pages(found).html).texts["summary"]
    assert "by validation (lstm-2x32, 3.00) has a perplexity of 3.90 on held-out test text, behind" in words
    assert "3.50" not in words


def test_the_page_opens_with_what_the_report_is_and_what_is_measured():
    top = page().texts[""]
    for words in ("is a coursework report of 2023", "28 is a blind guess", "multiply-accumulate operations"):
        assert words in top
        assert words in full().markdown.partition("## Summary")[0]


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


def test_the_commands_stand_as_they_are_typed_in_both_pages():
    commands = ("mlflow run . -P 'only=*x8,<b>`*_x`'", "mlflow run . -P seeds=3")
    both = pages(replace(of_few("gru-torch-2x32", seeds=1), commands=commands))
    (made,) = [text for name, text in Page(both.html).texts.items() if name == "made"]
    assert "To repeat it:\n" + "\n".join(commands) in made
    assert not Page(both.html).all("b")
    assert "\n\n" + "".join(f"    {command}\n" for command in commands) + "\n" in both.markdown


def test_parentheses_need_no_escape_in_markdown():
    assert "\\(" not in full().markdown
    assert "\\)" not in full().markdown


def test_the_console_and_the_page_say_the_same_of_a_mean():
    """17.535 of a single seed is 17.54 or 17.53 by how its mean is taken."""
    found = of_few("gru-torch-2x32", seeds=1)
    (run,) = found.configurations[0].runs
    found = with_runs(found, "gru-torch-2x32", (replace(run, train=(*run.train[:-1], 17.535)),))
    shown = f"{found.configurations[0].mean_curve('train')[-1]:.2f}"
    assert Page(pages(found).html).row("perplexity", "gru-torch-2x32")[6].split() == [shown]


# --- texts -----------------------------------------------------------------------------------------------------------


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


# --- what is missing -------------------------------------------------------------------------------------------------


def test_what_was_not_run_or_not_finished_says_so_everywhere():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32", "rnn-torch-1x128", seeds=2)
    found = with_runs(found, "lstm-torch-2x32", (cut(found["lstm-torch-2x32"].runs[0], 12),))
    found = with_runs(found, "rnn-torch-1x128", ())
    both = pages(found)
    html = Page(both.html)
    assert (
        "1 of 3 configurations were trained for all their epochs; lstm-torch-2x32 was trained for 12 of 100 epochs; "
        "rnn-torch-1x128 was not run." in (html.texts["summary"])
    )
    assert html.row("perplexity", "lstm-torch-2x32")[3].split() == ["1", "seed", "12", "of", "100", "epochs"]
    assert (
        html.row("perplexity", "lstm-torch-2x32")[12].strip() == NOTHING
    )  # no figure to be printed in the report's place
    assert html.row("perplexity", "rnn-torch-1x128")[3:5] == [" not run", f" {NOTHING}"]
    assert "Incomplete: lstm-torch-2x32 (12 of 100 epochs)" in html.texts["questions"]
    assert "rnn-torch-1x128: not run" in html.texts["configurations"]
    for words in ("12 of 100 epochs", "not run"):
        assert both.markdown.count(words) >= 4


def test_what_its_time_cut_short_is_said_in_a_sentence_and_has_no_rank(monkeypatch):
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "pipeline.report.page.figures._page_labels",
        lambda axes, x, y: drawn.append([label.get_text() for label in axes.get_yticklabels()]),
    )
    ids = ("gru-scratch-1x8", "gru-scratch-1x32", "gru-scratch-1x1024")
    found = of_few(*ids, seeds=1)
    short = replace(cut(found[ids[2]].runs[0], 2), val=(1.5, 1.4), stopped="--max-seconds 150")
    both = pages(with_runs(found, ids[2], (short,)))
    html = Page(both.html)
    assert (
        "2 of 3 configurations were trained for all their epochs; gru-scratch-1x1024 was stopped after 2 of 50 epochs "
        "(--max-seconds 150)." in html.texts["summary"]
    )
    best = {id: min(found[id].runs[0].val) for id in ids}
    assert (
        f"Best validation perplexity: gru-scratch-1x32 {best[ids[1]]:.2f} and gru-scratch-1x8 {best[ids[0]]:.2f}. "
        "Incomplete: gru-scratch-1x1024 (2 of 50 epochs, stopped by --max-seconds 150)."
    ) in html.texts["questions"]
    assert ["GRU 1x8", "GRU 1x32", "GRU 1x1024\n(2 of 50 epochs)"] in drawn
    assert "training is at" in html.texts["configurations"]


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_that_has_just_begun_is_no_error(epochs):
    found = of_few("gru-torch-2x32", seeds=1)
    found = with_runs(found, "gru-torch-2x32", (cut(found.configurations[0].runs[0], epochs),))
    assert f"{epochs} of 100 epochs" in pages(found).markdown


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


def test_nothing_recorded_is_a_page_too():
    found = reproduction(ends={})
    empty = pages(replace(found, configurations=found.configurations[:2]))
    assert "Nothing has been trained" in Page(empty.html).texts[""]


def test_a_quick_check_is_said_to_be_none_in_every_place():
    found = replace(of_few("gru-torch-2x32", seeds=1), quick=True)
    run = replace(cut(found.configurations[0].runs[0], 3), epochs_planned=3)
    both = pages(with_runs(found, "gru-torch-2x32", (run,)))
    words = "quick check of 3 epochs: no reproduction"
    html = Page(both.html)
    assert f"<title>A {words}" in both.html
    assert words in html.texts[""]
    assert any(paragraph.get("class") == "banner" for paragraph in html.all("p"))
    assert all(words in (image["alt"] or "") for image in html.all("img"))
    assert both.markdown.startswith(f"# A {words}")
    assert html.texts["questions"].count(words) == 2
    assert html.row("perplexity", "gru-torch-2x32")[12].strip() == NOTHING


def test_a_quick_check_is_said_in_the_title_of_every_figure(monkeypatch):
    titles: list[str] = []

    def keep(*arguments: object) -> bytes:
        titles.append(str(arguments[-1]))
        return b""

    monkeypatch.setattr("pipeline.report.page.page.training_curves", keep)
    pages(replace(of_few("gru-torch-2x32", "lstm-torch-2x32", seeds=1), quick=True))
    assert len(titles) == 2
    assert all("quick check of 100 epochs: no reproduction" in title for title in titles)


def test_other_epochs_than_the_protocols_are_said_first():
    found = of_few("gru-torch-2x32", seeds=1)
    run = replace(cut(found.configurations[0].runs[0], 10), epochs_planned=10)
    both = pages(with_runs(found, "gru-torch-2x32", (run,)))
    assert "trained for 10 epochs, where the protocol has 100" in Page(both.html).texts[""]
    assert not [p for p in page().all("p") if p.get("class") == "banner"]


# --- other people's tables -------------------------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path):
    """A table of someone else's, in which everything that can be words is hostile; its first row was trained."""
    path = tmp_path / "theirs.csv"
    quoted = HOSTILE.replace('"', '""')
    path.write_text(
        "id,implementation,cell,num_layers,hidden_size,perplexity_end,params_reported,gap_as_reported,sample_it_has\n"
        f'"{quoted}",torch,gru,1,16,6,1 k,"{quoted}","{quoted}"\n'
        "../../etc,torch,lstm,1,16,,,,\n..\\..\\etc,scratch,gru,1,4,,,,\n"
    )
    table = read_table(path, HOSTILE)
    found = reproduction(seeds=1, table=table, ends={HOSTILE: (5.0, 6.0)})
    return replace(found, environment={HOSTILE: HOSTILE}, link="http://localhost/?a=1&b=<2>")


def test_another_table_has_no_claims_and_one_comparison(other):
    both = pages(other)
    html = Page(both.html)
    assert not {"verdicts", "corrections", "explanations", "checks"} & set(html.texts)
    assert len(both.figures) == 1 + 3
    assert "All configurations compared" in html.texts["questions"]
    assert "0 of 1 reported size (parameters, MACs)" in html.texts["summary"]
    assert "read off prose" not in html.texts["perplexity"]
    assert "it corrects nothing that was measured under another one" in html.texts["perplexity"]
    assert "what should stand in the place" not in html.texts["perplexity"]
    assert "Corrected" not in html.texts["perplexity"]


def test_words_of_a_table_stay_words_in_html(other):
    html = Page(pages(other).html)
    assert not html.all("b")
    assert HOSTILE in html.texts["configurations"]
    assert html.rows[2][1][0].split() == HOSTILE.split()
    assert html.texts["made"].count(HOSTILE) == 2
    assert {"href": "http://localhost/?a=1&b=<2>"} in html.all("a")


def test_words_of_a_table_stay_words_in_markdown(other):
    markdown = pages(other).markdown
    written = r"""\<b onclick='x()'\>\|\`\*\_\&"\$1\$\</b\>"""
    assert HOSTILE not in markdown
    assert markdown.count(written) >= 8
    rest = markdown.replace(written, "")
    assert "<b" not in rest
    assert "x()" not in rest


def test_figures_of_a_table_stay_in_their_folder_and_apart(other, tmp_path):
    both = pages(other)
    assert len(set(map(str.lower, both.figures))) == 4
    assert all(re.fullmatch(r"figures/[\w-]+\.png", name) for name in both.figures)
    write(both, tmp_path / "page")
    assert len(list((tmp_path / "page" / "figures").iterdir())) == 4
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"figures", "report.html", "report.md"}


def test_a_configuration_is_shown_by_its_whole_trainings_or_else_the_furthest():
    row = report_table().rows[0]
    ran = [training(row, 5.7, 6.7, seed) for seed in range(3)]
    complexity = reproduction().configurations[0].complexity
    cases = {
        "": (ran[0], ran[1]),
        "not run": (),
        "0 of 50 epochs": (cut(ran[0], 0),),
        "12 of 50 epochs": (cut(ran[0], 12), cut(ran[1], 3)),
        "2 of 3 seeds": (ran[0], ran[1], cut(ran[2], 49)),
        "7 of 50 epochs, stopped by --max-seconds 150": (replace(cut(ran[0], 7), stopped="--max-seconds 150"),),
    }
    shown = {"": 2, "not run": 0, "0 of 50 epochs": 0, "12 of 50 epochs": 1, "2 of 3 seeds": 2}
    for state, runs in cases.items():
        configuration = Configuration(row, complexity, runs)
        assert configuration.state == state
        assert len(configuration.furthest) == shown.get(state, 1)
