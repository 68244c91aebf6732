"""N-grams of all orders as tensors: each order is the Kneser-Ney model, and the gate's training is honest."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models import gated_ngrams
from models.gated_ngrams import CrossFitted, NGramModel, NGramTables, OrderGate, contiguous_parts, fit_gate, sample_of
from models.ngram import KneserNey, ngrams_of, predicted_bits_per_char
from models.pruning import pruned
from tests.models.made_up import IS_LETTER, VOCAB, a_text

TEXT = a_text(600)
HELD_OUT = np.concatenate([a_text(40, seed=1), [5, 1, 5, 1, 1, 0, 3]]).astype(np.int64)


def tables_of(text: np.ndarray = TEXT, order: int = 4) -> NGramTables:
    return NGramTables(KneserNey(text, VOCAB, order))


def evidence_about(text: np.ndarray, tables: NGramTables) -> Tensor:
    """Evidence (N - 1, K, V + 4) about each character but the first."""
    return torch.cat(list(tables.about(text, 1, len(text))))


def log_probabilities_by(text: np.ndarray, tables: NGramTables) -> Tensor:
    """Log-probabilities (N - 1, K) of each character but the first by each order."""
    targets = torch.from_numpy(text[1:].astype(np.int64))[:, None, None].expand(-1, tables.order, 1)
    return evidence_about(text, tables).gather(-1, targets)[..., 0]


def random_gate(orders: int) -> OrderGate:
    torch.manual_seed(0)
    gate = OrderGate(orders, gated_ngrams.gate_letters(TEXT, IS_LETTER))
    torch.nn.init.normal_(gate.output.weight, std=0.3)
    return gate


# --- the tables ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
    st.lists(st.integers(0, 3), min_size=2, max_size=9),
    st.integers(1, 5),
)
def test_each_order_of_the_tables_is_the_kneser_ney_model_of_that_order(text, held_out, longest):
    fitted = KneserNey(np.array(text, dtype=np.int32), 4, longest)
    evidence = evidence_about(np.array(held_out), NGramTables(fitted))
    for order in range(1, longest + 1):
        for i in range(1, len(held_out)):
            one_by_one = [fitted.of_order(order).log2_probabilities([*held_out[:i], symbol])[-1] for symbol in range(4)]
            np.testing.assert_allclose(evidence[i - 1, order - 1, :4] / np.log(2), one_by_one, rtol=1e-5, atol=1e-5)


def test_the_gate_sees_entropies_largest_log_probabilities_and_divergences():
    evidence = evidence_about(HELD_OUT, tables_of())
    logs = evidence[..., :VOCAB].double()
    lower = torch.cat([torch.full_like(logs[:, :1], -np.log(VOCAB)), logs[:, :-1]], dim=1)
    divergence = (logs.exp() * (logs - lower)).sum(-1)
    expected = torch.stack([-(logs.exp() * logs).sum(-1), logs.amax(-1), divergence], dim=-1)
    torch.testing.assert_close(evidence[..., VOCAB:-1].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("first", [0, 2046])  # id of the text
def test_the_gate_sees_the_letters_in_a_row_as_far_as_there_are_contexts(first):
    text, read, vocab_size = TEXT.astype(np.int64) + first, HELD_OUT + first, VOCAB + first
    is_letter = gated_ngrams.gate_letters(text, np.arange(vocab_size) % 4 > 0)
    gate, given = OrderGate(5, is_letter), list[Tensor]()
    gate.hidden.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0][:, 15:]))
    evidence = evidence_about(read, NGramTables(KneserNey(text, vocab_size, 5)))
    gate(evidence.half().float())  # as in a cross-fitted text
    known = {tuple(text[start : start + n]) for n in range(1, 5) for start in range(len(text) - n + 1)}
    for end, inputs in enumerate(given[0], 1):
        contexts = [read[end - n : end] for n in range(1, min(end, 4) + 1)]
        before = [min(int(context[0]), 2048) for context in contexts if tuple(context) in known]
        in_row = next((n for n, id in enumerate(before) if not is_letter[id]), len(before))
        assert inputs.tolist() == [n == in_row for n in range(5)]


def test_a_symbol_with_a_large_id_is_a_letter_to_the_gate_if_most_of_them_are():
    ids, is_letter = np.repeat([9, 2048, 2049, 2050], [3, 100, 4, 101]), np.isin(np.arange(3000), [9, 2050])
    assert gated_ngrams.gate_letters(ids, is_letter)[[7, 9, 2048]].tolist() == [0, 1, 0]
    assert gated_ngrams.gate_letters(np.append(ids, [2050] * 4), is_letter)[2048] == 1  # stands for 2050


def test_a_text_read_in_parts_has_the_contexts_of_the_whole():
    tables, rows = tables_of(), torch.from_numpy(np.stack([HELD_OUT, HELD_OUT[::-1]]))
    whole = tables.contexts(rows, torch.zeros(2, 3, dtype=torch.int64))
    for characters in (1, 2, 20):
        read = whole[:, :1]
        for part in rows.split(characters, dim=1):
            read = torch.cat([read, tables.contexts(part, read[:, -1, 1:])[:, 1:]], dim=1)
        assert torch.equal(read, whole)
    assert torch.equal(tables(whole)[0, 1:-1], evidence_about(HELD_OUT, tables))


def test_the_tables_hold_every_ngram_once():
    ngrams = {tuple(TEXT[start : start + n]) for n in range(1, 6) for start in range(len(TEXT) - n + 1)}
    assert tables_of(order=5).entries == len(ngrams)


@pytest.mark.parametrize(("text", "vocab_size"), [(TEXT, VOCAB), (np.arange(40_000), 60_000)])
def test_tables_come_back_from_their_tensors(text, vocab_size):
    tables = NGramTables(KneserNey(text, vocab_size, 3))
    again = NGramTables.from_tensors(tables.tensors(), vocab_size)
    assert (again.order, again.entries) == (3, tables.entries)
    for (name, theirs), ours in zip(again.named_buffers(), tables.buffers(), strict=True):
        assert torch.equal(theirs, ours), name


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("keys", lambda keys: keys.flip(0), "not sorted"),
        ("keys", lambda keys: keys + 10**6, "contexts that do not exist"),
        ("keys", lambda keys: keys - 1, "not exist"),
        ("sizes", lambda sizes: sizes - 1, "n-grams of each order"),
        ("sizes", lambda sizes: sizes.flip(0), "contexts that do not exist"),
        ("lower_shares", lambda shares: shares[:-1], "shape"),
        ("shares", lambda shares: -shares, "between 0 and 1"),
        ("shares", lambda shares: shares.fill_(0.9), "more than 1"),
    ],
)
def test_damaged_tables_are_refused(name, change, reason):
    tensors = tables_of().tensors()
    with pytest.raises(ValueError, match=reason):
        NGramTables.from_tensors(tensors | {name: change(tensors[name])}, VOCAB)


# --- the model -------------------------------------------------------------------------------------------------------


def test_before_training_the_gate_makes_the_geometric_mean_of_the_orders():
    tables = tables_of()
    expected = evidence_about(HELD_OUT, tables)[..., :VOCAB].mean(1).log_softmax(-1)
    torch.testing.assert_close(NGramModel(tables, OrderGate(4)).log_probabilities(HELD_OUT, 1), expected)


@pytest.mark.parametrize("gate", [None, random_gate(4)])
def test_a_text_scored_in_pieces_costs_what_it_costs_as_a_whole(gate):
    model = NGramModel(tables_of(), gate)
    whole, costs = model.log_probabilities(HELD_OUT), model.costs(HELD_OUT)
    torch.testing.assert_close(-whole[1:].gather(1, torch.from_numpy(HELD_OUT[1:, None]))[:, 0].double(), costs)
    for characters in (1, 1000):
        model.tables.at_once = characters
        torch.testing.assert_close(model.log_probabilities(HELD_OUT, 2), whole[2:])
        torch.testing.assert_close(model.costs(HELD_OUT), costs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fitted", [KneserNey(TEXT, VOCAB, 3), pruned(ngrams_of(TEXT, VOCAB, 3), VOCAB, 200)])
def test_without_a_gate_the_model_is_the_largest_order(fitted):
    bits = float(NGramModel(NGramTables(fitted), None).costs(HELD_OUT).mean() / np.log(2))
    assert bits == pytest.approx(predicted_bits_per_char(fitted, HELD_OUT), rel=1e-6)


# --- cross-fitting and the gate's training ---------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "most"), [(0, 0), (19, 0), (19, 50)])
def test_a_part_is_predicted_by_ngrams_of_the_rest_of_the_text(part, most):
    start, end = contiguous_parts(len(TEXT))[part]
    ours = CrossFitted(TEXT, tables_of(), contiguous_parts(len(TEXT)), most)(start, end)
    rest, before = np.concatenate([TEXT[:start], TEXT[end:]]), min(start, 4)
    others = NGramTables(pruned(ngrams_of(rest, VOCAB, 4), VOCAB, most))
    expected = evidence_about(TEXT[start - before : end], others)[max(0, before - 1) :]
    torch.testing.assert_close(ours[-len(expected) :].float(), expected, atol=0.005, rtol=0.001)


def test_what_lies_between_the_parts_is_predicted_by_the_tables_themselves():
    tables = tables_of(np.concatenate([TEXT[:100], TEXT[300:400]]), 3)
    ours = CrossFitted(TEXT, tables, [(0, 100), (300, 400)])(150, 250)
    torch.testing.assert_close(ours.float(), evidence_about(TEXT[148:250], tables)[1:], atol=0.005, rtol=0.001)


def test_a_fitted_gate_is_better_than_every_order_and_depends_on_nothing_else():
    text, held_out, tables = a_text(2000), a_text(1000, seed=1), tables_of(a_text(2000), 6)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    is_letter = gated_ngrams.gate_letters(text, IS_LETTER)
    gate = fit_gate(sample_of(text, tables), is_letter)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = fit_gate(sample_of(text, tables), is_letter).state_dict()
    assert all(torch.equal(again[name], value) for name, value in gate.state_dict().items())
    by_order = -log_probabilities_by(held_out, tables).mean(0)
    assert NGramModel(tables, gate).costs(held_out).mean() < 0.97 * by_order.min()


def test_a_gate_is_calibrated_by_the_factor_that_predicts_a_text_best():
    model = NGramModel(tables_of(), random_gate(4))
    at_each = []
    for scale in gated_ngrams.GATE_SCALES:
        gate = random_gate(4)
        for parameter in gate.output.parameters():
            parameter.data.mul_(scale)
        at_each.append(float(NGramModel(model.tables, gate).costs(HELD_OUT).mean()))
    assert min(at_each) < at_each[5]  # of 1.0
    assert model.calibrate(HELD_OUT) == pytest.approx(min(at_each))
    assert float(model.costs(HELD_OUT).mean()) == pytest.approx(min(at_each))


@pytest.mark.slow
def test_perplexities_of_the_time_machine(splits):
    train, is_letter = splits["train"], np.arange(28) > 1  # after the space and <unk>
    tables = NGramTables(KneserNey(train, 28, gated_ngrams.LONGEST))
    model = NGramModel(tables, fit_gate(sample_of(train, tables), gated_ngrams.gate_letters(train, is_letter)))
    perplexities = [float(model.costs(splits[name]).mean().exp()) for name in ("val", "test")]
    assert perplexities == pytest.approx([3.462, 3.538], abs=0.003)
