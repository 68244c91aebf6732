"""Summarise a search: the text that the command prints, and the description of its run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent

from pipeline.config import COSTS, SearchConfig
from pipeline.results import (
    MEMBER_COLUMNS,
    RIVAL_COLUMNS,
    RIVAL_HEADS,
    SearchResult,
    member_cells,
    pick_sentences,
    picks_and_rivals,
)
from pipeline.search.front import DEFAULT_SPREAD, FrontEstimate, FrontPoint, Pick, hypervolume_by_trial
from pipeline.search.study.trials import SearchStudy
from pipeline.support.markdown import markdown_table, plain, text_block, text_table
from pipeline.support.terminal import wrapped
from pipeline.support.wording import counted
from pipeline.text.ngrams import baselines_of
from pipeline.training.sentences import at_a_glance

SHORT_HEADS = [column.narrow for column in RIVAL_COLUMNS.values()]
PATIENCE = 10  # trials without a better one, after which a remark says so
NO_FRONT = "No trial has finished, so there is no front."


@dataclass(frozen=True)
class SearchRun:
    """A finished search: its run, its options, what it has found, and its recorded result.

    ``counts`` are those of ``Results.counts``: {"trials": 40, "cut_short": 0, "failed": 2, ...}. ``remarks`` are
    sentences about the search as a whole, ``registered`` has the alias of each pick.
    """

    run_id: str
    config: SearchConfig
    evaluated: FrontEstimate = field(repr=False)
    picks: Mapping[str, Pick] = field(repr=False)
    registered: Mapping[str, str] = field(repr=False)
    counts: Mapping[str, int]
    remarks: Sequence[str] = field(repr=False)
    result: SearchResult = field(repr=False)
    page: str = ""  # the path or address of its page


def remarks(study: SearchStudy, evaluated: FrontEstimate) -> list[str]:
    """Sentences about the search as a whole: its limit of perplexity, and whether it still gets better."""
    found, areas = list[str](), hypervolume_by_trial(study.results.plotted_trials(), evaluated.reference)
    if evaluated.reference[0] > study.problem.max_perplexity:
        limit = "--max-perplexity" if study.config.max_perplexity else "the 3-gram's"
        reached = f"perplexity {study.problem.max_perplexity:.3g} ({limit})"
        found.append(f"No configuration reaches {reached}, so this is the front of all.")
    ngram, front = baselines_of(study.corpus, study.config.preset)["val"].ngram, evaluated.front
    if front and min(point.val.mean for point in front) >= 2**ngram.bits_per_char:
        found.append(f"No configuration beats the n-gram model ({2**ngram.bits_per_char:.3f}).")
    if len(areas) > PATIENCE and areas[-1] == areas[-1 - PATIENCE]:
        found.append(f"The last {PATIENCE} trials have found nothing better.")
    return found


def _counted(counts: Mapping[str, int]) -> str:
    """Format counts as "40 trials, 2 failed"; zeros after the first are left out."""
    labels = {name: name.replace("_", " ").removesuffix("s" if n == 1 else "") for name, n in counts.items()}
    return ", ".join(f"{n:,} {labels[name]}" for i, (name, n) in enumerate(counts.items()) if n or not i)


def _front_row(point: FrontPoint) -> tuple[str, ...]:
    """The cells of a member, with its intervals, in the order of MEMBER_COLUMNS."""
    means = {"val_perplexity": str(point.val), "test_perplexity": str(point.test or ""), "run_ids": str(point.seeds)}
    return tuple((member_cells(point.member) | means).values())


def _facts(evaluated: FrontEstimate) -> list[str]:
    """Sentences on how intervals are computed, and on the hypervolume."""
    spread = "No configuration was trained with a second seed, so there is no interval."
    deviation, degrees = evaluated.spread
    if deviation is not None:
        source = "is pooled over all that have several"
        if evaluated.spread == DEFAULT_SPREAD:
            source = "is that of the default network, whose interval is wider than by the seeds of this search"
        spread = (
            "± is half of the 95 % prediction interval: one more training, with another seed, is expected within it. "
            f"Its spread among seeds ({100 * deviation:.2g} % of perplexity, {counted(degrees, 'degree')} of freedom) "
            f"{source}."
        )
    (perplexity, cost), axis = evaluated.reference, evaluated.axis
    hypervolume = (
        f"Hypervolume {evaluated.hypervolume:.2f}, in perplexity times decades of {axis.short} within perplexity "
        f"{perplexity:.4g} and {cost:,.0f} {axis.name}."
    )
    stored = any(point.candidate.ngram_numbers for point in evaluated.front) and axis is COSTS["macs"]
    uncounted = ["MACs do not show the memory of the n-grams that a model on top of them stores."] if stored else []
    return [spread, *uncounted, hypervolume]


def search_note(found: SearchRun, name_of: Callable[[FrontPoint], str], sample: str, command: str) -> str:
    """The best model, the sample that ``command`` writes, picks, front and counts as Markdown.

    ``name_of`` gives the name of a member of the front, as Markdown.
    """
    front, registered, counts = found.evaluated.front, found.registered, f"{_counted(found.counts)}."
    if not front:
        return f"{NO_FRONT}\n\n{counts}"
    heads = [column.head for column in MEMBER_COLUMNS.values()]
    table = markdown_table(heads, [(name_of(point), *_front_row(point)[1:]) for point in front])
    picks = [
        f"- {', '.join(f'`@{registered[name]}`' for name in names)}: {plain(sentence)}"
        for names, sentence in pick_sentences(found.result["picks"])
    ]
    first = at_a_glance(plain(found.picks["best"].sentence), sample, command)
    rest = " ".join((*found.remarks, *_facts(found.evaluated)))
    rivals = markdown_table(RIVAL_HEADS, [tuple(map(plain, row)) for row in picks_and_rivals(found.result["compared"])])
    return "\n\n".join([first, rivals, "\n".join(picks), text_block(sample), table, rest, counts])


def search_table(name: str, found: SearchRun, commands: Mapping[str, str], link: str, is_quick: bool) -> str:
    """The text that `tmlm search` prints at its end: the front, the picks with their rivals, commands, and a link.

    ``commands`` maps what a command does with the picks to the command. A quick search has no second seeds and too few
    trials to compare fronts: nothing is said of intervals and hypervolumes.
    """
    rivals = text_table(SHORT_HEADS, picks_and_rivals(found.result["compared"]), left=(0, 1))
    parts = (_counted(found.counts), rivals, text_table((), commands.items(), left=(0, 1)), link)
    tail = "\n\n".join(indent(part, "  ") for part in parts if part)
    if not found.evaluated.front:
        return f"{name}\n\n  {NO_FRONT}\n{tail}"
    heads = [column.narrow for column in MEMBER_COLUMNS.values()]
    table = indent(text_table(heads, map(_front_row, found.evaluated.front)), "  ")
    sentences = [
        f"{', '.join(f'@{found.registered[name]}' for name in names)}: {sentence}"
        for names, sentence in pick_sentences(found.result["picks"])
    ]
    sentences += found.remarks
    if not is_quick:
        sentences += _facts(found.evaluated)
    text = "\n".join(wrapped(line, "  ", "    ") for line in sentences)
    return f"{name}\n\n{table}\n\n{text}\n{tail}"
