"""The space of a search: the same from a file or from options, and refused in words where it can't be."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SearchConfig
from pipeline.errors import InputError
from pipeline.search.study.space import Space


def space(**options: Any) -> Space:
    return Space.of(SearchConfig(**options))


def test_a_file_and_options_that_say_the_same_are_the_same_space(tmp_path: Path):
    file = tmp_path / "space.yaml"
    file.write_text("cell: [gru, lstm]\nnum_layers: 1..2\nhidden_size: 8..64\nlearning_rate: 0.001..0.1\n")
    options = space(cell="gru,lstm", num_layers="1..2", hidden_size="8..64", learning_rate="0.001..0.1")
    assert space(space=str(file)) == options
    file.write_text(yaml.safe_dump(options.as_texts()))  # as a search records it
    assert space(space=str(file)) == options


def values_of_grid(**options: Any) -> dict[str, list[Any]]:
    """The different values of each parameter in a grid, in order."""
    grid = list(space(**options).grid())
    return {name: list(dict.fromkeys(each[name] for each in grid)) for name in grid[0]}


def test_a_grid_doubles_widths_and_has_its_ends():
    assert values_of_grid(hidden_size="8..100", learning_rate="0.01..0.16") == {
        "cell": ["rnn", "gru", "lstm"],
        "num_layers": [1, 2, 3],
        "hidden_size": [8, 16, 32, 64, 100],
        "learning_rate": pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16]),
        "on_top_of": ["nothing"],
    }


@pytest.mark.parametrize("name", ["learning_rate", "dropout"])
@given(low=st.floats(1e-6, 0.1), span=st.floats(1e-6, 0.8))
def test_no_value_of_a_grid_is_outside_of_its_range(name: str, low: float, span: float):
    high = low + span
    values = values_of_grid(cell="gru", num_layers="1", hidden_size="8", **{name: f"{low}..{high}"})[name]
    assert (min(values), max(values)) == (low, high)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": "256..8"}, r"--hidden-size is '256..8', a reversed range; write 8..256"),
        ({"hidden_size": ",".join(map(str, range(8, 50_000)))}, "choices A,B,C have 299,952 combinations, at most"),
        ({"hidden_size": "wide"}, "--hidden-size is 'wide'"),
        ({"hidden_size": "0..8"}, "--hidden-size is '0..8'"),
        ({"cell": "lstm,gpt"}, "--cell is 'lstm,gpt'; it must be some of rnn,gru,lstm"),
        ({"cell": "auto"}, "--cell is missing"),
        ({"on_top_of": "nothing,best"}, "--on-top-of is 'nothing,best'; it must be some of nothing,ngram"),
        (
            {"on_top_of": "nothing,ngram", "preset": "report"},
            "can't be trained: on_top_of is 'ngram', which the preset",
        ),
        ({"num_layers": "0..2"}, "can't be trained: num_layers is 0; it must be at least 1"),
        ({"learning_rate": "nan..1"}, "--learning-rate is 'nan..1'"),
        ({"space": "no/such"}, r"--space no/such can't be read \(No such file or directory\); give"),
    ],
)
def test_a_space_that_can_not_be_is_refused_with_the_option_named(options, said):
    with pytest.raises(InputError, match=said):
        space(**options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cell: [", "can't be read as YAML"),
        ("- lstm", "must hold lines such as"),
        ("widths: 8..16", "has widths, which can't be searched; what can be: cell, num_layers"),
        ("cell: lstm\nnum_layers: 1", "--hidden-size is missing in --space"),
        ("cell: 2020-99-99\nnum_layers: 1\nhidden_size: 8", "--cell is '2020-99-99' in --space"),
        ("cell: lstm\nnum_layers: 1\nhidden_size: !!python/name:os.system abc", "--hidden-size is 'abc' in --space"),
        ("cell: &a lstm\nnum_layers: &b [*a, *a]\nhidden_size: [*b, *b]", "must hold lines such as"),
        ("# " + "x" * 100_000, "has more than 100,000 bytes; give a smaller file"),
    ],
    ids=lambda value: value[:40].replace("\n", " "),
)
def test_a_file_that_is_no_space_is_refused(text, said, tmp_path):
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        space(space=str(tmp_path / "space.yaml"))


def test_a_file_and_options_at_once_are_refused(tmp_path):
    (tmp_path / "space.yaml").write_text("cell: lstm\nnum_layers: 1\nhidden_size: 8..16\n")
    with pytest.raises(InputError, match="and --cell are both given"):
        space(space=str(tmp_path / "space.yaml"), cell="gru")
