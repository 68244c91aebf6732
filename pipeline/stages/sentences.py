"""What ``prepare``, ``train``, ``pipeline`` and ``delete`` print about their results."""

from collections.abc import Mapping
from textwrap import indent
from typing import Any

from pipeline.stages import seed_means
from pipeline.support.markdown import text_table
from pipeline.support.terminal import wrapped
from pipeline.support.wording import counted, listed
from pipeline.text.corpus import FALLBACK_WARNING
from pipeline.training.sentences import BASELINE_HEADS, baseline_rows, best_epoch, comparison_rows, sizes, verdict

HEADS = ("perplexity", "validation", "test", "bits per character (test)")


def baseline_text(result: Mapping[str, Any]) -> str:
    """The baselines in columns, and a sentence on the n-grams to compare with."""
    rows, best = baseline_rows(result)
    return f"{text_table(BASELINE_HEADS, rows)}\n\n{wrapped(best)}"


def training_text(result: Mapping[str, Any]) -> str:
    """A training: comparison with the baseline, best epoch and verdict."""
    words = f"{best_epoch(result)}{_stopped(result)}. {verdict(result)}"
    return f"{_comparison(result)}\n\n{wrapped(words, indent='  ')}"


def seeds_text(result: Mapping[str, Any]) -> str:
    """The trainings of several seeds, their means and ranges."""
    diverged = f"; diverged: {listed(list(map(str, result['diverged'])))}" if result["diverged"] else ""
    named = f"{result['name']} on {result['corpus']}, {counted(result['seeds'], 'seed')}{diverged}"
    table = indent(text_table(seed_means.HEADS, seed_means.seeds_rows(result)), "  ")
    spread = "± is half of the 95 % prediction interval: one more training, with another seed, is expected within it."
    return f"{named}\n\n{table}\n\n{wrapped(spread, indent='  ')}"


def pipeline_text(name: str, seconds: Mapping[str, tuple[float, bool]], result: Mapping[str, Any], further: str) -> str:
    """The main job: comparison with the baseline, cost, time of each step, a sample and next steps.

    ``seconds`` maps each stage to its time and whether it was reused; ``further`` is the text on next steps.
    """
    spent = ", ".join(f"{stage} {'reused' if reused else f'{s:.1f} s'}" for stage, (s, reused) in seconds.items())
    stand_in = f"\n\n  {FALLBACK_WARNING}" if result["fallback"] else ""
    return (
        f"{name} on {result['corpus']}{stand_in}\n\n{_comparison(result)}\n\n"
        f"{wrapped(verdict(result), indent='  ')}\n"
        f"  {sizes(result)}; trained in "
        f"{result['train_seconds']:.1f} s, best epoch {result['best_epoch']} of {result['epochs']}{_stopped(result)}\n"
        f"  time: {spent}\n\n"
        f"{wrapped(result['texts'][0], indent='  ')}\n\n" + indent(further, "  ")
    )


def deletion_text(result: Mapping[str, Any]) -> str:
    """What is deleted, with its size, and what stays."""
    lines = [wrapped(f"{note}.") for note in result["notes"]]
    if result["completed"]:
        by = "the next `tmlm delete`" if result["dry_run"] else "this"
        said = f"An earlier deletion was cut off: {by} completes it, and deletes nothing else. Give the command again."
        lines.insert(0, wrapped(said))
    rows = [
        (each["kind"], each["name"], each["id"], f"{each['megabytes']:.1f} MB" if each["path"] else "")
        for each in result["deleted"]
    ]
    lines.append(text_table((), [*rows, ("sum", "", "", f"{result['megabytes']:.1f} MB")], left=(0, 1, 2)))
    return "\n".join([*lines, *(f"{each['name']} ({each['id']}) stays: {each['reason']}" for each in result["stayed"])])


def _comparison(result: Mapping[str, Any]) -> str:
    """The n-grams, the network and both mixed, in columns."""
    return indent(text_table(HEADS, comparison_rows(result)), "  ")


def _stopped(result: Mapping[str, Any]) -> str:
    return f"; stopped early by {result['stopped']}" if result.get("stopped") else ""
