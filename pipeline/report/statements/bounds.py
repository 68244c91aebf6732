"""The tolerances of words that the report does not define, and the sentence that the page prints for each."""

from pipeline.report.table import LAST_DIGIT

LEVEL_UNITS, LEVEL_SHARE = 0.5, 0.1
VISIBLE_GAP, CONSIDERABLE_GAP = 0.5, 1.0  # validation minus training perplexity
EARLY_SHARE, STRETCH_SHARE = 0.1, 0.1
ONSET_EPOCHS, ONSET_SHARE = 5, 0.5
SLIGHTLY, CONSIDERABLY, FAR = 0.1, 0.25, 0.5
RISE = 0.05
CLOSE_EDITS = 0.25
SENSE_SHARE, SENTENCE_SHARE = 0.75, 0.9
SECONDS = 1

IN_WORDS = (
    f"A perplexity is “about” a number if it is within {LEVEL_UNITS} of it.",
    f"It is about a number too if it is within this share of it: {LEVEL_SHARE}.",
    f"A generalisation gap (validation minus training perplexity) is visible from {VISIBLE_GAP} on: about three line "
    "widths of the book's plot.",
    f"A gap is considerable from {CONSIDERABLE_GAP:g} on.",
    f"“At first” is this share of the epochs: {EARLY_SHARE}.",
    f"A gap grows or shrinks if its means over stretches of this share of the epochs do: {STRETCH_SHARE}.",
    f"An epoch is “about” the named one if it is within {ONSET_EPOCHS} epochs of it.",
    f"It is about the named one too if it is within this share of its number: {ONSET_SHARE}.",
    f"“Slightly” more or less is a difference of at most this share: {SLIGHTLY}.",
    f"“Considerably” more or less is a difference of at least this share of the smaller: {CONSIDERABLY}.",
    f"“Far” higher is a difference of at least this share: {FAR}.",
    "A network overfits if its validation perplexity ends this share above its lowest while training perplexity goes "
    f"on falling: {RISE}.",
    "A text is very near to the book if it has at most this many edits per character from how the book goes on: "
    f"{CLOSE_EDITS}.",
    "Texts make some sense if at least this share of their words are words of the book, and at least this share of "
    f"each text's words are distinct: {SENSE_SHARE}.",
    f"Texts look like sentences if both of these shares are at least {SENTENCE_SHARE}.",
    f"A time in prose agrees with its transcript if it is within {SECONDS} s of it.",
    f"A size agrees if it is within this part of the last digit that is given: {LAST_DIGIT}.",
)


def about(target: float) -> tuple[float, float]:
    """The range [low, high] of perplexities that are about the target."""
    tolerance = max(LEVEL_UNITS, LEVEL_SHARE * target)
    return target - tolerance, target + tolerance
