"""Judge generated texts: whether they are equal, how near they are to the book, and whether they make sense.

Sense itself can't be measured; counted are the words that occur in the book, and those that are repeated.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean

from pipeline.report.reproduction import Configuration, JudgedTraining, TextFacts
from pipeline.report.statements import bounds
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.verdicts import Part, Statement, Verdict, Word, concluded, each_of, holds_if
from pipeline.support.wording import counted, listed

Texts = Sequence[tuple[str, str]]  # prompt, text including the prompt


def sense(texts: Texts, words: tuple[str, ...]) -> tuple[float, float]:
    """Shares of generated words, averaged over texts: those that the book has, and those distinct in their text.

    The last word of a text may be cut off, and a text of spaces has no words.
    """
    whole, starts = words_and_starts(words)
    shares = []
    for prompt, text in texts:
        written = text.removeprefix(prompt)
        start = "" if written.startswith(" ") else prompt.rpartition(" ")[2]  # "it hass" continues a word
        found = f"{start}{written}".split()
        known = [word in whole for word in found]
        if found and not text.endswith(" "):
            known[-1] = found[-1] in starts
        shares.append((fmean(known), len(set(found)) / len(found)) if found else (0.0, 0.0))
    return fmean(of_book for of_book, _ in shares), fmean(distinct for _, distinct in shares)


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


def edits_to_book(texts: Texts, facts: TextFacts) -> float:
    """Mean edits per character between texts and the book's nearest continuations of their prompts."""
    shares = []
    for prompt, text in texts:
        places = [place.continuation for place in facts.prompts if place.prompt == prompt]
        written = text.removeprefix(prompt)
        shares.append(min(edit_distance(written, place) / max(len(written), len(place)) for place in places))
    return fmean(shares)


def our_texts(id: str, evidence: Evidence) -> Texts:
    """The texts of all complete trainings."""
    return [text for run in evidence.trainings(id) for text in run.texts]


def equal_prompts(texts: Texts, others: Texts) -> list[str]:
    """The prompts after which both have the same text, except for trailing spaces."""
    wanted = {prompt: text.rstrip() for prompt, text in others}
    return [prompt for prompt, text in texts if wanted.get(prompt) == text.rstrip()]


def best_match(configuration: Configuration) -> tuple[JudgedTraining | None, list[str]]:
    """The complete training that writes most of the reported texts, and the prompts after which it does."""
    theirs, runs = configuration.reported.samples, [run for run in configuration.whole if run.texts]
    best = max(runs, key=lambda run: len(equal_prompts(run.texts, theirs)), default=None)
    return best, equal_prompts(best.texts, theirs) if best else []


def _quoted(prompts: Sequence[str]) -> str:
    return listed([f"'{prompt}'" for prompt in prompts])


def judge_texts(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge the texts of one configuration by the relation: "prompts", "transcript", or what ``_measured`` knows."""
    if statement.relation == "prompts":
        return _same_prompts(statement, evidence)
    if statement.relation == "transcript":
        return _transcript(statement, evidence)
    id = statement.configurations[0]
    ours = our_texts(id, evidence)
    holds, shown = _measured(statement.relation, ours, evidence)
    of_theirs, of_theirs_shown = _measured(statement.relation, evidence.row(id).samples, evidence)
    beside = f"The report's own transcript: {of_theirs_shown}."
    if holds is None:
        verdict = evidence.without_training(statement, id)
        return replace(verdict, because=f"{verdict.because} {beside}")
    seeds = counted(sum(bool(run.texts) for run in evidence.trainings(id)), "seed")
    because = f'Our texts: {shown} ({seeds}), such as "{ours[0][1].rstrip()}". {beside}'
    if holds and of_theirs is False:  # the report contradicts itself
        return Verdict(statement, Word.IN_PART, because, part="by our texts, not by the report's own")
    return Verdict(statement, holds_if(holds), because)


def _measured(relation: str, texts: Texts, evidence: Evidence) -> tuple[bool | None, str]:
    """Whether texts are as the relation says, None without texts, and their measure in words."""
    facts = evidence.reproduction.text
    if not texts:
        return None, "none is shown"
    if relation in ("close", "not-close"):
        edits = edits_to_book(texts, facts)
        return (edits <= bounds.CLOSE_EDITS) == (relation == "close"), f"{edits:.2f} edits per character"
    limit = bounds.SENTENCE_SHARE if relation == "sentences" else bounds.SENSE_SHARE
    return (min(sense(texts, facts.words)) >= limit) == (relation != "no-sense"), _sense_shown(texts, facts)


def _sense_shown(texts: Texts, facts: TextFacts) -> str:
    of_book, distinct = sense(texts, facts.words)
    return f"{100 * of_book:.0f} % words of the book, {100 * distinct:.0f} % distinct"


def _same_prompts(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the report shows texts of all configurations after the same prompts."""
    samples = [evidence.row(id).samples for id in statement.configurations]
    shown = [texts for texts in samples if texts]
    alike = sum(all(text.startswith(prompt) for prompt, text in texts) for texts in shown)
    prompts = _quoted(list(dict.fromkeys(prompt for texts in samples for prompt, _ in texts)))
    have = f"{len(shown)} of {len(samples)} configurations have a transcript"
    because = f"{have}, {alike} of texts that begin with {prompts}."
    if alike and alike == len(shown) < len(samples):
        return Verdict(statement, Word.IN_PART, because, part=f"the {alike} of which it shows texts")
    return Verdict(statement, holds_if(bool(alike) and alike == len(shown)), because)


def _transcript(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a seed writes the report's texts, letter for letter; the best seed counts."""
    id = statement.configurations[0]
    theirs, runs = evidence.row(id).samples, [run for run in evidence.trainings(id) if run.texts]
    if not runs:
        return evidence.without_training(statement, id)
    equal = {run.seed: equal_prompts(run.texts, theirs) for run in runs}
    counts = [f"{len(prompts)} of {len(theirs)} texts by seed {seed}" for seed, prompts in equal.items()]
    because = f"Equal, letter for letter, are {listed(counts)}."
    _, best = best_match(evidence.reproduction[id])
    if 0 < len(best) < len(theirs):
        return Verdict(statement, Word.IN_PART, because, f"{len(best)} of {len(theirs)} texts, after {_quoted(best)}")
    return Verdict(statement, holds_if(bool(best)), because)


def judge_texts_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation: the same, closest to the book, less sense than the others, or alike without sense."""
    facts, (first, *others) = evidence.reproduction.text, statement.configurations
    if statement.relation == "same":
        return _same(statement, evidence)
    texts = {id: our_texts(id, evidence) for id in statement.configurations}
    if not all(texts.values()):
        return evidence.without_training(statement, *texts)
    if statement.relation == "closest":
        edits = {id: edits_to_book(text, facts) for id, text in texts.items()}
        shown = listed([f"{number:.2f} ({id})" for id, number in edits.items()])
        is_closest = all(edits[id] > edits[first] for id in others)
        return Verdict(statement, holds_if(is_closest), f"Edits per character to the book: {shown}.")
    limit = bounds.SENSE_SHARE
    makes = {id: min(sense(text, facts.words)) >= limit for id, text in texts.items()}
    shares = "; ".join(f"{id} {_sense_shown(text, facts)}" for id, text in texts.items())
    because = f"Our texts: {shares}, where {100 * limit:g} % of both is some sense."
    if statement.relation == "alike-without-sense":
        alike = Part("that they are alike", holds_if(len({*makes.values()}) == 1), because)
        return concluded(statement, alike, [Part("that they make no sense", holds_if(not makes[first]))])
    if makes[first]:
        return Verdict(statement, Word.FAILS, because)
    makes_some = [Part(f"that {id} makes some", holds_if(makes[id])) for id in others]
    return each_of(statement, [Part(f"that {first} makes no sense", Word.HOLDS), *makes_some], because)


def _same(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the report's transcripts are equal."""
    first, *others = statement.configurations
    theirs = evidence.row(first).samples
    parts = []
    for id in others:
        equal = len(equal_prompts(theirs, evidence.row(id).samples))
        word = Word.HOLDS if theirs and equal == len(theirs) else Word.IN_PART if equal else Word.FAILS
        parts.append(Part(f"{equal} of {len(theirs)} texts of {id}", word))
    because = f"By the report's own transcripts equal are {listed([part.name for part in parts])}."
    return each_of(statement, parts, because)
