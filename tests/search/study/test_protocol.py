"""Create the study of a search, or open it: what is the same search, and what is refused."""

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from pipeline.config import RECIPE, SearchConfig
from pipeline.errors import InputError
from pipeline.search.study.attributes import FORMAT, PROTOCOL, STUDY_FORMAT, of_study, set_of_study
from pipeline.search.study.protocol import DIRECTIONS, check_store, with_study_name
from tests.search.study.studies import train_all

NOW = RECIPE["stream"]


@pytest.mark.parametrize(
    ("recorded", "name", "said"),  # recorded: name of a study -> the text's digest, and the recipe
    [
        ({}, "search-my book", ""),
        ({"search-my book": ("aa" * 32, NOW), "quick-my book": ("bb" * 32, NOW)}, "search-my book", ""),
        ({"search-my-book": ("bb" * 32, NOW)}, "search-my book-aaaaaa", ""),
        ({"search-my-book": ("aa" * 32, NOW)}, "search-my-book", ""),
        ({"search-my book-aaaaaa": ("aa" * 32, NOW)}, "search-my book-aaaaaa", ""),
        ({"search-my book": ("aa" * 32, NOW - 1)}, f"search-my book-r{NOW}", f"recipe {NOW - 1}"),
        ({"search": ("aa" * 32, NOW - 1)}, "search-my book", ""),
    ],
)
def test_a_study_is_named_after_its_text_and_never_continues_that_of_another_text_or_recipe(
    monkeypatch, recorded, name, said
):
    storage, heard = optuna.storages.InMemoryStorage(), list[str]()
    for each, (sha256, recipe) in recorded.items():
        study = optuna.create_study(storage=storage, study_name=each, directions=DIRECTIONS)
        set_of_study(study, PROTOCOL, {"corpus_sha256": sha256, "recipe": recipe})
    monkeypatch.setattr("pipeline.search.study.protocol.open_storage", lambda config: storage)
    corpus: Any = SimpleNamespace(label="my book", corpus_sha256="aa" * 32)
    assert with_study_name(SearchConfig(), corpus, False, heard.append).study_name == name
    assert with_study_name(SearchConfig(study_name="mine"), corpus, True, heard.append).study_name == "mine"
    assert len(heard) == bool(said)
    assert said in "".join(heard)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"hidden_size": "4..9"},
            r"started with other options \(space was .*hidden_size 4..8, .*, now .*hidden_size 4..9, .*\)",
        ),
        ({"epochs": 3}, r"was started with other options \(epochs was 2, now 3\)"),
        ({"cost": "stored-numbers"}, "cost was macs, now stored-numbers"),
    ],
)
def test_a_study_goes_on_only_as_it_was_begun(begin, options, said):
    begin()
    with pytest.raises(InputError, match=said):
        begin(**options)


def test_another_sampler_seed_or_number_of_trials_is_no_other_study(begin):
    train_all(begin(trials=2))
    assert train_all(begin(trials=2)) == []
    assert len(train_all(begin(trials=4, sampler="tpe", seed=3, workers=1, confirm_seeds=1))) == 2


def test_a_study_of_another_format_is_not_continued(begin):
    set_of_study(begin().study, FORMAT, 99)
    with pytest.raises(InputError, match=f"has format 99, and this version reads format {STUDY_FORMAT};"):
        begin()


def test_a_study_goes_on_with_the_same_text_by_another_name(begin):
    study = begin().study
    set_of_study(study, PROTOCOL, {**of_study(study)[PROTOCOL], "corpus": "its name before"})
    begin()


def test_someone_elses_study_is_refused(begin_on_disk, no_store):
    begin_on_disk(study_name="ours")
    url = f"sqlite:///{no_store}/mlruns/optuna.db"
    optuna.create_study(storage=url, study_name="theirs", directions=["minimize", "maximize"])
    with pytest.raises(InputError, match="is not a study of this search; give another name"):
        begin_on_disk(study_name="theirs")


@pytest.mark.parametrize("statements", [0, 2])
def test_a_study_whose_maker_was_killed_in_the_making_is_made_anew(begin_on_disk, statements, monkeypatch):
    made = RDBStorage.set_study_system_attr
    left = iter([*[made] * statements])

    def killed(*arguments: Any) -> None:
        try:
            next(left)(*arguments)
        except StopIteration:
            raise KeyboardInterrupt from None

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_study_system_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            begin_on_disk()
    assert len(train_all(begin_on_disk(trials=2))) == 2
    with pytest.raises(InputError, match="was started with other options"):
        begin_on_disk(epochs=3)


def test_a_study_is_of_the_mlflow_store_in_which_it_was_begun(begin):
    def check(identity: str, known: str) -> None:
        search = begin()
        check_store(search.study, search.config, identity, lambda run_id: run_id == known)

    check("0-111", known="parent")
    check("0-111", known="")  # all of its runs were deleted
    with pytest.raises(InputError, match=r"has its runs in another MLflow store than .*mlflow\.db"):
        check("0-222", known="")
    check("7-333", known="parent")  # another experiment of the same store
