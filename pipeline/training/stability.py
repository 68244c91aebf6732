"""Whether a training fell over: it was at its best early, and never came back from a sudden rise of its loss."""

from collections.abc import Sequence
from itertools import pairwise

EARLY = 0.6  # share of the planned epochs before which the best one lies
RISE = 1.1  # of training perplexity, from one epoch to the next
SETTLED = 5  # epochs after which such a rise counts
FEWEST = 10  # planned and made epochs without which nothing is said
FELL_OVER = (
    f"fell over: the best epoch lies before {EARLY:.0%} of the planned ones, and after the {SETTLED}th, training "
    f"perplexity rose by more than {RISE - 1:.0%} in one; half the --learning-rate may be better."
)


def fell_over(train_perplexities: Sequence[float], val_perplexities: Sequence[float], planned_epochs: int) -> bool:
    """Whether a training fell over, from the perplexities of all its epochs; give none that a time limit stopped."""
    if min(planned_epochs, len(train_perplexities)) < FEWEST:
        return False
    best_epoch = val_perplexities.index(min(val_perplexities)) + 1
    settled = train_perplexities[SETTLED - 1 :]
    has_risen = any(later > RISE * earlier for earlier, later in pairwise(settled))
    return best_epoch < EARLY * planned_epochs and has_risen
