"""Sentences on one training, as in the notes of runs (Markdown), on pages and in what commands print."""

from collections.abc import Mapping
from math import log2
from typing import Any

from models.config import ModelConfig
from models.ngram import compared_label
from pipeline.config import HELD_OUT_CHARS, ON_REPORTS_TEXT, PASS_CHARS, REPORT_TEXT_CHARS, TrainConfig
from pipeline.support.markdown import markdown_table, plain, text_block
from pipeline.support.wording import counted
from pipeline.text.corpus import Corpus
from pipeline.text.sources import licence_of
from pipeline.training.experiment import Result
from pipeline.training.samples import SampleText, sample_command
from pipeline.training.stability import FELL_OVER

ONE_SEED = "one seed: no verdict (train with --seeds 3)"
GLANCE_CHARS = 60  # of a sample text in the first lines of a description


def ngram_name(result: Mapping[str, Any]) -> str:
    """The n-gram model that a result is compared with, as in "the 5-gram"."""
    return compared_label(result["ngram_order"])


def on_splits(scores: Mapping[str, Any], prefix: str) -> tuple[str, str]:
    """Validation and test perplexity, as in tables."""
    return f"{scores[f'{prefix}val_perplexity']:.3f}", f"{scores[f'{prefix}test_perplexity']:.3f}"


def fitted_on(sample: int, characters: int) -> str:
    """A sentence on the sample that the n-grams are fitted on; "" if that is the whole training text."""
    if sample == characters:
        return ""
    return f"The n-grams are fitted on {sample:,} of {characters:,} training characters, in evenly spaced blocks."


def comparison_rows(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows for the n-grams, the network and both mixed: label, validation and test perplexity, bits per character."""
    on_top = " on top of n-grams" if "on_top_of_order" in result else ""
    labels = {
        "ngram_": ngram_name(result),
        "": f"network{on_top}",
        "mixture_": f"both ({result['mixture_kind']}, {result['mixture_weight']:.0%} network)",
    }
    bits = {prefix: log2(result[f"{prefix}test_perplexity"]) for prefix in labels}
    return [(label, *on_splits(result, prefix), f"{bits[prefix]:.3f}") for prefix, label in labels.items()]


def comparison_table(result: Mapping[str, Any]) -> str:
    """The n-grams, the network and both mixed as a Markdown table, and the best epoch."""
    heads = ("", "validation perplexity", "test perplexity", "test bits per character")
    return f"{markdown_table(heads, comparison_rows(result))}\n\n{best_epoch(result)}."


def best_epoch(result: Mapping[str, Any]) -> str:
    return f"The network is that of epoch {result['best_epoch']} of {result['epochs']}, the best on validation"


def sizes(result: Mapping[str, Any]) -> str:
    """Parameters, what is stored of n-grams if there are any, and MACs."""
    stored = result["stored_numbers"] - result["parameters"]
    ngrams = f" and {stored:,} numbers of n-grams" if stored else ""
    return f"{result['parameters']:,} parameters{ngrams}, {result['macs_per_char']:,} MACs per character"


def judged_on_test(result: Mapping[str, Any]) -> str:
    """How the network compares with the n-grams on test, as the end of a sentence."""
    network, bar = result["test_perplexity"], result["ngram_test_perplexity"]
    difference = 100 * (network / bar - 1)
    judged = f"{difference:+.1f} %"
    kind = result.get("test_interval", "")  # earlier versions do not say
    if kind:
        of_text = " of the text alone" * (kind == "text")
        ends = f"{result['test_difference_low']:+.1f} to {result['test_difference_high']:+.1f} %"
        judged += f", 95 % interval{of_text} {ends}"
    side = result.get("test_verdict", "none")
    if side == "none":
        said = f"{judged}; {ONE_SEED}"
    else:
        is_worse = side == "behind" or (side == "open" and difference > 0)
        said = f"{'not ' * (side == 'open')}significantly {'worse' if is_worse else 'better'} (one seed: {judged})"
    return f"{network:.3f} against {bar:.3f} of the {ngram_name(result)}: {said}."


def verdict(result: Mapping[str, Any]) -> str:
    """Sentences on how the network compares with n-grams, on both mixed, and on one that fell over."""
    fell = f" The training {FELL_OVER}" if result.get("fell_over") else ""
    return (
        f"{_in_letters(result)}On test, the network has {judged_on_test(result)} Both together reach "
        f"{result['mixture_val_perplexity']:.3f} on validation and {result['mixture_test_perplexity']:.3f} on test."
        f"{fell}"
    )


def _in_letters(result: Mapping[str, Any]) -> str:
    """A sentence on what the validation perplexity is worth in n-grams; "" for a result of an earlier version."""
    if (order := result.get("equal_ngram_order")) is None:
        return ""
    worth = f"about as good as counting {order} letters" if order else "better than counting any one number of letters"
    pooled = f"{result['val_perplexity_pooled']:.3f}"
    if pooled != on_splits(result, "")[0]:  # under the preset report, which averages over batches as the book does
        pooled += " over all characters (the table has the mean over batches)"
    return f"The network's {pooled} on validation is {worth}. "


def at_a_glance(verdict: str, sample: str, command: str) -> str:
    """The first lines of a description, as many as MLflow shows when it is folded: a verdict, and a command's text."""
    words = plain(sample[:GLANCE_CHARS])
    return f"{verdict}\n\n`{command}` writes “{words}...”"


def samples_table(samples: list[SampleText]) -> str:
    """Sample texts as Markdown."""
    return "\n".join(
        f"**{plain(sample.prompt)}** ({sample.method})\n\n{text_block(sample.text)}\n" for sample in samples
    )


def training_note(reference: str, corpus: Corpus, model: ModelConfig, config: TrainConfig, result: Result) -> str:
    """The description of the run ``reference``: verdict, sample and command, then figures and the other samples."""
    summary = result.figures
    *greedy, sampled = result.samples
    ended = f"; stopped early by `{summary['stopped']}`" if summary["stopped"] else ""
    ended += f"; {FELL_OVER}" if summary["fell_over"] else "."
    start, end = corpus.spans(config.preset)["train"]
    if fitted := fitted_on(len(corpus.baseline_text(config.preset)), end - start):
        held_out = f"validation and test read {HELD_OUT_CHARS:,} characters each"
        fitted += f" Each epoch is a pass over {PASS_CHARS:,} of these; {held_out}."
    first = f"**{model.shape}** on **{plain(corpus.label)}** has on test {judged_on_test(summary)}"
    return (
        f"{at_a_glance(first, sampled.text, sample_command(reference, config.seed))}\n\n"
        f"{text_block(sampled.text)}\n\n"
        f"{comparison_table(summary)} {fitted}\n\n"
        f"{sizes(summary)}; {model.implementation}, preset {config.preset}, seed {config.seed}: "
        f"{counted(summary['epochs'], 'epoch')} in {summary['train_seconds']:.1f} s, "
        f"{summary['chars_per_second']:,.0f} characters/s, {summary['precision']} on {summary['device']}{ended}\n\n"
        f"{samples_table(greedy)}"
    )


def model_facts(configuration: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """What its records say of a trained model, as Markdown: figures, cost, text with its licence, and limits."""
    train, text, alphabet = configuration["train"], configuration["text"], configuration["corpus"]["alphabet"]
    known = "26 letters and the space" if alphabet == "letters" else "the characters of its text"
    chars = REPORT_TEXT_CHARS if train["preset"] in ON_REPORTS_TEXT else text["train_chars"]
    tables = " Its n-grams nearly contain the text." if "on_top_of_order" in result else ""
    return (
        f"{verdict(result)}\n\n{comparison_table(result)}\n\n"
        f"- **Cost:** {sizes(result)}. Trained with seed {train['seed']}, preset {train['preset']}, for "
        f"{result['train_seconds']:,.0f} s on {result['device']}.\n"
        f"- **Text:** {plain(text['name'])}, {chars:,} characters to train on, sha256 "
        f"{text['corpus_sha256']}. {licence_of(text['name'])}{tables}\n"
        f"- **Limits:** It knows {known}, and nothing but this text: what it writes is in the manner of the text and "
        "states no facts. Compare its perplexities with those on the same text, alphabet and split only."
    )
