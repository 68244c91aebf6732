"""A checkpoint comes back as it was written, whole, or not at all."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import InputError
from pipeline.training.checkpoints import FORMAT, MOST_TENSORS, PROJECT, load_checkpoint, save_checkpoint
from pipeline.training.loading import load_model

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)
FACTS: dict[str, Any] = {
    "epoch": 3,
    "note": 'quotes " and "sha256":"' + "0" * 64 + '"',
    "list": [1.5, None, True],
    "deep": {"é": "😀"},
}


def some_tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {"model.weight": torch.randn(3, 2), "model.bias": torch.randn(2), "step": torch.tensor(7)}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "some.safetensors", some_tensors(), FACTS)
    return tmp_path / "some.safetensors"


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert tensor.shape == theirs[name].shape
        assert torch.equal(tensor, theirs[name])


# --- what comes back -------------------------------------------------------------------------------------------------


def test_tensors_and_facts_come_back_bit_for_bit(tmp_path, checkpoint):
    tensors, facts = load_checkpoint(checkpoint)
    assert_same(tensors, some_tensors())
    assert facts == FACTS
    shapes: tuple[tuple[int, ...], ...] = ((), (0,), (3, 5))
    all_kinds = {f"{dtype} {shape}": (torch.randn(shape) * 100).to(dtype) for dtype in DTYPES for shape in shapes}
    save_checkpoint(tmp_path / "new" / "folder" / "all", all_kinds, {})
    assert_same(load_checkpoint(tmp_path / "new" / "folder" / "all")[0], all_kinds)


def test_the_digest_is_that_of_names_types_shapes_and_bytes_whatever_their_order(tmp_path):
    one, other = torch.ones(2, 2), torch.zeros(2, 2)
    digest = save_checkpoint(tmp_path / "a", {"x": one, "y": other}, {})
    assert save_checkpoint(tmp_path / "a", {"y": other, "x": one}, {}) == digest
    altered: list[dict[str, Tensor]] = [
        {"x": one, "z": other},
        {"x": one.view(torch.int32), "y": other},
        {"x": one.view(4), "y": other},
        {"x": one, "y": -other},
        {"x": one},
    ]
    assert len({digest, *(save_checkpoint(tmp_path / "a", tensors, {}) for tensors in altered)}) == 1 + len(altered)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_refused_wherever_it_is_cut_off_or_changed(checkpoint):
    whole = checkpoint.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    damaged += [bytes([*whole[:at], whole[at] ^ 1 << at % 8, *whole[at + 1 :]]) for at in range(0, len(whole), 5)]
    for content in (*damaged, whole + b"\0", whole + b"x" * 1000):
        checkpoint.write_bytes(content)
        with pytest.raises(InputError, match=r"is damaged|is not a checkpoint|has format"):
            load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        (20).to_bytes(8, "little") + b'{"__metadata__": []}',
        (2**63).to_bytes(8, "little") + b"{}",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
        None,
        {"format": "pt", "sha256": "0" * 64, "facts": "{}"},
        {"format": f"{PROJECT} {FORMAT}", "sha256": "0" * 64, "facts": "{}"},
        {"format": f"{PROJECT} {FORMAT}"},
    ],
    ids=["text", "list metadata", "long", "deep", "no metadata", "torch's", "a wrong digest", "no digest"],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "foreign").write_bytes(content)
    else:
        save_file(some_tensors(), tmp_path / "foreign", content)
    with pytest.raises(InputError, match="foreign is "):
        load_checkpoint(tmp_path / "foreign")


def test_another_format_is_refused_naming_both(tmp_path):
    save_file(some_tensors(), tmp_path / "later", {"format": f"{PROJECT} {FORMAT + 1}"})
    with pytest.raises(InputError, match=f"later has format {FORMAT + 1}, and this version reads format {FORMAT};"):
        load_checkpoint(tmp_path / "later")


def test_more_tensors_than_any_model_has_are_refused_unread(tmp_path):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    tensors = {f"model.{number}": empty for number in range(MOST_TENSORS + 1)}
    header = json.dumps({"__metadata__": {"format": f"{PROJECT} {FORMAT}"}, **tensors}).encode()
    (tmp_path / "many").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match=f"many has {MOST_TENSORS + 1:,} tensors; at most"):
        load_checkpoint(tmp_path / "many")


def test_a_pickle_is_refused_unopened(tmp_path, monkeypatch):
    torch.save(some_tensors(), tmp_path / "pickled")
    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, lambda *arguments, **options: pytest.fail("pickle was called"))
    with pytest.raises(InputError, match="is not a checkpoint of this project"):
        load_checkpoint(tmp_path / "pickled")


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_file_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="can't be read: No such"):
        load_checkpoint(tmp_path / name)


def test_a_checkpoint_without_a_model_is_refused(checkpoint):
    with pytest.raises(InputError, match="some"):
        load_model(checkpoint)


def test_a_checkpoint_for_which_there_is_no_memory_is_a_lack_of_memory(tmp_path, monkeypatch):
    class PanicException(BaseException):  # pyo3's, as safetensors raises it
        pass

    def panic(*arguments: object) -> None:
        raise PanicException("PyObject pointer is null")

    monkeypatch.setattr("pipeline.training.checkpoints.tensors_to_bytes", panic)
    with pytest.raises(MemoryError, match=r"last\.safetensors"):
        save_checkpoint(tmp_path / "last.safetensors", {}, {})
