"""Judge generated texts: whether they are equal, how near they are to the book, and whether they make sense.

Sense itself can't be measured; counted are the words that occur in the book, and those that are repeated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import NamedTuple

from pipeline.report.reproduction import TextFacts
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.table import Statement
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, Part, Verdict, Word, concluded, each_of
from pipeline.support.wording import counted, listed

Texts = Sequence[tuple[str, str]]  # prompt, text including the prompt

NO_WORDS = "the record of an earlier version lacks the words of the book"

NO_PROMPTS = "the record has none of the prompts in the book"

NEEDS_FACTS = "the same `tmlm reproduce` again, which records what is lacking of the text"

# --- measures --------------------------------------------------------------------------------------------------------


class Sense(NamedTuple):
    """Shares of generated words, averaged over texts: those that the book has, and those distinct in their text."""

    of_book: float
    distinct: float

    def reaches(self, share: float) -> bool:
        """Whether both shares are at least ``share``."""
        return min(self) >= share

    def __str__(self) -> str:
        """Format as "89 % words of the book, 80 % distinct"."""
        return f"{100 * self.of_book:.0f} % words of the book, {100 * self.distinct:.0f} % distinct"


def sense(texts: Texts, words: tuple[str, ...]) -> Sense:
    """Count words; the last word of a text may be cut off, and a text of spaces has none."""
    whole, starts = words_and_starts(words)
    shares = []
    for prompt, text in texts:
        written = text.removeprefix(prompt)
        start = "" if written.startswith(" ") else prompt.rpartition(" ")[2]  # "it hass" continues a word
        found = f"{start}{written}".split()
        last = found[-1:] if not text.endswith(" ") else []
        known = [*(word in whole for word in found[: len(found) - len(last)]), *(word in starts for word in last)]
        shares.append((fmean(known), len(set(found)) / len(found)) if found else (0.0, 0.0))
    return Sense(*(fmean(share) for share in zip(*shares, strict=True)))


@cache
def words_and_starts(words: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The set of the words, and the set of their prefixes."""
    return frozenset(words), frozenset(word[:end] for word in words for end in range(1, len(word) + 1))


@cache
def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions of a character."""
    previous = list(range(len(second) + 1))
    for count, letter in enumerate(first, 1):
        current = [count]
        for column, other in enumerate(second, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (letter != other)))
        previous = current
    return previous[-1]


def edits_to_book(texts: Texts, facts: TextFacts) -> float | None:
    """Mean edits per character between texts and the book's continuations; None if the book has none of the prompts.

    If a prompt occurs several times, the nearest continuation counts.
    """
    shares = []
    for prompt, text in texts:
        places = [place.continuation for place in facts.prompts if place.prompt == prompt]
        written = text.removeprefix(prompt)
        if places and written:
            shares.append(min(edit_distance(written, place) / max(len(written), len(place)) for place in places))
    return fmean(shares) if shares else None


def our_texts(id: str, evidence: Evidence) -> Texts:
    """The texts of all complete trainings."""
    return [text for run in evidence.trainings(id) for text in run.texts]


def equal_prompts(texts: Texts, others: Texts) -> list[str]:
    """The prompts after which both have the same text, except for trailing spaces."""
    wanted = {prompt: text.rstrip() for prompt, text in others}
    return [prompt for prompt, text in texts if wanted.get(prompt) == text.rstrip()]


def _without_texts(statement: Statement, evidence: Evidence, *ids: str) -> Verdict:
    """The open verdict on a statement about configurations that lack texts of ours."""
    if evidence.missing(*ids):
        return evidence.lacking(statement, *ids)
    because = "Ours ran for more epochs than the protocol has, and texts are recorded at the end only."
    return Verdict(statement, OPEN, because, part="trainings of the protocol's length")


def _quoted(prompts: Sequence[str]) -> str:
    return listed([f"'{prompt}'" for prompt in prompts])


# --- texts of one configuration --------------------------------------------------------------------------------------


def judge_texts(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation: "prompts", "transcript", or one of QUALITIES."""
    if statement.relation == "prompts":
        return _same_prompts(statement, evidence)
    if statement.relation == "transcript":
        return _transcript(statement, evidence)
    return _quality(statement, evidence)


def _same_prompts(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the report shows texts of all configurations after the same prompts."""
    samples = {id: evidence.row(id).samples for id in statement.configurations}
    shown = [id for id, texts in samples.items() if texts]
    prompts = list(dict.fromkeys(prompt for texts in samples.values() for prompt, _ in texts))
    alike = [id for id in shown if all(text.startswith(prompt) for prompt, text in samples[id])]
    trained = {place.prompt for place in evidence.reproduction.text.prompts if place.split == "training"}
    because = (
        f"{len(shown)} of {len(samples)} configurations have a transcript, {len(alike)} of texts that begin with "
        f"{_quoted(prompts)}. In the training text stand {_quoted([each for each in prompts if each in trained])}."
    )
    if not alike or len(alike) < len(shown):
        return Verdict(statement, FAILS, because)
    if len(shown) < len(samples):
        return Verdict(statement, IN_PART, because, part=f"the {len(shown)} of which it shows texts")
    return Verdict(statement, HOLDS, because)


def _transcript(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether one of our seeds writes the texts of the transcript, which are of one training too."""
    id = statement.configurations[0]
    theirs, runs = evidence.row(id).samples, [run for run in evidence.trainings(id) if run.texts]
    if not theirs:
        return Verdict(statement, OPEN, f"The report shows no text of {id}.", part="its texts")
    if not runs:
        return _without_texts(statement, evidence, id)
    equal = {run.seed: equal_prompts(run.texts, theirs) for run in runs}
    counts = [f"{len(prompts)} of {len(theirs)} texts by seed {seed}" for seed, prompts in equal.items()]
    because = f"Equal, letter for letter, are {listed(counts)}."
    best = max(equal.values(), key=len)
    if len(best) == len(theirs):
        return Verdict(statement, HOLDS, because)
    if not best:
        return Verdict(statement, FAILS, f'{because} Seed {runs[0].seed} writes "{runs[0].texts[0][1].rstrip()}".')
    return Verdict(statement, IN_PART, because, part=f"{len(best)} of {len(theirs)} texts, after {_quoted(best)}")


class Quality(NamedTuple):
    """What a relation claims of texts: the bound that decides it, and whether texts must be within it."""

    bound: str
    is_wanted: bool


QUALITIES: Mapping[str, Quality] = {
    "sense": Quality("sense_share", True),
    "no-sense": Quality("sense_share", False),
    "sentences": Quality("sentence_share", True),
    "close": Quality("close_edits", True),
    "not-close": Quality("close_edits", False),
}


def _quality(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by our texts; if the report's own transcript contradicts the statement, it is reproduced in part only."""
    id = statement.configurations[0]
    ours, theirs = our_texts(id, evidence), evidence.row(id).samples
    holds_too, beside = _measured(statement.relation, theirs, evidence) if theirs else (None, "none is shown")
    beside = f"The report's own transcript: {beside}."
    if not ours:
        verdict = _without_texts(statement, evidence, id)
        return replace(verdict, because=f"{verdict.because} {beside}")
    holds, shown = _measured(statement.relation, ours, evidence)
    if holds is None:
        return Verdict(statement, OPEN, f"Not measured: {shown}.", part=NEEDS_FACTS)
    limit = getattr(evidence.bounds, QUALITIES[statement.relation].bound)
    asked = (
        f"near is {limit:g} or fewer"
        if limit == evidence.bounds.close_edits
        else f"the bound is {100 * limit:g} % of both"
    )
    seeds = counted(sum(bool(run.texts) for run in evidence.trainings(id)), "seed")
    because = f"Our texts: {shown} ({seeds}; {asked}), {_example(ours)}. {beside}"
    if holds and holds_too is False:
        return Verdict(statement, IN_PART, because, part="by our texts, not by the report's own")
    return Verdict(statement, HOLDS if holds else FAILS, because)


def _example(texts: Texts) -> str:
    prompt, text = texts[0]
    return f'such as "{text.rstrip()}"' if text.removeprefix(prompt).strip() else f"of spaces alone after '{prompt}'"


def _measured(relation: str, texts: Texts, evidence: Evidence) -> tuple[bool | None, str]:
    """Whether texts are as the relation says, and their measure in words; None and the reason if it is unknown."""
    quality, facts = QUALITIES[relation], evidence.reproduction.text
    limit = getattr(evidence.bounds, quality.bound)
    if quality.bound == "close_edits":
        if (edits := edits_to_book(texts, facts)) is None:
            return None, NO_PROMPTS
        return (edits <= limit) == quality.is_wanted, f"{edits:.2f} edits per character"
    if not facts.words:
        return None, NO_WORDS
    found = sense(texts, facts.words)
    return found.reaches(limit) == quality.is_wanted, str(found)


# --- texts of several ------------------------------------------------------------------------------------------------


def judge_texts_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation: one of TEXT_ORDERS."""
    return TEXT_ORDERS[statement.relation](statement, evidence)


def _same(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the report's transcripts are equal; ours are shown beside them."""
    first, *others = statement.configurations
    theirs = evidence.row(first).samples
    parts = []
    for id in others:
        equal = len(equal_prompts(theirs, evidence.row(id).samples))
        word: Word = HOLDS if theirs and equal == len(theirs) else IN_PART if equal else FAILS
        parts.append(Part(f"{equal} of {len(theirs)} texts of {id}", word))
    word, part = each_of(parts)
    because = f"By the report's own transcripts equal are {listed([each.name for each in parts])}."
    ours = {id: runs[0].texts for id in statement.configurations if (runs := evidence.trainings(id))}
    if len(ours) == len(statement.configurations):
        counts = [f"{len(equal_prompts(ours[first], ours[id]))} of {id}" for id in others]
        because += f" Of our first seeds' texts equal are {listed(counts)}."
    return Verdict(statement, word, because, part)


def _closest(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the texts of the first are nearer to the book than those of each of the others."""
    first, *others = statement.configurations
    facts = evidence.reproduction.text
    edits = {id: edits_to_book(our_texts(id, evidence), facts) for id in statement.configurations}
    known = {id: number for id, number in edits.items() if number is not None}
    because = f"Edits per character to the book: {listed([f'{number:.2f} ({id})' for id, number in known.items()])}."
    if first in known and any(known[id] <= known[first] for id in others if id in known):
        return Verdict(statement, FAILS, because)
    if len(known) == len(edits):
        return Verdict(statement, HOLDS, because)
    if all(our_texts(id, evidence) for id in statement.configurations):
        return Verdict(statement, OPEN, f"Not measured: {NO_PROMPTS}.", part=NEEDS_FACTS)
    return _without_texts(statement, evidence, *statement.configurations)


def _less_sense(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the texts of the first make no sense and those of each of the others do."""
    makes = _makes_sense(statement, evidence)
    if isinstance(makes, Verdict):
        return makes
    (first, first_makes), *others = [(id, makes_sense) for id, (makes_sense, _) in makes.items()]
    if first_makes:
        return Verdict(statement, FAILS, _shares(makes, evidence))
    parts = [
        Part(f"that {first} makes no sense", HOLDS),
        *(Part(f"that {id} makes some", HOLDS if makes_sense else FAILS) for id, makes_sense in others),
    ]
    word, part = each_of(parts)
    return Verdict(statement, word, _shares(makes, evidence), part)


def _alike_without_sense(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether all texts make sense or none do; the reason is that those of the first make none."""
    makes = _makes_sense(statement, evidence)
    if isinstance(makes, Verdict):
        return makes
    first, *others = (makes_sense for makes_sense, _ in makes.values())
    alike = all(other == first for other in others)
    conclusion = Part("that they are alike", HOLDS if alike else FAILS, _shares(makes, evidence))
    reason = Part("that they make no sense", FAILS if first else HOLDS)
    return concluded(statement, conclusion, [reason], reason.word)


def _makes_sense(statement: Statement, evidence: Evidence) -> Mapping[str, tuple[bool, Sense]] | Verdict:
    """Whether our texts of each configuration make some sense; an open verdict if that is unknown for any."""
    words = evidence.reproduction.text.words
    texts = {id: our_texts(id, evidence) for id in statement.configurations}
    if not all(texts.values()):
        return _without_texts(statement, evidence, *statement.configurations)
    if not words:
        return Verdict(statement, OPEN, f"Not measured: {NO_WORDS}.", part=NEEDS_FACTS)
    found = {id: sense(each, words) for id, each in texts.items()}
    return {id: (each.reaches(evidence.bounds.sense_share), each) for id, each in found.items()}


def _shares(makes: Mapping[str, tuple[bool, Sense]], evidence: Evidence) -> str:
    shown = "; ".join(f"{id} {each}" for id, (_, each) in makes.items())
    return f"Our texts: {shown}, where {100 * evidence.bounds.sense_share:g} % of both is some sense."


TEXT_ORDERS: Mapping[str, Callable[[Statement, Evidence], Verdict]] = {
    "same": _same,
    "closest": _closest,
    "less-sense": _less_sense,
    "alike-without-sense": _alike_without_sense,
}
