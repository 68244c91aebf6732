"""Text from a LanguageModel: greedy, sampled or by beam search, for many prompts at once.

Shapes: P prompts, T characters of a prompt, V vocabulary, K beams of each prompt, S steps (characters to generate).

Every prompt is read in one forward call, from zeros, into a state of its own; the states are then put together and
each further step is one forward call for all prompts. What is chosen for a prompt depends on no other prompt, up to
the last bits of the matrix products, which BLAS may round differently for another batch size.

Choosing happens on the CPU, in float64 where probabilities are added up, so that a text does not depend on how well
another device sorts or draws.
"""

from collections.abc import Iterator, Sequence
from math import inf
from zlib import crc32

import torch
from torch import Tensor

from models.config import check_range
from models.decoding import Decoding
from models.language_model import LanguageModel, State, select


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    length: int,
    decoding: Decoding,
    forbidden: Sequence[int] = (),
) -> Iterator[list[int]]:
    """Yield, ``length`` times, the next character id of every prompt, as soon as it is known.

    Beam search knows nothing before it has seen the whole text, and then yields it step by step. ``forbidden`` ids
    are never produced; the others share their probability. A model in training mode reads in evaluation mode and is
    back in training mode at every yield.

    Raises ValueError at once, before the first step, for an empty prompt or ids outside of the vocabulary.
    """
    check_range("length", length, low=0)
    for index, prompt in enumerate(prompts):
        if not len(prompt):
            raise ValueError(f"prompt {index + 1} of {len(prompts)} is empty; give it at least one character")
    for ids, what in [*((prompt, "a prompt") for prompt in prompts), (forbidden, "forbidden")]:
        outside = [i for i in ids if not 0 <= i < model.vocab_size]
        if outside:
            raise ValueError(f"{what} has the id {outside[0]}; the model's vocabulary is 0 to {model.vocab_size - 1}")
    if len(set(forbidden)) == model.vocab_size:
        raise ValueError(f"all {model.vocab_size} characters are forbidden; leave at least one")
    if not len(prompts):
        return iter(())
    penalty = torch.zeros(model.vocab_size)
    penalty[list(forbidden)] = -inf
    steps = _beam_search if decoding.method == "beam" else _step_by_step
    return steps(model, prompts, length, decoding, penalty)


def complete(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    length: int,
    decoding: Decoding,
    forbidden: Sequence[int] = (),
) -> list[list[int]]:
    """The whole continuations, each ``length`` ids without its prompt: what ``generate`` yields, put together."""
    texts: list[list[int]] = [[] for _ in prompts]
    for ids in generate(model, prompts, length, decoding, forbidden):
        for text, next_id in zip(texts, ids, strict=True):
            text.append(next_id)
    return texts


def _forward(model: LanguageModel, ids: Tensor, state: State | None, penalty: Tensor) -> tuple[Tensor, State]:
    """ids (B, T) on the CPU -> logits after the last of them (B, V) on the CPU, new state on the model's device.

    penalty (V,) is added to the logits: -inf for what is forbidden, else 0.
    """
    training = model.training
    if training:
        model.eval()
    try:
        logits, state = model(ids.to(model.output.weight.device), state)
    finally:
        if training:
            model.train()
    return logits[:, -1].cpu() + penalty, state


def _read(model: LanguageModel, prompts: Sequence[Sequence[int]], penalty: Tensor) -> tuple[Tensor, State]:
    """Each prompt in one call -> logits (P, V) of what follows it, the states (L, P, H) side by side."""
    read = [_forward(model, torch.tensor([list(prompt)]), None, penalty) for prompt in prompts]
    states = [state if isinstance(state, tuple) else (state,) for _, state in read]
    parts = tuple(torch.cat(part, dim=1) for part in zip(*states, strict=True))
    return torch.cat([logits for logits, _ in read]), parts if len(parts) > 1 else parts[0]


@torch.inference_mode()
def _step_by_step(
    model: LanguageModel, prompts: Sequence[Sequence[int]], length: int, decoding: Decoding, penalty: Tensor
) -> Iterator[list[int]]:
    """Greedy and sampled text: one character of every prompt at a time.

    Each prompt has random numbers of its own, by the seed and its characters: whatever the order and the company of
    the prompts. With the same numbers for all, the texts of different prompts would run into each other.
    """
    keys = [crc32(str(list(prompt)).encode()) for prompt in prompts]
    random = [torch.Generator().manual_seed((decoding.seed + key) % 2**63) for key in keys]
    logits, state = _read(model, prompts, penalty)
    for step in range(length):
        if decoding.method == "greedy":
            ids = logits.argmax(dim=-1)
        else:
            uniform = torch.stack([torch.rand(1, generator=each, dtype=torch.float64) for each in random])
            ids = draw(logits, uniform, decoding)
        yield ids.tolist()
        if step < length - 1:
            logits, state = _forward(model, ids[:, None], state, penalty)


def truncated_softmax(logits: Tensor, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """logits (..., V) -> probabilities (..., V) in float64, largest first, and the ids they belong to (..., V).

    softmax(logits / temperature), of which the top_k largest are kept, and of those, shares of one again, the
    smallest set whose probability reaches top_p (the nucleus of Holtzman et al. 2020, arXiv:1904.09751, section 3.1).
    The rest is 0, and what is kept sums to one.
    """
    logits, ids = logits.double().sort(dim=-1, descending=True, stable=True)
    logits = (logits - logits[..., :1]) / decoding.temperature  # the largest is 0: no temperature is too small
    if decoding.top_k:
        logits[..., decoding.top_k :] = -inf
    probabilities = logits.softmax(dim=-1)
    if decoding.top_p < 1:
        before = probabilities.cumsum(dim=-1) - probabilities  # held by the more probable ones
        probabilities = probabilities.masked_fill(before >= decoding.top_p, 0)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities, ids


def draw(logits: Tensor, uniform: Tensor, decoding: Decoding) -> Tensor:
    """logits (P, V), random numbers in [0, 1) (P, 1) -> ids (P,) drawn from the truncated softmax.

    The id is where the number falls among the probabilities laid end to end, largest first.
    """
    probabilities, ids = truncated_softmax(logits, decoding)
    rank = (probabilities.cumsum(dim=-1) <= uniform).sum(dim=-1, keepdim=True)
    # where the sum is rounded to less than one; at least 0 where the logits are no numbers
    last_kept = ((probabilities > 0).sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    return ids.gather(-1, torch.minimum(rank, last_kept)).squeeze(-1)


@torch.inference_mode()
def _beam_search(
    model: LanguageModel, prompts: Sequence[Sequence[int]], length: int, decoding: Decoding, penalty: Tensor
) -> Iterator[list[int]]:
    """The most probable text that a beam finds: at each step the K best of all K V one character longer.

    A beam's score is the sum of its characters' log-probabilities; all beams of a step have the same length, so
    nothing needs to be normalised. The beams of all prompts, (P K, 1), are one forward call a step.
    """
    num_prompts, vocab_size = len(prompts), model.vocab_size
    logits, state = _read(model, prompts, penalty)
    scores = torch.zeros(num_prompts, 1, dtype=torch.float64)
    steps: list[tuple[Tensor, Tensor]] = []  # (P, K) each: the beam of the step before, and the id put after it
    for step in range(length):
        log_probabilities = logits.double().log_softmax(dim=-1).view(num_prompts, -1, vocab_size)
        candidates = (scores[:, :, None] + log_probabilities).flatten(1)
        num_beams = scores.shape[1]
        scores, best = candidates.topk(min(decoding.beam_width, candidates.shape[1]))
        parents, ids = best // vocab_size, best % vocab_size
        steps.append((parents, ids))
        if step < length - 1:
            rows = torch.arange(num_prompts)[:, None] * num_beams + parents
            state = select(state, rows.flatten().to(model.output.weight.device))
            logits, state = _forward(model, ids.reshape(-1, 1), state, penalty)
    beam = scores.argmax(dim=1, keepdim=True)
    text: list[Tensor] = []
    for parents, ids in reversed(steps):
        text.append(ids.gather(1, beam).squeeze(1))
        beam = parents.gather(1, beam)
    for chosen in reversed(text):
        yield chosen.tolist()
