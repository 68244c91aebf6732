"""Training batches of a text: the report's sliding windows, or parallel streams.

Shapes: B batch (rows), T time steps, N windows.
"""

from collections.abc import Iterator

from torch import Tensor


def windows(ids: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The report's examples: every window of ``length`` characters, at stride 1.

    Returns inputs and targets, each (N, length) with N = len(ids) - length, as views of ``ids``; target t is the
    character after input t. Raises ValueError for a text shorter than a window and its last target.
    """
    if len(ids) <= length:
        raise ValueError(f"{len(ids):,} characters hold no window of {length}; lower --sequence-length")
    view = ids.unfold(0, length + 1, 1)
    return view[:, :-1], view[:, 1:]


def stream_batches(
    ids: Tensor, batch_size: int, sequence_length: int, offset: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, targets), each (B, <= T), walking the text in order in B parallel streams.

        text    a b c d e f g h i j k l m
        row 0   a b | c d | e f       row b of every batch continues row b of the one before,
        row 1   g h | i j | k l       so the state may be carried across (truncated BPTT)

    ``offset`` characters at the start are skipped, so that each pass may cut the text elsewhere; up to B - 1 characters
    at the end are dropped. ``ids`` (N, ...) may also hold anything else of each character. Raises ValueError for a text
    too short to fill the rows.
    """
    length = (len(ids) - 1 - offset) // batch_size
    if length < 1:
        raise ValueError(
            f"{len(ids):,} characters cannot fill {batch_size} rows; lower --batch-size or use a longer text"
        )
    inputs = ids[offset : offset + batch_size * length].unflatten(0, (batch_size, length))
    targets = ids[offset + 1 : offset + 1 + batch_size * length].unflatten(0, (batch_size, length))
    for start in range(0, length, sequence_length):
        yield inputs[:, start : start + sequence_length], targets[:, start : start + sequence_length]
