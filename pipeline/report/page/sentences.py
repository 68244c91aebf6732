"""Compose the sentences and banners of the report's page."""

from collections.abc import Iterable, Sequence

from pipeline.config import WINDOW_LENGTH
from pipeline.report.learning import BASELINE_ORDER
from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.report.statements.evidence import protocol_epochs
from pipeline.report.statements.verdicts import Verdict, Word, words_counted
from pipeline.report.wording import counted, listed, rounded, span
from pipeline.support.statistics import estimate

DRAWN_ORDERS = (1, 4, 6)  # of the n-grams, as lines in the figures

SIGNS: dict[Word, tuple[str, str]] = {  # sign, CSS class
    "reproduced": ("✓", "holds"),
    "in part": ("◐", "open"),
    "conclusion right, reason wrong": ("◑", "open"),
    "not reproduced": ("✗", "fails"),
    "open": ("?", "open"),
}


def _planned(configurations: Iterable[Configuration]) -> list[int]:
    return sorted({run.epochs_planned for configuration in configurations for run in configuration.furthest})


def quick_words(reproduction: Reproduction) -> str:
    planned = _planned(reproduction.configurations) or [0]
    return f"A quick check of {span(planned)} epoch{'' if planned == [1] else 's'}: no reproduction"


def titled(reproduction: Reproduction, title: str) -> str:
    return f"{title} ({quick_words(reproduction)[2:]})" if reproduction.quick else title


def drawn_baselines(reproduction: Reproduction) -> dict[str, float]:
    """Perplexities of the n-grams drawn in figures, by label."""
    known = reproduction.text.val_perplexities
    return {order_name(order): known[order] for order in DRAWN_ORDERS if order in known}


def order_name(order: int) -> str:
    return "letter frequencies" if order == 1 else f"{order}-gram"


def about_sentences(reproduction: Reproduction, own: bool) -> list[str]:
    """Introduce the page and its two metrics, perplexity and MACs."""
    what = (
        "“The report” is a coursework report of 2023 that trains character-level GRU, LSTM and RNN language models on "
        "H. G. Wells's The Time Machine in the style of the d2l.ai book, and compares their perplexity, training time, "
        "text and size; this page trains them again under the book's protocol, for its readers, and for students of "
        "what such figures do and do not show."
        if own
        else f"This page sets what {reproduction.table.name} reports of character-level recurrent language models "
        "beside the same models trained on H. G. Wells's The Time Machine under the protocol of the d2l.ai book."
    )
    return [
        what,
        "Perplexity, exp of the mean cross-entropy per character, is the number of equally likely characters "
        "between which a model is left undecided on average: "
        f"{reproduction.text.vocab_size} is a blind guess, 1 is certainty. MACs, multiply-accumulate operations, are "
        "what the use of a model costs, whatever the machine.",
    ]


def banners(reproduction: Reproduction) -> list[str]:
    """Warnings for the top of the page: a quick check, or another number of epochs than the protocol's."""
    sentences = []
    if reproduction.quick:
        sentences.append(
            f"{quick_words(reproduction)}. Its figures say that everything runs, and nothing of the report's claims."
        )
    else:
        other = [
            configuration
            for configuration in reproduction.configurations
            if any(run.epochs_planned != protocol_epochs(configuration.reported) for run in configuration.furthest)
        ]
        if other:
            sentences.append(
                f"{listed([configuration.id for configuration in other])}: trained for {span(_planned(other))} epochs, "
                f"where the protocol has {span([protocol_epochs(configuration.reported) for configuration in other])}."
            )
    return sentences


def training_sentence(reproduction: Reproduction) -> str:
    """One sentence on the number of trainings, their epochs and seeds."""
    runs = [run for configuration in reproduction.configurations for run in configuration.runs]
    if not runs:
        return "Nothing has been trained."
    seeds = sorted({run.seed for run in runs})
    begun = sum(bool(configuration.runs) for configuration in reproduction.configurations)
    whole = sum(run.is_whole for run in runs)
    of_them = "all of them whole" if whole == len(runs) else f"{whole} of them whole"
    named = f"seed{'s' * (len(seeds) > 1)} {listed([str(seed) for seed in seeds])}"
    return (
        f"{counted(len(runs), 'training')} of {begun} of {len(reproduction.configurations)} configurations, {of_them}: "
        f"{span(_planned(reproduction.configurations) or [0])} epochs, {named}."
    )


# --- the summary -----------------------------------------------------------------------------------------------------


def summary_sentences(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> list[str]:
    """The main results in up to five sentences."""
    whole = [configuration for configuration in reproduction.configurations if configuration.whole]
    missing: dict[tuple[str, str], list[str]] = {}
    for configuration in reproduction.configurations:
        if not configuration.whole:
            missing.setdefault((configuration.progress, configuration.stopped), []).append(configuration.id)
    trained = f"{len(whole)} of {len(reproduction.configurations)} configurations were trained for all their epochs"
    sentences = ["; ".join([trained, *(_missing(*how, ids) for how, ids in missing.items())]) + "."]
    if whole:
        sentences += [_best_sentence(reproduction, whole), _gap_sentence(whole)]
    sentences.append(_claims_sentence(reproduction, verdicts))
    streamed = [
        (run.best_val, run.test_perplexity, configuration.shape)
        for configuration in reproduction.configurations
        for run in configuration.stream
        if run.is_whole and run.test_perplexity is not None
    ]
    if streamed:
        # selected by validation, never by the test text
        val, value, shape = min(streamed, key=lambda training: training[0])
        baseline = reproduction.text.test_perplexity
        sentences.append(
            f"Trained on nine tenths of the text by this project's own recipe, the best of the same shapes by "
            f"validation ({shape}, {rounded(val)}) has a perplexity of {rounded(value)} on held-out test text, "
            f"{'ahead of' if value < baseline else 'behind'} a Kneser-Ney "
            f"{reproduction.text.test_order}-gram's {rounded(baseline)}."
        )
    return sentences


def _missing(progress: str, stopped: str, ids: Sequence[str]) -> str:
    """Describe configurations whose trainings are missing or incomplete."""
    were = "was" if len(ids) == 1 else "were"
    if progress == "not run":
        return f"{listed(ids)} {were} not run"
    return (
        f"{listed(ids)} {were} stopped after {progress} ({stopped})"
        if stopped
        else f"{listed(ids)} {were} trained for {progress}"
    )


def _best_sentence(reproduction: Reproduction, whole: Sequence[Configuration]) -> str:
    """Compare the best network with n-grams, by the rule of pipeline.report.learning."""
    best = min(whole, key=lambda configuration: configuration.mean_best_val)
    epochs = span([run.best_epoch for run in best.furthest])
    text = reproduction.text
    sentence = (
        f"The best network reaches a validation perplexity of {rounded(best.mean_best_val)} ({best.id}, epoch {epochs})"
    )
    if BASELINE_ORDER not in text.windowed:
        return f"{sentence}."

    def pooled_of(configuration: Configuration) -> float:
        return estimate([run.val_pooled[run.best_epoch - 1] for run in configuration.furthest]).mean

    pooled = pooled_of(best)
    ahead = sum(pooled_of(configuration) < text.windowed[BASELINE_ORDER] for configuration in whole)
    orders = [order for order in (4, 5, 6) if order in text.windowed]
    windowed, known = (
        listed([f"{rounded(baselines[order])} for order {order}" for order in orders if order in baselines])
        for baselines in (text.windowed, text.val_perplexities)
    )
    return (
        f"{sentence}, averaged as the book does it, and {rounded(pooled)} pooled over all characters. Modified "
        f"Kneser-Ney n-grams (Chen and Goodman 1998) of the same training characters reach {windowed} where each "
        f"window of {WINDOW_LENGTH} starts without context, as the networks' do, and {known} with it, so that "
        f"{ahead or 'none'} of the {len(whole)} networks {'is' if ahead in (0, 1) else 'are'} better than a "
        f"{BASELINE_ORDER}-gram that reads as they do."
    )


def _gap_sentence(whole: Sequence[Configuration]) -> str:
    def end(configuration: Configuration, curve: str) -> float:
        return estimate([getattr(run, curve)[-1] for run in configuration.furthest]).mean

    widest = max(whole, key=lambda configuration: end(configuration, "val") - end(configuration, "train"))
    epochs = span([run.best_epoch for run in widest.furthest])
    return (
        f"The gap is widest for {widest.id}, which ends at {rounded(end(widest, 'train'))} in training and at "
        f"{rounded(end(widest, 'val'))} in validation, after {rounded(widest.mean_best_val)} at epoch {epochs}."
    )


def outcome_counts(verdicts: Sequence[Verdict]) -> str:
    """Count the verdicts by word: "120 reproduced, 60 in part, ..."."""
    return ", ".join(f"{number} {word}" for word, number in words_counted(verdicts).items())


def _claims_sentence(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> str:
    judged = [agrees for configuration in reproduction.configurations for _, _, agrees in printed_sizes(configuration)]
    printed = [agrees for agrees in judged if agrees is not None]
    right = sum(printed)
    sizes = "Parameters and MACs are not reported."
    if printed:
        sizes = f"{right} of {counted(len(printed), 'reported size')} (parameters, MACs) are those of the shape named."
    return f"Of {len(verdicts)} statements {outcome_counts(verdicts)}; {sizes}" if verdicts else sizes


def printed_sizes(configuration: Configuration) -> tuple[tuple[str, str, bool | None], tuple[str, str, bool | None]]:
    """Parameters and MMac, each as (correct text, printed text, whether they agree)."""
    reported, size = configuration.reported, configuration.complexity
    mmac = "" if reported.mmac is None else f"{reported.mmac:.10g}"
    return (
        (
            f"{size.report_parameters / 1e3:,.2f} k",
            reported.params,
            reported.agrees_on_parameters(size.report_parameters),
        ),
        (f"{size.report_macs / 1e6:,.2f}", mmac, reported.agrees_on_macs(size.report_macs)),
    )
