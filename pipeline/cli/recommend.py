"""What ``recommend`` prints."""

from collections.abc import Mapping
from typing import Any

from pipeline.support.wording import counted


def sentence(result: Mapping[str, Any]) -> str:
    """The recommended configuration in words, with the other texts that have trainings."""
    stored = f"{result['stored_numbers']:,} stored numbers, " if result["on_top_of"] != "nothing" else ""
    seeds = f"the mean of {result['seeds']} seeds" if result["seeds"] > 1 else "one seed"
    if result["diverged"]:
        seeds += f"; {result['diverged']} diverged, counted as guessing"
    others = f"\nOther texts (--corpus): {', '.join(result['other_corpora'])}" if result["other_corpora"] else ""
    return (
        f"On {result['corpus']}, of {counted(result['configurations'], 'configuration')}:\n{result['shape']}: "
        f"{result['macs_per_char']:,} MACs per character, {stored}validation perplexity "
        f"{result['val_perplexity']:.3f} ({seeds}){others}"
    )
