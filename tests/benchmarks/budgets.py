"""What choosing has cost: trainings and CPU hours by what was chosen, and what a further trial would bring.

    python -m tests.benchmarks.budgets

Prints the table of results.md, and draws docs/trials-NAME.png for trials that were drawn at random: the expected
validation perplexity of the best of k (Dodge et al. 2019, arXiv:1909.03004, section 3), for all k up to their number.
"""

import sys
from collections.abc import Iterable, Sequence
from math import exp, log
from statistics import fmean

from pipeline.pages.plotting import VAL, add_axes, new_figure, png, whole_numbers
from pipeline.support.markdown import markdown_table
from tests.figures import DOCS, read_csv

HEADS = "chosen", "trainings", "CPU h", "by validation perplexity on", "rows"
Row = dict[str, str]
SURFACES = "../../tests/known_cost/benchmarks/data/"


def expected_best(values: Sequence[float]) -> list[float]:
    """The expected lowest of k values drawn from these n with replacement, for k = 1 to n."""
    ascending, n = sorted(values), len(values)
    at_least = [(n - i) / n for i in range(n + 1)]  # the probability of a value from the i-th lowest on
    return [
        sum(value * (at_least[i] ** k - at_least[i + 1] ** k) for i, value in enumerate(ascending))
        for k in range(1, n + 1)
    ]


def scores(rows: Iterable[Row], key: str) -> list[float]:
    """The geometric means over a trial's texts (and presets) of validation perplexity."""
    logs: dict[str, list[float]] = {}
    for row in rows:
        logs.setdefault(row[key], []).append(log(float(row["val_perplexity"])))
    return [exp(fmean(each)) for each in logs.values()]


def drawn_trials() -> dict[str, tuple[str, list[float]]]:
    """What a trial was, and the scores of those that were drawn, by the name of the picture."""
    counting, words = (
        [row for row in read_csv(f"{name}_trials.csv") if row["is_drawn"] == "1"] for name in ("counting", "word")
    )
    network = [
        row
        for row in read_csv("recipe_trainings.csv")
        if row["stage"] == "screen" and row["candidate"] in ("3", "4", "5", "6")
    ]
    gate = "a trial: one gate, one seed, 2 to 12 passes, on each of seven texts"
    return {
        "counting": (f"N-grams\n{gate}", scores(counting, "trial")),
        "words": (f"N-grams with word and skip contexts\n{gate}", scores(words, "trial")),
        "network": (
            "Network\na trial: the default and 20 passes of best,\none seed, on each of three texts",
            scores(network, "candidate"),
        ),
    }


def picture(title: str, values: Sequence[float]) -> bytes:
    figure = new_figure(6, 3.5)
    axes = add_axes(figure, title)
    axes.plot(range(1, len(values) + 1), expected_best(values), "o-", color=VAL, markersize=3)
    axes.set(xlabel="trials", ylabel="expected validation perplexity")
    whole_numbers(axes)
    return png(figure)


def network_trainings() -> tuple[list[Row], list[Row], list[Row]]:
    """Those by which recipe 7 was chosen, those of recipe 6 on the same texts, and its guards and checks."""
    recipe = read_csv("recipe_trainings.csv")
    chosen = [row for row in recipe if row["stage"] in ("screen", "second")]
    compared = [row for row in recipe if row["stage"] == "before" and row["options"] == "{}"]
    checks = [row for row in recipe if row not in chosen and row not in compared]
    return chosen, compared, checks


def times_the_hours_of_counting() -> tuple[float, float, float]:
    """The networks' CPU hours for recipe 7 by those of the n-grams: alone, with checks, and with recipe 6, too."""
    chosen, compared, checks = network_trainings()
    counting = cpu_seconds([*read_csv("counting_trials.csv"), *read_csv("counting_trials_last_character.csv")])
    alone, with_checks = cpu_seconds(chosen), cpu_seconds([*chosen, *checks])
    return alone / counting, with_checks / counting, (with_checks + cpu_seconds(compared)) / counting


def rows() -> list[tuple[str, ...]]:
    """The rows of the table of results.md."""
    chosen, compared, checks = network_trainings()
    runs, shares = read_csv("runs.csv"), read_csv("counting_loss.csv")
    books = {"time-machine": "The Time Machine", "tiny-shakespeare": "Tiny Shakespeare"}
    of_shares = "; ".join(books[text] for text in dict.fromkeys(row["text"] for row in shares))
    earlier = [row for row in runs if row["recipe"] == "5"]
    rivals = [row for row in read_csv("rivals.csv") if row["model"] != "default" and not float(row["test_perplexity"])]
    surfaces = [*read_csv(f"{SURFACES}trainings.csv"), *read_csv(f"{SURFACES}trainings_python_docs.csv")]
    seven, book = "seven tuning texts", books["time-machine"]
    tables = [
        ("network: rates, clip, dropout of recipe 7", chosen, seven, "recipe_trainings.csv"),
        ("network: recipe 6 on the same texts", compared, seven, "recipe_trainings.csv"),
        ("network: guards and checks of recipe 7", checks, "these, two guards, three others", "recipe_trainings.csv"),
        ("network: counting_loss and dropout", shares, of_shares, "counting_loss.csv"),
        ("network: options of recipe 5, most not adopted", earlier, book, "runs.csv"),
        ("n-grams: training of the gate", read_csv("counting_trials.csv"), seven, "counting_trials.csv"),
        (
            "n-grams: the same, with the last character",
            read_csv("counting_trials_last_character.csv"),
            seven,
            "counting_trials_last_character.csv",
        ),
        ("n-grams with word and skip contexts", read_csv("word_trials.csv"), seven, "word_trials.csv"),
        ("transformer and minGRU", rivals, f"{book}; the French Reference", "rivals.csv"),
        ("sampler: surfaces of recorded trainings", surfaces, f"{book}; python-docs", "trainings*.csv"),
    ]
    return [(what, str(len(each)), hours(each), text, file) for what, each, text, file in tables]


def hours(trainings: Sequence[Row]) -> str:
    seconds = cpu_seconds(trainings)
    return f"{seconds / 3600:.1f}" if seconds else "not recorded"


def cpu_seconds(trainings: Sequence[Row]) -> float:
    return sum(float(row["cpu_seconds"]) for row in trainings if row.get("cpu_seconds"))


if __name__ == "__main__":
    for name, (title, values) in drawn_trials().items():
        (DOCS / f"trials-{name}.png").write_bytes(picture(title, values))
    sys.stdout.write(f"{markdown_table(HEADS, rows())}\n")
