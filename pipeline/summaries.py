"""Results in words: the tables and sentences that commands print, and the notes that runs carry.

They are Markdown, but for plain text in columns: ``complexity_text``, ``pipeline_table``, ``search_table`` and
``reproduction_table``. A sentence (``verdict``, ``evaluation_text``) is the same in both.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log2
from re import findall, sub
from textwrap import fill, indent, wrap
from typing import Any

from models.complexity import report_print_out
from models.config import ModelConfig
from models.ngram import BASELINE_LABEL
from pipeline.checks import Check, counted
from pipeline.config import HELD_OUT_CHARS, PASS_CHARS, PresetName, TrainConfig
from pipeline.corpus import FALLBACK_WARNING, Corpus
from pipeline.evidence import Outcome
from pipeline.experiment import Result
from pipeline.front import FrontPoint, Judged, Pick, estimate
from pipeline.reproduced import Configuration, Reproduction
from pipeline.samples import SampleText
from pipeline.verdicts import Verdict


def baseline_table(result: Mapping[str, Any]) -> str:
    """The simplest models' perplexity as a Markdown table."""
    names = (("uniform", "uniform"), ("letter frequencies", "unigram"), (f"Kneser-Ney {BASELINE_LABEL}", "ngram"))
    rows = [
        (label, *(f"{result[f'{name}_{split}_perplexity']:.3f}" for split in ("val", "test"))) for label, name in names
    ]
    table = markdown_table(("", "validation perplexity", "test perplexity"), rows)
    fitted = fitted_on(result["baseline_characters"], result["train_characters"])
    return f"{table}\n\n{fitted}" if fitted else table


def fitted_on(sample: int, characters: int) -> str:
    """What the n-gram saw of a training text that is too long for it; empty where it saw all."""
    if sample == characters:
        return ""
    return f"The n-grams are fitted on {sample:,} of {characters:,} training characters, in evenly spaced blocks."


def what_is_read(corpus: Corpus, preset: PresetName) -> str:
    """How much of a long text a training reads; empty for one that it reads whole."""
    start, end = corpus.spans(preset)["train"]
    fitted = fitted_on(len(corpus.baseline_text(preset)), end - start)
    if not fitted:
        return ""
    held_out = f"validation and test read {HELD_OUT_CHARS:,} characters each"
    return f"{fitted} Each epoch is a pass over {PASS_CHARS:,} of these; {held_out}."


def comparison_table(result: Mapping[str, Any]) -> str:
    """The network beside the bar that it has to clear, as a Markdown table."""
    network = [f"{result[name]:.3f}" for name in ("val_perplexity", "test_perplexity", "test_bits_per_char")]
    bar = [f"{result[name]:.3f}" for name in ("ngram_val_perplexity", "ngram_test_perplexity")]
    return markdown_table(
        ("", "validation perplexity", "test perplexity", "test bits per character"),
        [
            (f"network (best epoch {result['best_epoch']} of {result['epochs']})", *network),
            (f"Kneser-Ney {BASELINE_LABEL}", *bar, ""),
        ],
    )


def verdict(result: Mapping[str, Any]) -> str:
    """Whether the network alone clears the bar, in a sentence with the numbers that decide it."""
    parts = []
    pooled = {"val": result["val_perplexity_pooled"], "test": result["test_perplexity"]}  # as the n-gram's are
    for split, label in (("val", "validation"), ("test", "test")):
        network, bar = pooled[split], result[f"ngram_{split}_perplexity"]
        side = "ahead of" if network < bar else "behind"
        parts.append((side, f"on {label} ({network:.3f} against {bar:.3f})"))
    (first, on_validation), (second, on_test) = parts
    joint = "and" if first == second else f"and {second} it"
    return f"The plain network is {first} the {BASELINE_LABEL} {on_validation} {joint} {on_test}."


def complexity_text(model: ModelConfig, vocab_size: int, cost: Mapping[str, int]) -> str:
    """Both conventions in words, and ptflops' own print-out."""
    return (
        f"{model.shape}, vocabulary of {vocab_size}\n"
        f"parameters             {cost['parameters']:>14,}\n"
        f"MACs per character     {cost['macs_per_char']:>14,}   as ptflops counts, output layer included\n"
        f"  matrix products only {cost['matmul_macs_per_char']:>14,}\n\n"
        f"The report's convention: recurrent layers alone, 1,024 characters\n"
        f"parameters             {cost['report_parameters']:>14,}\n"
        f"MACs                   {cost['report_macs']:>14,}\n\n{report_print_out(model, vocab_size)}"
    )


def text_block(text: str) -> str:
    """A text as a Markdown code block, so that nothing in it is markup; in lines of 72 characters.

    Code does not wrap in the UI: a longer line pushes the panel beside the description out of the window.
    """
    lines = [part for line in text.splitlines() for part in wrap(line, 72) or [""]]
    fence = "`" * max(3, 1 + max(map(len, findall("`+", text)), default=0))
    return "\n".join([fence, *lines, fence])


def plain(text: str) -> str:
    """A name or prompt as Markdown in one line, so that nothing in it is markup."""
    return sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", " ".join(text.split()))


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, whose cells are Markdown too."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def text_table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table in plain text: columns as wide as they need, at the right but for those with a number in ``left``."""
    lines = [heads, *rows] if heads else list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )


def samples_table(samples: list[SampleText]) -> str:
    """Sample texts as Markdown."""
    return "\n".join(
        f"**{plain(sample.prompt)}** ({sample.method})\n\n{text_block(sample.text)}\n" for sample in samples
    )


def training_note(corpus: Corpus, model: ModelConfig, config: TrainConfig, result: Result) -> str:
    """The run's page in the UI: what it is, its figures against the bar, and what it writes."""
    summary = result.figures()
    ended = f"; stopped early by `{result.stopped}`" if result.stopped else ""
    return (
        f"**{model.shape}** ({model.implementation}, preset {config.preset}) on **{plain(corpus.name)}**, "
        f"seed {config.seed}: {len(result.history)} epochs in {result.train_seconds:.1f} s, "
        f"{result.chars_per_second:,.0f} characters/s, "
        f"{result.precision} on {result.device}{ended}.\n\n"
        f"{comparison_table(summary)}\n\n{verdict(summary)} {what_is_read(corpus, config.preset)}\n\n"
        f"{summary['parameters']:,} parameters, {summary['macs_per_char']:,} MACs per character.\n\n"
        f"{samples_table(result.samples)}"
    )


def evaluation_text(label: str, result: Mapping[str, Any]) -> str:
    """The evaluation in a sentence."""
    sentence = (
        f"{label}: perplexity {result['perplexity']:.3f}, {result['bits_per_char']:.3f} bits per character "
        f"over {result['characters']:,} characters"
    )
    if "ngram_perplexity" in result:
        bar = f"{result['ngram_perplexity']:.3f} ({result['ngram_bits_per_char']:.3f})"
        sentence += f"; Kneser-Ney {BASELINE_LABEL} {bar}"
    if result.get("unknown_characters"):
        sentence += f"; {result['unknown_characters']:,} characters are none of the model's"
    return sentence


def pipeline_note(experiment_id: str, steps: Mapping[str, tuple[str, bool]], result: Mapping[str, Any]) -> str:
    """The parent's page: the table, the verdict, a line for each step (stage -> run id, reused), and the texts."""
    lines = [
        f"- [{stage}](#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning): `{run_id}`"
        f"{' (reused)' if reused else ''}"
        for stage, (run_id, reused) in steps.items()
    ]
    texts = "\n\n".join(map(text_block, result["texts"]))
    stand_in = f"> {FALLBACK_WARNING}\n\n" if result["fallback"] else ""
    return f"{stand_in}{comparison_table(result)}\n\n{verdict(result)}\n\n" + "\n".join(lines) + f"\n\n{texts}"


def pipeline_table(
    name: str,
    seconds: Mapping[str, tuple[float, bool]],
    result: Mapping[str, Any],
    links: Mapping[str, str],
    how_to_start: str,
) -> str:
    """What the main job prints: quality against the bar, cost, time of each step, a sample and the links."""
    spent = ", ".join(f"{stage} {'reused' if reused else f'{s:.1f} s'}" for stage, (s, reused) in seconds.items())
    ngram_val, ngram_test = result["ngram_val_perplexity"], result["ngram_test_perplexity"]
    rows = [
        ("", "validation", "test"),
        ("perplexity, network", f"{result['val_perplexity']:.3f}", f"{result['test_perplexity']:.3f}"),
        (f"perplexity, {BASELINE_LABEL}", f"{ngram_val:.3f}", f"{ngram_test:.3f}"),
        ("bits per character", f"{log2(result['val_perplexity_pooled']):.3f}", f"{result['test_bits_per_char']:.3f}"),
    ]
    stand_in = f"\n\n  {FALLBACK_WARNING}" if result["fallback"] else ""
    table = "\n".join(f"  {label:<22}{val:>12}{test:>12}" for label, val, test in rows)
    return (
        f"{name} on {result['corpus']}{stand_in}\n\n{table}\n\n"
        f"  {verdict(result)}\n"
        f"  {result['parameters']:,} parameters, {result['macs_per_char']:,} MACs per character; trained in "
        f"{result['train_seconds']:.1f} s, best epoch {result['best_epoch']} of {result['epochs']}\n"
        f"  time: {spent}\n\n"
        f"{fill(result['texts'][0], 112, initial_indent='  ', subsequent_indent='  ')}\n\n"
        + "\n".join(f"  {label:<7} {url}" for label, url in links.items())
        + f"\n  ({how_to_start})"
    )


def _counted(counts: Mapping[str, int]) -> str:
    """Labels and how many: 40 trials complete, 2 failed; a label of none is left out, but for the first."""
    return ", ".join(f"{n:,} {label}" for i, (label, n) in enumerate(counts.items()) if n or not i)


def _front_row(point: FrontPoint) -> tuple[str, ...]:
    """A member of the front: name, MACs, parameters, validation, seeds, test, probability."""
    chance = "" if point.probability is None else f"{point.probability:.2f}"
    contender = point.contender
    sizes = (f"{contender.macs_per_char:,}", f"{contender.parameters:,}")
    return (contender.name, *sizes, str(point.val), str(point.seeds), str(point.test or ""), chance)


def _spread_text(judged: Judged) -> str:
    """What the intervals and probabilities rest on; that there are none, where no seed was repeated."""
    if judged.seed_deviation is None:
        return "No configuration was trained with a second seed, so there is no interval and no probability."
    return (
        "± is half of the 95 % interval of the mean, from the spread among seeds, pooled over all that have several "
        f"({100 * judged.seed_deviation:.2g} % of perplexity, {judged.degrees_of_freedom} degrees of freedom)."
    )


def _hypervolume_text(judged: Judged) -> str:
    """The hypervolume and its interval, with what it is measured in and against."""
    low, high = judged.hypervolume_low, judged.hypervolume_high
    between = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    perplexity, macs = judged.reference
    luck = "where seeds differ by so much, lucky runs are among those that decide who is on the front"
    return (
        f"Hypervolume {judged.hypervolume:.2f}{between}, in perplexity times decades of MACs within "
        f"perplexity {perplexity:g} and {macs:,.0f} MACs per character."
        + (f" This interval is too narrow and lies too high: {luck}." if judged.is_loud else "")
    )


def _nearly_text(judged: Judged) -> str:
    """Who may belong on the front and isn't on it by the means; empty where nobody has a chance of a tenth."""
    nearly = [point for point in judged.points if not point.on_front and (point.probability or 0) >= 0.1]
    if not nearly:
        return ""
    ranked = sorted(nearly, key=lambda point: -(point.probability or 0))
    named = ", ".join(f"{point.contender.name} ({point.probability:.2f})" for point in ranked[:5])
    more = f" and {len(ranked) - 5} more" if len(ranked) > 5 else ""
    return f"Not on the front by the means, but with a chance of it: {named}{more}."


NO_FRONT = "No trial has finished, so there is no front."


def search_note(experiment_id: str, judged: Judged, chosen: Mapping[str, Pick], counts: Mapping[str, int]) -> str:
    """The study's page: the picks in sentences, the front, what its numbers rest on, and what became of the trials.

    ``counts`` maps a label to how many there are, the main one first: {"trials complete": 40, "failed": 2}.
    """
    if not judged.front:
        return f"{NO_FRONT}\n\n{_counted(counts)}."
    heads = ("configuration", "MACs per character", "parameters", "validation perplexity", "seeds", "test perplexity")
    rows = []
    for point in judged.front:
        name, *numbers = _front_row(point)
        run = f"#/experiments/{experiment_id}/runs/{point.contender.run_id}?workflowType=machine_learning"
        rows.append((f"[{plain(name)}]({run})", *numbers))
    table = markdown_table((*heads, "probability of being on the front"), rows)
    sentences = "\n".join(f"- `@{name}`: {plain(pick.sentence)}" for name, pick in chosen.items())
    rest = " ".join(filter(None, (_spread_text(judged), _nearly_text(judged), _hypervolume_text(judged))))
    return f"{sentences}\n\n{table}\n\n{rest}\n\n{_counted(counts)}."


def search_table(
    name: str,
    judged: Judged,
    chosen: Mapping[str, Pick],
    counts: Mapping[str, int],
    links: Mapping[str, str],
    how_to_start: str,
) -> str:
    """What the search prints at its end: the front, the picks, the hypervolume, the counts and the links."""
    linked = "\n".join(f"  {label:<7} {url}" for label, url in links.items())
    tail = f"  {_counted(counts)}\n\n{linked}\n  ({how_to_start})"
    if not judged.front:
        return f"{name}\n\n  {NO_FRONT}\n{tail}"
    heads = ("", "MACs/char", "parameters", "validation", "seeds", "test", "chance")
    table = indent(text_table(heads, map(_front_row, judged.front)), "  ")
    said = [f"@{name}: {pick.sentence}" for name, pick in chosen.items()]
    said += filter(None, (_spread_text(judged), _nearly_text(judged), _hypervolume_text(judged)))
    text = "\n".join(fill(line, 112, initial_indent="  ", subsequent_indent="    ") for line in said)
    return f"{name}\n\n{table}\n\n{text}\n{tail}"


# --- a reproduction --------------------------------------------------------------------------------------------------


def _seeds_and_epochs(each: Configuration) -> str:
    """2 seeds, 100 epochs; or how far the one has come that has come least."""
    if not each.runs:
        return "not trained"
    least = min(each.runs, key=lambda run: run.epochs)
    count = f"{len(each.runs)} seed{'s' if len(each.runs) > 1 else ''}"
    planned = "" if least.is_whole else f"of {least.epochs_planned} "
    return f"{count}, {least.epochs} {planned}epochs"


def _reproduced_row(each: Configuration) -> tuple[str, ...]:
    reported = "" if each.reported.perplexity_end is None else f"{each.reported.perplexity_end:g}"
    if not each.runs:
        return each.id, reported, "", "", "", _seeds_and_epochs(each)
    train, val = each.mean_curve("train"), each.mean_curve("val")
    best = estimate([run.best_val for run in each.furthest]).mean
    return each.id, reported, f"{train[-1]:.2f}", f"{val[-1]:.2f}", f"{best:.2f}", _seeds_and_epochs(each)


REPRODUCED_HEADS = ("configuration", "reported", "train, last", "validation, last", "validation, best", "")


def _counted_verdicts(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdict.outcome for verdict in verdicts)
    said = ", ".join(f"{counts[outcome]} {words}" for outcome, words in OUTCOME_WORDS.items())
    return f"Of {len(verdicts)} claims of the report {said}." if verdicts else ""


OUTCOME_WORDS: dict[Outcome, str] = {"holds": "hold", "does not hold": "do not", "can't be judged": "can't be judged"}


def _is_quick_text(found: Reproduction) -> str:
    return "A quick check of a few epochs: no reproduction." if found.quick else ""


def reproduction_note(found: Reproduction, verdicts: Sequence[Verdict], made: Sequence[Check]) -> str:
    """The reproduction's page: what became of each configuration, and where the report is."""
    table = markdown_table(REPRODUCED_HEADS, (list(map(plain, _reproduced_row(each))) for each in found.configurations))
    said = [_is_quick_text(found), _counted_verdicts(verdicts), *map(plain, counted(made))]
    where = "The report: `report/report.html` among the artifacts. Perplexities are averaged as the book does it."
    return "\n\n".join(filter(None, [*said, table, where]))


def reproduction_table(
    found: Reproduction, verdicts: Sequence[Verdict], made: Sequence[Check], page: str, how_to_start: str
) -> str:
    """What `tmlm reproduce` and `tmlm report` print."""
    last = len(REPRODUCED_HEADS) - 1
    table = text_table(REPRODUCED_HEADS, map(_reproduced_row, found.configurations), left=(0, last))
    failed = [f"  {check.said}" for check in made if check.is_met is False]
    said = [_is_quick_text(found), _counted_verdicts(verdicts), *counted(made), *failed]
    tail = f"report  {page}\nrun     {found.link}\n({how_to_start})"
    return "\n".join(
        [f"{found.table.name}, perplexity as reported and as reproduced", "", table, "", *filter(None, said), "", tail]
    )
