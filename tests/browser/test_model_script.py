"""The script that steps a page's models predicts, in Chromium, as torch does."""

import json
import re
from math import log

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.config import ModelConfig
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate, gate_letters
from models.language_model import LanguageModel
from models.mixture import KINDS, mixture_costs
from models.ngram import ngrams_of
from models.on_top_of_ngram import language_model
from models.packing import coded, decoded, rounded
from models.pruning import pruned
from pipeline.pages import page_models
from pipeline.pages.page_models import page_model, weight_arrays
from tests.data import MADE, unpacked
from tests.models.made_up import IS_LETTER, VOCAB, a_text

pytestmark = pytest.mark.browser

TEXT, READ = a_text(3000), a_text(200, seed=1)
LOGS = """([kind, spec, tables, V, ids]) => {
  const model = kind === "network" ? networkModel(spec, V, tables) : countingModel(spec, V);
  let state = model.start();
  return ids.map(id => {
    const found = model.step(state, id);
    state = found.state;
    return [...found.logProbabilities];
  });
}"""
CONFIGS = [
    *(ModelConfig(cell, hidden_size=24) for cell in page_models.STEPPED),
    *(ModelConfig(cell, 2, 19, implementation="scratch") for cell in page_models.STEPPED),
    ModelConfig("gru", 3, 16, residual=True),
    ModelConfig("gru", 2, 16, implementation="scratch", equations="book", residual=True),
    ModelConfig("lstm", 2, 16, embedding_size=5),
]


def build(config: ModelConfig, ngrams: NGramModel | None = None) -> LanguageModel:
    """A model that predicts far from evenly, as a trained one does, and whose state is not chaotic."""
    torch.manual_seed(0)
    model = language_model(config, VOCAB, ngrams).eval()
    for name, weights in model.named_parameters():
        if name.endswith(("weight_hh_l0", "from_state.weight")):
            torch.nn.init.normal_(weights, std=0.7 / config.hidden_size**0.5)
        elif name.startswith(("core", "output")) and "bias" not in name:
            torch.nn.init.normal_(weights, std=0.5)
    return model


def by_torch(model: LanguageModel) -> NDArray[np.float32]:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.from_numpy(READ).long()[None])[0][0]
    return logits.log_softmax(-1).numpy()


@pytest.mark.parametrize("bits", [32, 16, 7])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.shape}-{config.implementation}")
def test_a_network_predicts_as_torch_does_with_the_same_weights(evaluate, config, bits):
    model = build(config)
    _, entry = page_model(model, None, may_count=False, most_bytes=10**6)
    weights, same = weight_arrays(model, bits), model if bits == 32 else rounded(model, bits)
    logs = evaluate(LOGS, ["network", {**entry, "weights": weights, "tables": None}, [], VOCAB, READ.tolist()])
    np.testing.assert_allclose(logs, by_torch(same), atol=1e-4)


def test_counting_both_mixtures_and_a_network_on_top_of_ngrams_predict_as_torch_does(evaluate):
    fitted = pruned(ngrams_of(TEXT, VOCAB, LONGEST), VOCAB, 900)
    single = coded(NGramTables(fitted.of_order(5)), is_single=True)
    counting = NGramModel(decoded(single, VOCAB), None)
    spec = {"tables": page_models.arrays_of(single)}
    counted = np.array(evaluate(LOGS, ["counting", spec, [], VOCAB, READ.tolist()]))
    ours = counting.log_probabilities(np.append(READ, 0), context=1)
    np.testing.assert_allclose(counted, ours, atol=1e-5)

    gate = OrderGate(LONGEST, gate_letters(TEXT, IS_LETTER))
    torch.nn.init.normal_(gate.output.weight, std=0.05)
    gate.mean, gate.deviation = gate.mean - 0.5, 2 * gate.deviation
    of_all_orders = coded(NGramTables(fitted))
    gated = NGramModel(decoded(of_all_orders, VOCAB), gate)
    weights = {name: page_models.array_of(values.numpy()) for name, values in gate.state_dict().items()}
    spec = {"tables": page_models.arrays_of(of_all_orders), "gate": weights}
    by_all_orders = np.array(evaluate(LOGS, ["counting", spec, [], VOCAB, READ.tolist()]))
    np.testing.assert_allclose(by_all_orders, gated.log_probabilities(np.append(READ, 0), context=1), atol=1e-4)

    model = build(ModelConfig(hidden_size=8, on_top_of="ngram"), NGramModel(NGramTables(fitted), gate))
    ngrams, entry = page_model(model, None, may_count=True, most_bytes=10**6)
    weights, same = weight_arrays(model, 8), rounded(model, 8)  # its tables are those of the page now
    read = ["network", {**entry, "weights": weights, "tables": 0}, [ngrams], VOCAB, READ.tolist()]
    logs = np.array(evaluate(LOGS, read))
    np.testing.assert_allclose(logs, by_torch(same), atol=1e-4)

    targets = torch.from_numpy(READ[1:]).long()
    for kind in KINDS:
        costs = mixture_costs(torch.tensor(logs[:-1]), torch.tensor(counted[:-1]), targets)[KINDS.index(kind), :, 7]
        mixed = [
            -evaluate("([kind, one, other]) => [...both(kind, 7 / 20, one, other)]", [kind, one, other])[target]
            for one, other, target in zip(logs.tolist(), counted.tolist(), targets.tolist(), strict=False)
        ]
        np.testing.assert_allclose(mixed, costs, atol=1e-5)


def test_a_page_whose_gate_sees_no_letters_predicts_as_it_did(evaluate, tmp_path):
    (page,) = re.findall('id="models"[^>]*>(.*?)</script>', (unpacked(tmp_path) / "index.html").read_text(), re.DOTALL)
    models = json.loads(page)
    read = {"network": [models["models"][0], models["tables"]], "counting": [models["counting"], []]}
    for kind, given in read.items():
        logs = evaluate(LOGS, [kind, *given, len(models["symbols"]), MADE["ids"][:-1]])
        costs = [-by_symbol[target] for by_symbol, target in zip(logs, MADE["ids"][1:], strict=True)]
        np.testing.assert_allclose(costs, MADE[f"page, {kind}"], atol=1e-5)


def test_a_step_of_counting_has_the_length_of_the_longest_context_with_a_follower(evaluate):
    steps = """([spec, V, ids]) => {
      const model = countingModel(spec, V), steps = [];
      for (const id of ids) steps.push(model.step(steps.at(-1)?.state ?? model.start(), id));
      return steps.map(step => step.longest);
    }"""
    single = coded(NGramTables(pruned(ngrams_of(TEXT, VOCAB, 5), VOCAB, 200)), is_single=True)
    contexts, last = np.divmod(decoded(single, VOCAB).keys.numpy(), VOCAB)
    read: list[tuple[int, ...]] = [()]
    for context, character in zip(contexts, last, strict=True):
        read.append((*read[context], int(character)))
    known, ids = {read[context] for context in contexts}, READ.tolist()
    longest = [max(n for n in range(min(end, 4) + 1) if tuple(ids[end - n : end]) in known) for end in range(1, 201)]
    assert evaluate(steps, [{"tables": page_models.arrays_of(single)}, VOCAB, ids]) == longest


def test_a_text_that_is_drawn_is_the_same_for_the_same_seed_and_never_has_what_is_forbidden(evaluate):
    draw = """([logs, temperature, seed]) => {
      const random = generator(seed);
      return [...Array(3000)].map(() => sampled(Float64Array.from(logs), temperature, random, 1));
    }"""
    logs = [log(each) for each in (0.5, 0.3, 0.15, 0.05)]
    drawn, again, other = (evaluate(draw, [logs, 1, seed]) for seed in (1, 1, 2))
    assert drawn == again != other
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 3000, [5 / 7, 0, 1.5 / 7, 0.5 / 7], atol=0.03)
    assert set(evaluate(draw, [logs, 0.01, 1])) == {0}
