"""The contract of a cell: what each class in CELLS has to have and to do, and that a new one needs nothing else.

The new one is NEW, which has weights of its own, but neither recurrent weights nor layers in torch.nn. The tests run
from the class to the search, so the first that fails says what is missing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from models import cells
from models.cells import CELLS, Cell
from models.complexity import closed_form, measure, report_print_out
from models.config import ConfigError, Decoding, ModelConfig
from models.generation import complete
from models.language_model import LanguageModel
from models.recurrent import CellState, Layer, Recurrent, State, parts_of, state_of
from pipeline import api
from pipeline.cli.options import options_of
from pipeline.config import SearchConfig, resolve
from pipeline.pages.export import export
from pipeline.search.run import search
from pipeline.search.sentences import SearchRun
from pipeline.text.batches import data_for
from pipeline.text.corpus import Corpus
from pipeline.tracking.store import setup
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.loop import Training, fit
from tests.pools import Inline

VOCAB, INPUT, HIDDEN, BATCH, STEPS = 11, 5, 7, 3, 6


class New(Cell):
    """Minimal GRU (Feng et al. 2024, arXiv:2410.01201), whose gates do not read the state, with a peephole p.

    z = sigmoid(W_z x + p * h)
    h' = (1 - z) * h + z * W_n x
    """

    gates = 2
    elementwise_macs = 4
    learning_rates = (0.02, 0.02)
    recurrent_weights = False
    vectors = ("peephole",)

    @staticmethod
    def step(layer: Layer, from_input: Tensor, state: CellState) -> CellState:
        (h,) = state
        update, candidate = from_input.chunk(2, dim=-1)
        update = (update + layer.get_parameter("peephole") * h).sigmoid()
        return ((1 - update) * h + update * candidate,)


NEW = "tests-own"  # no name that a class in models/cells.py may have
NAMES = (*CELLS, NEW)


@pytest.fixture(scope="module", autouse=True)
def _new() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CELLS, NEW, New)
        yield


@pytest.fixture(scope="module", params=NAMES)
def cell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["torch", "book"])
def layer(request: pytest.FixtureRequest, cell: str) -> Layer:
    torch.manual_seed(0)
    return Layer(cell, INPUT, HIDDEN, request.param).double()


@pytest.fixture(params=["torch", "scratch"])
def implementation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(cell: str, **options: Any) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(**{"cell": cell, "num_layers": 2, "hidden_size": HIDDEN, **options}), VOCAB)


def some_state(cell: type[Cell]) -> State:
    return state_of(tuple(torch.randn(1, BATCH, HIDDEN, dtype=torch.double) for _ in range(cell.state_parts)))


def some_ids(rows: int = BATCH, steps: int = STEPS) -> Tensor:
    return torch.randint(VOCAB, (rows, steps), generator=torch.Generator().manual_seed(5))


def text(seed: int) -> Tensor:
    return torch.randint(VOCAB, (300,), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


# --- the class -------------------------------------------------------------------------------------------------------


def test_the_class_says_all_that_is_asked_of_a_cell(cell):
    declared = CELLS[cell]
    missing = [name for name in Cell.__annotations__ if not hasattr(declared, name)]
    assert not missing, f"{declared.__name__} in models/cells.py lacks {', '.join(missing)}"
    assert declared.step is not Cell.step, f"{declared.__name__} lacks step"
    assert min(declared.gates, declared.elementwise_macs, declared.state_parts, *declared.learning_rates) > 0
    assert 0 <= declared.recurrent_dropout[0] <= declared.recurrent_dropout[1] < 1


def test_every_class_of_the_module_is_listed():
    classes = {value for value in vars(cells).values() if isinstance(value, type) and issubclass(value, Cell)} - {Cell}
    assert classes <= set(CELLS.values()), "a class of models/cells.py is missing from CELLS"


def test_a_step_keeps_the_shape_of_the_state_and_its_first_part_is_the_output(layer):
    outputs, after = layer(torch.randn(BATCH, 1, INPUT, dtype=torch.double), some_state(layer.cell))
    assert [part.shape for part in parts_of(after)] == [(1, BATCH, HIDDEN)] * layer.cell.state_parts
    assert torch.equal(outputs[:, 0], parts_of(after)[0][0])


def test_the_initial_state_has_the_dtype_and_the_device_of_the_weights(cell):
    for part in parts_of(build(cell).to("meta", torch.bfloat16).initial_state(BATCH)):
        assert (part.shape, part.dtype, part.device.type) == ((2, BATCH, HIDDEN), torch.bfloat16, "meta")


def test_gradients_pass_gradcheck(layer):
    x = torch.randn(BATCH, 3, INPUT, dtype=torch.double, requires_grad=True)
    state = [part.requires_grad_() for part in parts_of(some_state(layer.cell))]

    def step(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        outputs, after = layer(x, state_of(rest[: len(state)]))
        return (outputs, *parts_of(after))  # the weights are in ``rest`` so that they are checked too

    assert torch.autograd.gradcheck(step, [x, *state, *layer.parameters()], fast_mode=True)


def test_weights_start_within_one_over_the_root_of_the_hidden_size(cell):
    for parameter in Layer(cell, 30, 100).parameters():
        assert 0.09 < parameter.abs().max() <= 0.1


def test_characters_are_read_as_one_hot_vectors_gradients_included(cell):
    torch.manual_seed(0)
    layers = Recurrent(ModelConfig(cell, 2, HIDDEN, "scratch"), VOCAB).double()
    zeros = build(cell).double().initial_state(BATCH)
    results = []
    for x in (some_ids(), some_ids().int(), F.one_hot(some_ids(), VOCAB).double()):
        outputs, state = layers(x, zeros)
        total = outputs.sin().sum() + sum(part.cos().sum() for part in parts_of(state))
        results.append([outputs, *parts_of(state), *torch.autograd.grad(total, list(layers.parameters()))])
    torch.testing.assert_close(results[0], results[2])
    torch.testing.assert_close(results[1], results[2])


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [False, True])
def test_two_halves_with_the_state_carried_equal_the_whole(cell, implementation, residual):
    model = build(cell, implementation=implementation, residual=residual).double()
    logits, state = model(some_ids())
    first, between = model(some_ids()[:, :2])
    second, after = model(some_ids()[:, 2:], between)
    torch.testing.assert_close(torch.cat([first, second], dim=1), logits)
    torch.testing.assert_close(parts_of(after), parts_of(state))
    torch.testing.assert_close(model(some_ids(), model.initial_state(BATCH))[0], logits)


def test_dropout_acts_in_training_only_and_is_the_same_from_the_same_seed(cell, implementation):
    dropped = {"dropout": 0.5, "output_dropout": 0.5}
    if CELLS[cell].recurrent_weights:
        dropped["recurrent_dropout"] = 0.5
    plain = build(cell, implementation=implementation)
    for name, share in dropped.items():
        model = build(cell, implementation=implementation, **{name: share})
        torch.manual_seed(3)
        first, second = model(some_ids())[0], model(some_ids())[0]
        torch.manual_seed(3)
        assert torch.equal(model(some_ids())[0], first), name
        assert not torch.equal(first, second), name
        assert torch.equal(model.eval()(some_ids())[0], plain(some_ids())[0]), name


@torch.no_grad()
def products(function: Callable[..., Any], *arguments: Any) -> int:
    """Multiply-accumulate operations of the matrix products of one call."""
    (enabled, *_) = torch.backends.mkldnn.set_flags(_enabled=False)  # oneDNN's LSTM is one operation that counts as 0
    try:
        with FlopCounterMode(display=False) as counter:
            function(*arguments)
    finally:
        torch.backends.mkldnn.set_flags(_enabled=enabled)
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("embedding_size", [0, 4])
def test_the_formulas_count_what_is_built_what_is_computed_and_what_ptflops_measures(
    cell, implementation, embedding_size
):
    model = build(cell, implementation=implementation, embedding_size=embedding_size)
    counted = closed_form(model.config, VOCAB)
    built = sum(parameter.numel() for parameter in model.parameters())
    assert counted.parameters == built, f"{CELLS[cell].__name__}.parameters counts another number than its layers have"
    x = torch.zeros(1, 1, embedding_size or VOCAB)
    assert counted.matmul_macs_per_char == products(lambda: model.output(model.core(x, model.initial_state(1))[0]))
    assert measure(model.config, VOCAB) == counted
    has_layers = bool(CELLS[cell].torch_layer)
    assert ("Computational complexity" in report_print_out(model.config, VOCAB)) == has_layers


def test_the_book_equations_need_scratch_where_torch_has_layers(cell):
    assert ModelConfig(cell=cell, equations="book", implementation="scratch").by_torch is False
    if CELLS[cell].torch_layer:
        with pytest.raises(ConfigError) as refused:
            ModelConfig(cell=cell, equations="book")
        assert refused.value.needs == ("implementation", "scratch")


def test_it_memorises_a_phrase(cell):
    model = build(cell, num_layers=1, hidden_size=16)
    phrase = torch.arange(8).repeat(1, 3)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(50):
        loss = nn.functional.cross_entropy(model(phrase[:, :-1])[0].flatten(0, 1), phrase[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert complete(model, [[0]], 7, Decoding(method="greedy")) == [[1, 2, 3, 4, 5, 6, 7]]


# --- the program -----------------------------------------------------------------------------------------------------


def test_options_list_it(cell):
    @click.command()
    @options_of(ModelConfig)
    def command(**options: Any) -> None:
        click.echo(options["cell"])

    assert CliRunner().invoke(command, ["--cell", cell]).output.strip() == cell
    assert cell in CliRunner().invoke(command, ["--help"]).output


def test_a_training_that_was_stopped_and_saved_is_resumed_bit_for_bit(cell, tmp_path):
    shape = {"cell": cell, "hidden_size": 6, "num_layers": 2}
    model_config, config = resolve({**shape, "epochs": 2, "batch_size": 4, "sequence_length": 16, "precision": "fp32"})

    def start(seed: int) -> Training:
        torch.manual_seed(seed)
        return Training(LanguageModel(model_config, VOCAB), data_for(text(0), text(1), config), config)

    whole, first, second = start(0), start(0), start(7)
    fit(whole)
    first.run_epoch()
    save_checkpoint(tmp_path / "last", *first.state_dict())
    second.load_state_dict(*load_checkpoint(tmp_path / "last"))
    fit(second)
    assert second.step == whole.step > 1
    for name, tensor in whole.state_dict()[0].items():
        assert torch.equal(second.state_dict()[0][name], tensor), name


@pytest.fixture(scope="module")
def searched(lab: Path, corpus: Corpus) -> SearchRun:
    """A search of one trial, of the new cell; no served model, whose copy of the code lacks that."""
    space: dict[str, Any] = {"cell": NEW, "num_layers": "1", "hidden_size": "8"}
    config = SearchConfig(trials=1, epochs=1, confirm_seeds=1, sampler="grid", **space)
    setup()
    return search(corpus, config, make_pool=Inline)


def test_a_model_that_a_search_has_trained_is_loaded_sampled_evaluated_and_exported(searched, tmp_path):
    (point,) = searched.evaluated.points
    model = api.load(point.candidate.run_ids[0])
    assert model.network.config.cell == NEW
    assert len(model.sample("it has", length=20)) == 26
    assert model.evaluate("test").perplexity == pytest.approx(model.test_perplexity, rel=1e-6)
    files = export(str(model.run_id), folder=tmp_path / "page")["files"]
    assert NEW.upper() in (tmp_path / "page" / "index.html").read_text()
    weights = next(name for name in files if name.endswith(".safetensors"))
    assert api.load(weights).sample("it has", length=20, seed=1) == model.sample("it has", length=20, seed=1)
