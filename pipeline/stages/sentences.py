"""What the main job's stages say of their results, in what they print and in the notes of their runs."""

from collections.abc import Mapping
from textwrap import indent
from typing import Any

from models.complexity import report_print_out
from models.config import ModelConfig
from models.ngram import REPORT_ORDERS
from pipeline.stages import seed_means
from pipeline.support.markdown import markdown_table, text_block, text_table
from pipeline.support.terminal import wrapped
from pipeline.support.wording import counted, listed
from pipeline.text.corpus import FALLBACK_WARNING
from pipeline.training import sentences as training
from pipeline.training.stability import FELL_OVER

HEADS = ("perplexity", "validation", "test", "bits per character (test)")
LOOK_UPS = "The n-grams add look-ups; their number depends on the text.\n"
BASELINE_HEADS = ("", "stored n-grams", "validation perplexity", "test perplexity")


def baseline_text(result: Mapping[str, Any]) -> str:
    """The baselines in columns, and a sentence on the n-grams to compare with."""
    rows, best = baseline_rows(result)
    return f"{text_table(BASELINE_HEADS, rows)}\n\n{wrapped(best)}"


def training_text(result: Mapping[str, Any]) -> str:
    """A training: comparison with the baseline, best epoch and verdict."""
    words = f"{training.best_epoch(result)}{_stopped(result)}. {training.verdict(result)}"
    return f"{_comparison(result)}\n\n{wrapped(words, indent='  ')}"


def seeds_text(result: Mapping[str, Any]) -> str:
    """The trainings of several seeds, their means and ranges."""
    diverged = f"; diverged: {listed(list(map(str, result['diverged'])))}" if result["diverged"] else ""
    named = f"{result['name']} on {result['corpus']}, {counted(result['seeds'], 'seed')}{diverged}"
    table = indent(text_table(seed_means.HEADS, seed_means.seeds_rows(result)), "  ")
    spread = "± is half of the 95 % prediction interval: one more training, with another seed, is expected within it."
    if fallen := [str(each["seed"]) for each in result["trainings"] if each.get("fell_over")]:
        spread += f" Seed{'s' * (len(fallen) > 1)} {listed(fallen)} {FELL_OVER}"
    return f"{named}\n\n{table}\n\n{wrapped(spread, indent='  ')}"


def pipeline_text(name: str, seconds: Mapping[str, tuple[float, bool]], result: Mapping[str, Any], further: str) -> str:
    """The main job: comparison with the baseline, cost, time of each step, a sample and next steps.

    ``seconds`` maps each stage to its time and whether it was reused; ``further`` is the text on next steps.
    """
    spent = ", ".join(f"{stage} {'reused' if reused else f'{s:.1f} s'}" for stage, (s, reused) in seconds.items())
    stand_in = f"\n\n  {FALLBACK_WARNING}" if result["fallback"] else ""
    return (
        f"{name} on {result['corpus']}{stand_in}\n\n{_comparison(result)}\n\n"
        f"{wrapped(training.verdict(result), indent='  ')}\n"
        f"  {training.sizes(result)}; trained in "
        f"{result['train_seconds']:.1f} s, best epoch {result['best_epoch']} of {result['epochs']}{_stopped(result)}\n"
        f"  time: {spent}\n\n"
        f"{wrapped(result['texts'][0], indent='  ')}\n\n" + indent(further, "  ")
    )


def _comparison(result: Mapping[str, Any]) -> str:
    """The n-grams, the network and both mixed, in columns."""
    return indent(text_table(HEADS, training.comparison_rows(result)), "  ")


def _stopped(result: Mapping[str, Any]) -> str:
    return f"; stopped early by {result['stopped']}" if result.get("stopped") else ""


def baseline_rows(result: Mapping[str, Any]) -> tuple[list[tuple[str, ...]], str]:
    """Rows with the baselines' sizes and perplexities, and a sentence on the n-grams to compare with."""
    models = [("uniform", "", result, "uniform_"), ("letter frequencies", "", result, "unigram_")]
    models += [(f"Kneser-Ney {ngram['order']}-gram", f"{ngram['entries']:,}", ngram, "") for ngram in result["ngrams"]]
    rows: list[tuple[str, ...]] = [
        (label, stored, *training.on_splits(scores, prefix)) for label, stored, scores, prefix in models
    ]
    name = training.ngram_name(result)
    best = f"Networks are compared with the {name}, the best on validation."
    if result["ngram_order"] not in REPORT_ORDERS:
        rows.append((name, f"{result['ngram_entries']:,}", *training.on_splits(result, "ngram_")))
        best = f"Networks are compared with the {name}, combined by a gate."
    if result["single_ngram_order"] == (last := result["ngrams"][-1]["order"]):
        best += f" Warning: the best single order is {last}, the last that was tried; a longer one may be better."
    return rows, f"{best} {training.fitted_on(result['baseline_characters'], result['train_characters'])}".rstrip()


def baseline_table(result: Mapping[str, Any]) -> str:
    """The baselines as a Markdown table, and the sentence."""
    rows, best = baseline_rows(result)
    return f"{markdown_table(BASELINE_HEADS, rows)}\n\n{best}"


def complexity_text(model: ModelConfig, vocab_size: int, cost: Mapping[str, Any]) -> str:
    """The size in both conventions, and ptflops' own output."""
    return (
        f"{model.shape}, vocabulary of {vocab_size}\n"
        f"parameters             {cost['parameters']:>14,}\n"
        f"MACs per character     {cost['macs_per_char']:>14,}   as ptflops counts, output layer included\n"
        f"  matrix products only {cost['matmul_macs_per_char']:>14,}\n"
        f"{LOOK_UPS if model.on_top_of == 'ngram' else ''}\n"
        f"The report's convention: recurrent layers alone, 1,024 characters\n"
        f"parameters             {cost['report_parameters']:>14,}\n"
        f"MACs                   {cost['report_macs']:>14,}\n\n{report_print_out(model, vocab_size)}"
    )


def evaluation_text(label: str, result: Mapping[str, Any]) -> str:
    """A sentence with the result of an evaluation; ``label`` names the text."""
    adapts = "adaptive_perplexity" in result
    sentence = (
        f"{label}{', static' if adapts else ''}: "
        f"perplexity {result['perplexity']:.3f}, {result['bits_per_char']:.3f} bits per character "
        f"over {result['characters']:,} characters"
    )
    if "ngram_perplexity" in result:
        bar = f"{result['ngram_perplexity']:.3f} ({result['ngram_bits_per_char']:.3f})"
        sentence += f"; {training.ngram_name(result)} {bar}"
    if "mixture_perplexity" in result:
        sentence += f"; both together {result['mixture_perplexity']:.3f} ({result['mixture_bits_per_char']:.3f})"
    if result.get("unknown_characters"):
        sentence += f"; {result['unknown_characters']:,} characters are not in the model's vocabulary"
    if result.get("is_training_text"):
        sentence += (
            ". It is the text of the training, so both know most of it: --split test is the part that they do not"
        )
    if adapts:
        sentence += (
            f"\n\n{label}, adaptive: perplexity {result['adaptive_perplexity']:.3f}, "
            f"{result['adaptive_bits_per_char']:.3f} bits per character; network and n-grams learn from the text that "
            f"they have scored ({result['refits']} refits, {result['adaptive_ms_per_char']:.2f} ms per character)"
        )
    return sentence


def pipeline_note(steps: Mapping[str, tuple[str, str, bool]], result: Mapping[str, Any]) -> str:
    """The note of a main job; ``steps`` maps each stage to its run's id and address, and whether it was reused."""
    lines = [
        f"- [{stage}]({address}): `{run_id}`{' (reused)' if reused else ''}"
        for stage, (run_id, address, reused) in steps.items()
    ]
    first, *others = map(text_block, result["texts"])
    stand_in = f"> {FALLBACK_WARNING}\n\n" if result["fallback"] else ""
    said = f"{training.verdict(result)}\n\n{stand_in}{first}", training.comparison_table(result)
    return "\n\n".join([*said, "\n".join(lines), *others])
