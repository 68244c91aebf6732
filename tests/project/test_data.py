"""The measured figures in the tables of README and docs are those of docs/data.

A row of a table names its data: ``command`` trainings in runs.csv, ``model`` an n-gram model in ngrams.csv, ``text`` a
row of texts.csv. The heading of a column says what is computed from them. A row that was measured elsewhere has ¹.
Trainings are of RECIPE, but for those of changes that did not help.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import log, log2
from pathlib import Path
from statistics import fmean, stdev

import pytest
from scipy.special import stdtr

from pipeline.results import picks_and_rivals
from pipeline.search.front import evaluate_front, picks
from pipeline.support.statistics import Spread
from pipeline.training.differences import NO_SEEDS, SEED_SPREADS, percent
from tests import fault_cells, fault_matrix
from tests.benchmarks import budgets, texts
from tests.benchmarks.claims import (
    DRAWN,
    FURTHER,
    HELD_OUT,
    KINDS,
    SYSTEMS,
    TEXTS,
    bits_by_seed,
    cell,
    comparison,
    difference_rows,
    ends,
    is_better,
    mean_differences,
    of_drawn,
    p_values,
    perplexity_rows,
    pooled,
    population,
    rival_rows,
    signed,
    summary_rows,
    verdict,
)
from tests.benchmarks.tune_recipe import recipe_table
from tests.figures import DOCS, candidates, read_csv, read_json

Row = dict[str, str]
Figure = Callable[[Sequence[Row]], str]

DOCUMENTS = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
TRAININGS, NGRAMS, SPEED = (read_csv(f"{name}.csv") for name in ("runs", "ngrams", "speed"))
RECIPE = 7  # of the figures in the documents
RUNS, EARLIER = ([row for row in TRAININGS if row["recipe"] == recipe] for recipe in (str(RECIPE), "5"))
COUNTING = read_csv("counting_loss.csv")
ANSWER = read_json("answer.json")
BENCH = {row["what"].strip(): row for row in read_json("bench.json")["rows"]}


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
    "adaptive, test": mean("adaptive_test_perplexity"),
    "adaptive, bits": bits("adaptive_test_perplexity"),
    "adaptive, ms": mean("adaptive_ms_per_char", ".1f"),
    "validation half": mean("val_perplexity", of=log),
    "test half": mean("test_perplexity", of=log),
    "last tenth": mean("nats"),
    "s": mean("cpu_seconds", ".3g"),
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
    found = [run for run in RUNS if run["command"] in commands and not run["change"]]
    found = found or [example for example in NGRAMS if example["model"] == row["model"]]
    found = [each for each in found if "adaptive, test" not in row or each["adaptive_test_perplexity"]]
    speed = {each["model"]: each["ms_per_char"] for each in SPEED}.get(row["model"], "")
    nats = [fmean(log(float(each[f"{split}_perplexity"])) for split in ("val", "test")) for each in found]
    return [each | {"nats": str(of_each), "ms_per_char": speed} for each, of_each in zip(found, nats, strict=True)]


@pytest.mark.parametrize("page", ["answer", "course", "on-top-of-counting", "results", "search"])
def test_pages_with_figures_say_first_of_which_recipe_they_are(page):
    assert f"recipe {RECIPE}" in (DOCS / f"{page}.md").read_text().split("\n\n")[1].replace("\n", " ")


@pytest.mark.parametrize("headings", [["validation", "test"], ["adaptive, test"], ["last tenth"]], ids=str)
def test_the_figures_of_models_are_those_of_their_runs_or_n_grams(headings):
    rows = [row for row in measured("model", *headings) if not row["model"].endswith("¹")]
    assert len(rows) > 1
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
        plain, changed = ([each for each in EARLIER if (each["command"], each["change"]) == key] for key in keys)
        seeds = {each["seed"] for each in plain} & {each["seed"] for each in changed}
        before, after = (
            fmean(values([each for each in group if each["seed"] in seeds], "val_perplexity"))
            for group in (plain, changed)
        )
        shown = [row[heading] for heading in ("seeds", "without", "with", "difference")]
        assert shown == [str(len(seeds)), f"{before:.3f}", f"{after:.3f}", f"{100 * (after / before - 1):+.1f} %"], row


def test_the_recipe_on_the_tuning_texts():
    document = (DOCS / "results.md").read_text()
    assert [row for row in recipe_table() if row not in document] == []


def test_what_is_said_of_the_texts_follows_from_their_rows():
    readme, results = (path.read_text() for path in (DOCS.parent / "README.md", DOCS / "results.md"))
    assert [row for row in map(table_line, perplexity_rows()) if row not in readme or row not in results] == []
    for rows in (difference_rows(), difference_rows(FURTHER), rival_rows(), budgets.rows()):
        assert [row for row in map(table_line, rows) if row not in results] == []
    assert [row for row in map(table_line, summary_rows()) if row not in readme] == []
    for page in (readme, results):
        assert verdict() in " ".join(page.split())
    assert of_drawn() in " ".join(results.split())
    of_best = [population("best", kind).verdict for kind in KINDS.values()]
    together = {population(system, kind).verdict for system in ("mixed", "on top") for kind in KINDS.values()}
    assert (of_best, together) == (["ahead", "open"], {"ahead"})  # as the words of the verdict say
    on_top, against_both = (DOCS / "on-top-of-counting.md").read_text(), population("on top", "mixed").over_both
    assert f"of eight {signed(against_both.mean)} % ({ends(against_both)} %)" in " ".join(on_top.split())
    assert f"Test perplexity (recipe {RECIPE})" in readme
    parts = measured("without", "Persuasion")
    assert len(parts) == 3
    for row in parts:
        for text, name in {"time-machine": "The Time Machine", "persuasion": "Persuasion"}.items():
            assert row[name] == cell(comparison(text, row["without"], "small on top", 6)), row


def test_bold_is_what_no_other_system_is_significantly_better_than():
    for text, (name, *cells) in zip(TEXTS, perplexity_rows(), strict=True):
        bold = {system for system, shown in zip(SYSTEMS, cells, strict=True) if shown.startswith("**")}
        beaten = {system for system in SYSTEMS if any(is_better(text, other, system) for other in SYSTEMS)}
        assert (name, bold) == (name, SYSTEMS.keys() - beaten)


def test_the_p_values_of_the_default_network_are_those_of_students_and_wilcoxons_tests():
    above = mean_differences("network", "n-grams", HELD_OUT)
    t = fmean(above) / (stdev(above) / len(above) ** 0.5)
    signs = [sum(rank for rank in range(1, 9) if at >> rank & 1) for at in range(0, 2**9, 2)]  # of all 256: rank sums
    ranked = sorted(above, key=abs)
    positive = sum(rank for rank, each in enumerate(ranked, 1) if each > 0)
    as_far = sum(each >= positive for each in signs)
    expected = 2 * float(stdtr(7, -t)), 2 * as_far / 256
    assert p_values(above) == pytest.approx(expected)


def test_the_texts_that_were_drawn_are_those_that_the_rule_draws():
    recorded = {(row["role"], row["package"], row["taken_by"]) for row in read_csv("texts.csv")}
    drawn = {(role, row["package"], row["taken_by"]) for role, row in texts.drawn(read_csv("candidates.csv"))}
    assert drawn <= recorded
    assert {package for role, package, _ in drawn if role == "held-out"} == {*DRAWN}
    held_out = [row["name"] for row in read_csv("texts.csv") if row["role"] == "held-out"]
    assert sorted(held_out) == sorted(HELD_OUT)


def test_what_the_networks_of_the_ladder_write():
    rows = measured("test perplexity", "command", 'what it writes after "it has", seed 0, temperature 0.7')
    recorded = read_csv("ladder.csv")
    assert [[*row.values()] for row in rows] == [
        [row["test_perplexity"], f"`{row['command']}`", row["text"].strip()] for row in recorded
    ]


def test_what_trials_and_rivals_are_said_to_bring_follows_from_their_rows():
    text = " ".join((DOCS / "results.md").read_text().split())
    curves = {name: budgets.expected_best(scores) for name, (_, scores) in budgets.drawn_trials().items()}
    gains = [f"{100 * (curve[0] / curve[-1] - 1):.2f} %" for curve in curves.values()]
    assert re.findall(r"24 trials .+? ([\d.]+ %) more .+? contexts ([\d.]+ %), .+? networks ([\d.]+ %),", text) == [
        (*gains,)
    ]
    alone, with_checks, with_recipe_6 = (f"{times:.0f}" for times in budgets.times_the_hours_of_counting())
    assert f"had {alone} times the CPU hours of the n-grams, {with_checks} with its guards" in text
    assert f"and {with_recipe_6} with the trainings by recipe 6" in text
    by_seed = percent(pooled("network", "n-grams").deviation or 0.0)
    assert f"seeds of the default network have a standard deviation of {by_seed:.1f} %" in text
    means: dict[tuple[str, str], list[float]] = {}
    for row in read_csv("rivals.csv"):
        if float(row["test_perplexity"]):
            means.setdefault((row["text"], row["model"]), []).append(float(row["test_perplexity"]))
    above = [
        100 * (fmean(each) / fmean(means[name, "default"]) - 1)
        for (name, model), each in means.items()
        if model != "default"
    ]
    assert f"they end {min(above):.0f} to {max(above):.0f} % above it on test" in text


def table_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def test_the_constant_spreads_of_seeds_are_those_of_nine_texts_and_of_the_answers_sizes():
    known = {key: pooled(*key.split(" against ")) for key in SEED_SPREADS if key.split()[0] not in ("LSTM", "n-grams")}
    known["LSTM 1x384 against n-grams"] = pooled("best", "n-grams")
    for row in ANSWER["trained"]:
        if row["family"] == "size":
            known[f"{row['name']} against n-grams"] = Spread(stdev(map(log2, row["test"])), len(row["test"]) - 1)
    rounded = {key: Spread(round(each.deviation or 0.0, 4), each.degrees_of_freedom) for key, each in known.items()}
    assert rounded == {key: each for key, each in SEED_SPREADS.items() if each != NO_SEEDS}


def test_every_system_has_as_many_seeds_as_the_documents_say():
    rows = [
        row
        for row in read_csv("systems.csv")
        if row["recipe"] == "7" and row["system"] in ("network", "best", "on top")
    ]
    seeds = Counter((row["text"], row["system"]) for row in rows)
    assert {key: number for key, number in seeds.items() if number != 3} == {
        ("time-machine", system): 5 for system in ("network", "best", "on top")
    }


def test_the_bits_of_what_else_counts():
    found = {row["model"]: row["bits"] for row in measured("model", "bits", "learns from the test text")}
    ppmd, zpaq = BENCH["1,000 characters of the test text by them"], BENCH["the same by zpaq -m5"]
    systems = {"gate": "n-grams", "word and skip": "word n-grams", "1 to 10, adaptive": "adaptive n-grams"}
    systems["both"] = "adaptive both"
    expected = {word: bits_by_seed("time-machine", system).mean() for word, system in systems.items()}
    expected |= {"PPMd": ppmd["peer"] / 1000, "zpaq": zpaq["peer"] / 1000}
    for word, bits in expected.items():
        assert [text for model, text in found.items() if word in model] == [f"{bits:.3f}"], word


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
    deviation, degrees = evaluated.spread
    assert f"spread among seeds ({100 * (deviation or 0):.2g} % of perplexity, {degrees} degrees of freedom)" in text
    for name, pick in picks(evaluated).items():
        assert pick.sentence == search["picks"][name]["sentence"]
        assert f"@search-time-machine-{name}: {pick.sentence}" in text
    for _, *shown in picks_and_rivals(search["compared"]):
        assert " ".join(filter(None, shown)) in text


def test_the_matrix_of_faults_has_every_command_that_writes_and_the_counts_of_the_data():
    cells = fault_cells.read()
    assert {command for command, _ in cells} <= {*fault_matrix.commands()}
    how = "`python -m tests.fault_matrix` writes it anew; a command that writes nothing belongs in its READERS"
    assert fault_matrix.table(cells) in fault_matrix.PAGE.read_text(), how
    assert not [key for key in cells if fault_matrix.reason(*key)]
