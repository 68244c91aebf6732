"""The measured figures in the tables of README and docs are those of docs/data.

A row of a table names its data: ``command`` trainings in runs.csv, ``model`` an n-gram model in ngrams.csv, ``text`` a
row of untouched.csv. The heading of a column says what is computed from them. A row that was measured elsewhere has ¹.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from math import log, log2
from pathlib import Path
from statistics import fmean

import pytest

from pipeline.search.front import evaluate_front, picks
from pipeline.training.summary import picks_and_rivals
from tests.figures import DOCS, candidates, read_csv, read_json

Row = dict[str, str]
Figure = Callable[[Sequence[Row]], str]

DOCUMENTS = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
RUNS, NGRAMS, SPEED, UNTOUCHED = (read_csv(f"{name}.csv") for name in ("runs", "ngrams", "speed", "untouched"))
COUNTING = read_csv("counting_loss.csv")
BENCH = {row["what"]: row for row in read_json("bench.json")["rows"]}


def tables(path: Path) -> Iterator[list[Row]]:
    """The tables of a document, as rows by heading, without bold."""
    for block in re.findall(r"(?:^\|.*\n)+", path.read_text().replace("**", ""), re.M):
        heads, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines())
        if len(set(heads)) == len(heads):
            yield [dict(zip(heads, line, strict=True)) for line in lines]


def measured(*headings: str) -> list[Row]:
    """The rows of all tables with these columns."""
    return [row for path in DOCUMENTS for table in tables(path) if {*headings} <= {*table[0]} for row in table]


def values(rows: Sequence[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row.get(column)]


def mean(column: str, form: str = ".3f", of: Callable[[float], float] = float) -> Figure:
    return lambda rows: f"{fmean(map(of, found)):{form}}" if (found := values(rows, column)) else ""


def mean_and_range(column: str) -> Figure:
    def text(rows: Sequence[Row]) -> str:
        found = values(rows, column)
        return mean(column)(rows) + (f" ({min(found):.3f} to {max(found):.3f})" if len(found) > 1 else "")

    return text


def bits(column: str) -> Figure:
    return lambda rows: f"{log2(fmean(found)):.3f}" if (found := values(rows, column)) else ""


FIGURES: dict[str, Figure] = {
    "seeds": lambda rows: str(len(rows)) if "seed" in rows[0] else "",
    "validation": mean_and_range("val_perplexity"),
    "test": mean_and_range("test_perplexity"),
    "test, bits": bits("test_perplexity"),
    "mixed, test": mean("mixture_test_perplexity"),
    "adaptive, validation": mean("adaptive_val_perplexity"),
    "adaptive, test": mean("adaptive_test_perplexity"),
    "adaptive, bits": bits("adaptive_test_perplexity"),
    "adaptive, ms": mean("adaptive_ms_per_char", ".1f"),
    "validation half": mean("val_perplexity", of=log),
    "test half": mean("test_perplexity", of=log),
    "last tenth": mean("nats"),
    "CPU s": mean("cpu_seconds", ".3g"),
    "kB": mean("shipped_bytes", ".1f", lambda each: each / 1000),
    "stored numbers": mean("stored_numbers", ",.0f"),
    "MACs": mean("macs_per_char", ",.0f"),
    "ms": mean("ms_per_char", ".2f"),
}


def data_of(row: Row) -> list[Row]:
    """The rows of the data that a row of a table names; of an adaptive table those with such a figure."""
    commands = [
        command for command in re.findall("`(.+?)`", row.get("command", "")) if command.startswith("tmlm train")
    ]
    found = [each for each in RUNS if each["command"] in commands and not each["change"]]
    found = found or [each for each in NGRAMS if each["model"] == row["model"]]
    found = [each for each in found if "adaptive, test" not in row or each["adaptive_test_perplexity"]]
    speed = {each["model"]: each["ms_per_char"] for each in SPEED}.get(row["model"], "")
    nats = [fmean(log(float(each[f"{split}_perplexity"])) for split in ("val", "test")) for each in found]
    return [each | {"nats": str(of_each), "ms_per_char": speed} for each, of_each in zip(found, nats, strict=True)]


@pytest.mark.parametrize("headings", [["validation", "test"], ["adaptive, test"], ["last tenth"]], ids=str)
def test_the_figures_of_models_are_those_of_their_runs_or_n_grams(headings):
    rows = [row for row in measured("model", *headings) if not row["model"].endswith("¹")]
    assert len(rows) > 3
    for row in rows:
        data = data_of(row)
        shown = {heading: row[heading] for heading in row if heading not in ("model", "command")}
        assert shown == {heading: FIGURES[heading](data) for heading in shown}, row["model"]


def test_the_shares_of_counting_are_means_of_their_trainings():
    rows = measured("network", "counting_loss", "mixed, test")
    assert len(rows) > 5
    for row in rows:
        cell, shape = row["network"].split(",")[0].lower().split()
        recurrent, output = row["recurrent, output dropout"].split(", ")
        key = (cell, shape.removeprefix("1x"), "", *map(float, (row["counting_loss"], recurrent, output)))
        columns = "counting_loss", "recurrent_dropout", "output_dropout"
        data = [
            each
            for each in COUNTING
            if (each["cell"], each["hidden_size"], each["change"], *(float(each[name]) for name in columns)) == key
            and (float(each["final_rate"]) == 0) == (float(each["counting_loss"]) > 0)
        ]
        assert row["seeds"] == str(len(data)), row
        for heading, column in (("validation", "validation"), ("test", "test"), ("mixed, test", "mixture_test")):
            assert row[heading] == mean(column)(data), row


def test_what_a_change_brings_is_the_difference_of_the_same_seeds():
    rows = [row for row in measured("change", "without", "with") if not row["change"].endswith("¹")]
    assert len(rows) > 20
    for row in rows:
        (command,) = re.findall("`(.+?)`", row["command"])
        options, words = re.findall("`(.+?)`", row["change"]), re.sub("`.+?`(, )?", "", row["change"])
        keys = [(command, ""), (" ".join([command, *options]), words)]
        plain, changed = ([each for each in RUNS if (each["command"], each["change"]) == key] for key in keys)
        seeds = {each["seed"] for each in plain} & {each["seed"] for each in changed}
        before, after = (
            fmean(values([each for each in group if each["seed"] in seeds], "val_perplexity"))
            for group in (plain, changed)
        )
        shown = [row[heading] for heading in ("seeds", "without", "with", "difference")]
        assert shown == [str(len(seeds)), f"{before:.3f}", f"{after:.3f}", f"{100 * (after / before - 1):+.1f} %"], row


def test_the_texts_that_no_choice_was_made_on():
    leads = []
    for row, data in zip(measured("text", "single n-gram"), UNTOUCHED, strict=True):
        figures = {name: float(value) for name, value in data.items() if re.fullmatch(r"\d+\.\d+", value)}
        single = figures["single_ngram"]

        def against(name: str, figures: dict[str, float] = figures, single: float = single) -> str:
            return f"{figures[name]:.3f} ({100 * (figures[name] / single - 1):+.1f} %)"

        assert list(row.values()) == [
            f"{data['text']}, `{data['alphabet']}`",
            f"{int(data['characters']):,}",
            f"{single:.3f}",
            f"{figures['ngrams']:.3f}",
            against("default"),
            f"{figures['both']:.3f}",
            against("on_top"),
            f"{figures['ngrams_adaptive']:.3f}",
            f"{figures['default_adaptive']:.3f}",
            against("on_top_adaptive"),
        ]
        leads.append(100 * (1 - figures["default"] / single))
    assert f"{min(leads):.1f} to {max(leads):.1f} %" in (DOCS / "results.md").read_text()


def test_the_answer_in_the_readme_holds_for_the_time_machine_and_all_of_these_texts():
    def mean_of(table: Sequence[Row], column: str, **wanted: str) -> float:
        return fmean(values([row for row in table if wanted.items() <= row.items()], column))

    plain, on_top = ({"command": f"tmlm train{words}", "change": ""} for words in ("", " --on-top-of ngram"))
    book = {
        "single_ngram": mean_of(NGRAMS, "test_perplexity", model="7-gram"),
        "ngrams": mean_of(NGRAMS, "test_perplexity", model="n-grams of orders 1 to 10"),
        "default": mean_of(RUNS, "test_perplexity", **plain),
        "on_top": mean_of(RUNS, "test_perplexity", **on_top),
        "on_top_mixed": mean_of(RUNS, "mixture_test_perplexity", **on_top),
        "default_adaptive": mean_of(RUNS, "adaptive_test_perplexity", **plain),
        "ngrams_adaptive": mean_of(NGRAMS, "test_perplexity", model="n-grams of orders 1 to 10, adaptive"),
    }
    texts = [book, *({name: float(row[name]) for name in book} for row in UNTOUCHED)]

    def ahead(first: str, second: str) -> tuple[float, float]:
        """By how many percent, at least and at most, the first has a lower perplexity than the second."""
        found = [100 * (1 - text[first] / text[second]) for text in texts]
        return min(found), max(found)

    (a, b), (d, c) = ahead("default", "single_ngram"), ahead("default", "ngrams")
    (e, f), (g, h) = ahead("on_top", "ngrams"), ahead("default_adaptive", "ngrams_adaptive")
    gain = ahead("on_top_mixed", "on_top")[1]
    readme = " ".join((DOCS.parent / "README.md").read_text().split())
    for words in (
        f"is {a:.1f} to {b:.1f} % ahead of the best single n-gram model, but {-c:.1f} to {-d:.1f} % behind [n-grams",
        f"{e:.1f} to {f:.1f} % ahead of the n-grams. It contains what they know: mixed with them once more, it gains "
        f"at most {gain:.1f} %",
        f"together they are then {g:.1f} to {h:.1f} % ahead of n-grams that do so too",
    ):
        assert words in readme, words


def test_the_sentences_of_the_answer_are_the_recorded_ones():
    text = " ".join((DOCS / "answer.md").read_text().split())
    assert all(f"- {sentence}" in text for sentence in read_json("answer.json")["sentences"].values())


def test_the_speed_beside_d2l():
    for row in measured("step, ms"):
        step, epoch = (BENCH[f"{row['model']}, {what}"] for what in ("step of 1,024 x 32", "epoch"))
        assert list(row.values())[1:] == [
            f"{step['ours']:.0f}",
            f"{step['peer']:.0f}",
            f"{epoch['ours']:.1f}",
            f"{epoch['peer']:.1f}",
            f"{epoch['ratio']:.1f}",
        ]


def test_the_scores_of_samplers_are_those_of_their_comparison():
    every = [row for table in tables(DOCS / "sampler-comparison.md") for row in table if "sampler" in row]
    scores = {(row["sampler"], row["first trials"]): row for row in reversed(every)}  # the first: one trial at a time
    for table in tables(DOCS / "known-cost-sampler.md"):
        for row in table:
            scored = scores[row["sampler"], row["first trials"]]
            assert row == {heading: scored[heading].split(" [")[0] for heading in row}


def test_the_search_in_the_documents_is_the_recorded_one():
    search, text = read_json("search.json"), " ".join((DOCS / "search.md").read_text().split())
    evaluated = evaluate_front(candidates(), (search["max_perplexity"], 1e9))
    assert [point.candidate.name for point in evaluated.front] == [member["name"] for member in search["front"]]
    for name, pick in picks(evaluated).items():
        assert pick.sentence == search["picks"][name]["sentence"]
        assert f"@search-time-machine-{name}: {pick.sentence}" in text
    for _, *shown in picks_and_rivals(search["compared"]):
        assert " ".join(filter(None, shown)) in text
