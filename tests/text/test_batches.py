"""Windows are the book's; streams read every character once, in order, each row going on where it left off."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.errors import InputError
from pipeline.text.batches import stream_batches, windows


def a_text(length: int) -> Tensor:
    """Ids that say where they stand."""
    return torch.arange(length)


def rows_of(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The batches put together again: inputs and targets, each (B, length of a row)."""
    inputs, targets = zip(*batches, strict=True)
    return torch.cat(inputs, dim=1), torch.cat(targets, dim=1)


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Length of a text that fills its rows, rows, steps, offset."""
    batch_size, offset = draw(st.integers(1, 8)), draw(st.integers(0, 12))
    length = draw(st.integers(batch_size + 1 + offset, 200))
    return length, batch_size, draw(st.integers(1, 40)), offset


# --- windows ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 60))
def test_windows_are_the_books(length, more):
    ids = a_text(length + more)
    inputs, targets = windows(ids, length)
    book = torch.stack([ids[i : i + length + 1] for i in range(len(ids) - length)])  # d2l's TimeMachine
    assert torch.equal(inputs, book[:, :-1])
    assert torch.equal(targets, book[:, 1:])
    assert inputs.data_ptr() == ids.data_ptr()  # views


@pytest.mark.parametrize("length", [0, 5, 32])
def test_a_text_without_a_window_is_refused_naming_the_option(length):
    with pytest.raises(InputError, match=f"{length} characters hold no window of 32; lower sequence_length"):
        windows(a_text(length), 32)


# --- streams ---------------------------------------------------------------------------------------------------------


@given(streams())
def test_every_character_is_read_once_in_rows_that_continue_from_batch_to_batch(stream):
    length, batch_size, steps, offset = stream
    batches = list(stream_batches(a_text(length), batch_size, steps, offset))
    *full, last = [inputs.shape for inputs, _ in batches]
    assert set(full) <= {(batch_size, steps)}
    assert last[0] == batch_size
    assert 1 <= last[1] <= steps
    inputs, targets = rows_of(iter(batches))
    read = inputs.numel()
    assert torch.equal(inputs.flatten(), torch.arange(offset, offset + read))
    assert torch.equal(targets, inputs + 1)
    assert 0 <= (length - 1 - offset) - read <= batch_size - 1  # the last character is no input
