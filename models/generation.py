"""Generate text with a LanguageModel: greedily, by sampling or by beam search, for many prompts at once.

Shapes: P prompts, T characters of a prompt, V vocabulary, K beams of each prompt, S steps (characters to generate).

Each prompt is read in one forward call from the initial state; the states are then concatenated, and each further step
is one forward call for all prompts. The text of a prompt does not depend on the other prompts, except that BLAS may
round matrix products differently for another batch size.

Characters are chosen on the CPU, with probabilities in float64, so that the choice does not depend on the device.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from zlib import crc32

import torch
from torch import Tensor

from models.config import check_range
from models.decoding import LONGEST_TEXT, Decoding
from models.language_model import LanguageModel
from models.recurrent import State, parts_of, state_of


def generate(
    model: LanguageModel,
    prompts: Sequence[Iterable[int]],
    length: int,
    decoding: Decoding,
    forbidden: Sequence[int] = (),
) -> Iterator[list[int]]:
    """Yield, ``length`` times, the next character id of every prompt, as soon as it is known.

    A prompt is any iterable of at least one id, such as a list, an array or a tensor. Beam search yields nothing before
    its search is complete. ``forbidden`` ids are never generated; their probability is distributed over the others in
    proportion. A model in training mode is run in evaluation mode and is back in training mode at every yield.

    Raises ConfigError, when it is called, for a length that is negative, not whole or above LONGEST_TEXT.
    """
    check_range("length", length, is_whole=True, low=0, high=LONGEST_TEXT)
    starts = [[int(i) for i in prompt] for prompt in prompts]
    if not starts:
        return iter(())
    penalty = torch.zeros(model.vocab_size)
    penalty[list(forbidden)] = -inf
    steps = _beam_search if decoding.method == "beam" else _step_by_step
    return steps(model, starts, length, decoding, penalty)


def complete(
    model: LanguageModel,
    prompts: Sequence[Iterable[int]],
    length: int,
    decoding: Decoding,
    forbidden: Sequence[int] = (),
) -> list[list[int]]:
    """The continuation of each prompt as a list of ``length`` ids; arguments and errors as for ``generate``."""
    steps = list(generate(model, prompts, length, decoding, forbidden))
    return [[ids[number] for ids in steps] for number in range(len(prompts))]


def _forward(model: LanguageModel, ids: Tensor, state: State | None, penalty: Tensor) -> tuple[Tensor, State]:
    """ids (B, T) on the CPU -> logits (B, V) after the last id, on the CPU; new state on the model's device.

    ``penalty`` (V,) is added to the logits: -inf for forbidden ids, else 0.
    """
    training = model.training  # modes are set only if need be: it takes a tenth of the time of a character
    if training:
        model.eval()
    logits, state = model(ids.to(model.output.weight.device), state)
    if training:
        model.train()
    return logits[:, -1].cpu() + penalty, state


def _read(model: LanguageModel, prompts: list[list[int]], penalty: Tensor) -> tuple[Tensor, State]:
    """Read each prompt in one forward call -> logits (P, V) of the next characters, state (L, P, H)."""
    read = [_forward(model, torch.tensor([prompt]), None, penalty) for prompt in prompts]
    parts = zip(*(parts_of(state) for _, state in read), strict=True)
    return torch.cat([logits for logits, _ in read]), state_of(tuple(torch.cat(part, dim=1) for part in parts))


@torch.inference_mode()
def _step_by_step(
    model: LanguageModel, prompts: list[list[int]], length: int, decoding: Decoding, penalty: Tensor
) -> Iterator[list[int]]:
    """Greedy decoding and sampling: one character of every prompt at a time.

    Each prompt has its own random generator, seeded by ``decoding.seed`` and the prompt, so that a text does not depend
    on the order or number of the prompts. If all prompts drew the same random numbers, their texts would become alike.
    """
    keys = [crc32(str(prompt).encode()) for prompt in prompts]
    generators = [torch.Generator().manual_seed((decoding.seed + key) % 2**63) for key in keys]
    logits, state = _read(model, prompts, penalty)
    for step in range(length):
        if decoding.method == "greedy":
            ids = logits.argmax(dim=-1)
        else:
            uniform = torch.stack([torch.rand(1, generator=one, dtype=torch.float64) for one in generators])
            ids = draw(logits, uniform, decoding)
        yield ids.tolist()
        if step < length - 1:
            logits, state = _forward(model, ids[:, None], state, penalty)


def truncated_softmax(logits: Tensor, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """logits (..., V) -> probabilities (..., V) in float64, largest first, and the ids they belong to (..., V).

    softmax(logits / temperature), truncated to the top_k largest and renormalised, then truncated to the smallest set
    whose probability reaches top_p (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751, section 3.1) and
    renormalised. Truncated probabilities are 0.
    """
    logits, ids = logits.double().sort(dim=-1, descending=True, stable=True)
    logits = (logits - logits[..., :1]) / decoding.temperature  # the largest is 0, so that a tiny one does not overflow
    if decoding.top_k:
        logits[..., decoding.top_k :] = -inf
    probabilities = logits.softmax(dim=-1)
    if decoding.top_p < 1:
        before = probabilities.cumsum(dim=-1) - probabilities  # total probability of the more probable ids
        probabilities = probabilities.masked_fill(before >= decoding.top_p, 0)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities, ids


def draw(logits: Tensor, uniform: Tensor, decoding: Decoding) -> Tensor:
    """logits (P, V), uniform random numbers in [0, 1) (P, 1) -> ids (P,) drawn from the truncated softmax.

    Inverse transform sampling over the probabilities in descending order.
    """
    probabilities, ids = truncated_softmax(logits, decoding)
    rank = (probabilities.cumsum(dim=-1) <= uniform).sum(dim=-1, keepdim=True)
    # the sum may round to less than 1, so the rank is limited to the last kept id; NaN logits keep none
    last_kept = ((probabilities > 0).sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    return ids.gather(-1, torch.minimum(rank, last_kept)).squeeze(-1)


@torch.inference_mode()
def _beam_search(
    model: LanguageModel, prompts: list[list[int]], length: int, decoding: Decoding, penalty: Tensor
) -> Iterator[list[int]]:
    """Beam search: at each step, keep the K best of the K V continuations by one character.

    A beam's score is the sum of its log-probabilities; all beams have the same length, so none is normalised by it.
    Each step is one forward call for the beams of all prompts, (P K, 1).
    """
    num_prompts, vocab_size = len(prompts), model.vocab_size
    logits, state = _read(model, prompts, penalty)
    scores = torch.zeros(num_prompts, 1, dtype=torch.float64)
    steps: list[tuple[Tensor, Tensor]] = []  # (P, K) each: the beam of the step before that is continued, and the id
    for step in range(length):
        log_probabilities = logits.double().log_softmax(dim=-1).view(num_prompts, -1, vocab_size)
        candidates = (scores[:, :, None] + log_probabilities).flatten(1)
        num_beams = scores.shape[1]
        scores, best = candidates.topk(min(decoding.beam_width, candidates.shape[1]))
        parents, ids = best // vocab_size, best % vocab_size
        steps.append((parents, ids))
        if step < length - 1:
            rows = torch.arange(num_prompts)[:, None] * num_beams + parents
            chosen = rows.flatten().to(model.output.weight.device)
            state = state_of(tuple(part[:, chosen] for part in parts_of(state)))
            logits, state = _forward(model, ids.reshape(-1, 1), state, penalty)
    beam = scores.argmax(dim=1, keepdim=True)
    text: list[Tensor] = []
    for parents, ids in reversed(steps):
        text.append(ids.gather(1, beam).squeeze(1))
        beam = parents.gather(1, beam)
    for chosen in reversed(text):
        yield chosen.tolist()
