"""Name the study of a search after its text; create it, or open it and check that it has the same protocol."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from pipeline.config import COSTS, RECIPE, SearchConfig
from pipeline.errors import InputError
from pipeline.search.study import attributes
from pipeline.search.study.space import Space
from pipeline.search.study.storage import open_storage, storage_errors, storage_url
from pipeline.support.wording import counted
from pipeline.text.corpus import Corpus
from pipeline.tracking import store
from pipeline.tracking.registry import alias_of

DIRECTIONS = [StudyDirection.MINIMIZE] * 2
LABEL_CHARS = 200  # characters of a text's name in the name of its study, which aliases begin with


def objectives(config: SearchConfig) -> list[str]:
    """The names of what a study minimises."""
    return ["validation perplexity", f"log10 {COSTS[config.cost].name}"]


def with_study_name(config: SearchConfig, corpus: Corpus, quick: bool, say: Callable[[str], None]) -> SearchConfig:
    """Replace the study name "auto" by the text's: search-LABEL, or quick-LABEL for a ``quick`` search.

    If a study of another text has this name, as aliases write it, six characters of the text's digest follow. If this
    text's study was trained by another recipe, -rN follows, with today's recipe N, and ``say`` gets a sentence on that.
    """
    if config.study_name != "auto":
        return config
    recipe, sha256 = RECIPE[config.preset], corpus.corpus_sha256
    with storage_errors(config):
        studies = open_storage(config).get_all_studies()
    protocols = {
        study.study_name: attributes.ours(study.system_attrs).get(attributes.PROTOCOL, {}) for study in studies
    }
    # those of this text; one without a protocol, whose creator was killed, may be
    mine = {name: kept for name, kept in protocols.items() if kept.get("corpus_sha256", sha256) == sha256}
    taken = set(map(alias_of, protocols.keys() - mine.keys()))

    plain = f"{'quick' if quick else 'search'}-{corpus.label[:LABEL_CHARS]}"
    marked = f"{plain}-{sha256[:6]}"
    continued = (each for name in (plain, marked) for each in mine if alias_of(each) == alias_of(name))
    name = next(continued, marked if alias_of(plain) in taken else plain)
    if (then := mine.get(name, {}).get("recipe", recipe)) != recipe:
        say(f"The study {name} was trained by recipe {then} and stays as it is; this search is {name}-r{recipe}.")
        name = f"{name}-r{recipe}"
    return replace(config, study_name=name)


def open_study(storage: BaseStorage, config: SearchConfig, space: Space, corpus: Corpus) -> optuna.Study:
    """Create or load the study.

    Raises InputError if the study has another format, space, text or budget, or was created by another program.
    """
    protocol = {  # what all trials share, so that their perplexities can be compared
        "space": space.as_texts(),
        "epochs": config.epochs,
        "preset": config.preset,
        **({"max_seconds": config.max_seconds} if config.max_seconds else {}),
        "cost": config.cost,
        "recipe": RECIPE[config.preset],
        "corpus": corpus.label,
        "alphabet": corpus.vocabulary.alphabet,
        "corpus_sha256": corpus.corpus_sha256,
    }
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        name = config.study_name  # an existing study keeps its own directions
        study = optuna.create_study(storage=storage, study_name=name, directions=DIRECTIONS, load_if_exists=True)
        is_untouched = study.directions == DIRECTIONS and not study.get_trials(deepcopy=False)
        if attributes.PROTOCOL in attributes.of_study(study) or not is_untouched:
            _check_same(study, config, protocol)
            return study
        # new, or its creator was killed: the protocol is therefore set last
        study.set_metric_names(objectives(config))
        described = {"text": corpus.label, **space.as_texts(), "training": describe_training(config)}
        for attribute, text in described.items():  # for optuna-dashboard
            study.set_user_attr(attribute, text)
        attributes.set_of_study(study, attributes.FORMAT, attributes.STUDY_FORMAT)
        attributes.set_of_study(study, attributes.IDENTITY, uuid4().hex)
        attributes.set_of_study(study, attributes.PROTOCOL, protocol)
    return study


def _check_same(study: optuna.Study, config: SearchConfig, protocol: Mapping[str, Any]) -> None:
    """Raise InputError if the study has another format or protocol, or none."""
    name, where, kept = config.study_name, store.shown(storage_url(config)), attributes.of_study(study)
    if attributes.PROTOCOL not in kept or study.directions != DIRECTIONS:
        raise InputError(f"--study-name {name} of {where} is not a study of this search; give another name")
    if kept.get(attributes.FORMAT, 1) != attributes.STUDY_FORMAT:
        raise InputError(
            f"--study-name {name} of {where} has format {kept.get(attributes.FORMAT, 1)}, and this version reads "
            f"format {attributes.STUDY_FORMAT}; give another name"
        )
    then: Mapping[str, Any] = kept[attributes.PROTOCOL]
    if then["recipe"] != (recipe := RECIPE[then["preset"]]):
        raise InputError(
            f"--study-name {name} was trained by recipe {then['recipe']}, and this version trains by recipe {recipe}: "
            "the study can be listed, not extended; give another name"
        )
    changed = [key for key in {**then, **protocol} if then.get(key) != protocol.get(key)]
    if changed not in ([], ["corpus"]):  # "corpus" alone: the same text under another name
        message = "; ".join(f"{key} was {_plain(then.get(key))}, now {_plain(protocol.get(key))}" for key in changed)
        raise InputError(
            f"--study-name {name} was started with other options ({message}), so their trials can't be compared; "
            "give another name, or the same options"
        )


def _plain(value: Any) -> str:
    """Format a value of the protocol for a message."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return "auto" if value is None else str(value)


def check_store(study: optuna.Study, config: SearchConfig, identity: str, find_run: Callable[[str], object]) -> None:
    """Raise InputError if the study's runs are in another MLflow store; record ``identity`` in a new study.

    ``identity`` is that of the MLflow store in use. A study is also accepted if this store has one of its runs, as
    several experiments of a store may share a study.
    """
    kept = attributes.of_study(study)
    if attributes.MLFLOW_STORE not in kept:
        attributes.set_of_study(study, attributes.MLFLOW_STORE, identity)
    elif kept[attributes.MLFLOW_STORE] != identity:
        trials = study.get_trials(deepcopy=False)
        runs = [kept.get(attributes.PARENT), *(trial.user_attrs.get(attributes.RUN_ID) for trial in trials)]
        if not any(find_run(run_id) for run_id in runs if run_id):
            raise InputError(
                f"--study-name {config.study_name} of {store.shown(storage_url(config))} has its runs in another "
                f"MLflow store than {store.shown(store.address())}, and one search can't use both; set "
                "MLFLOW_TRACKING_URI to the other store (a server, for several checkouts), or give another --study-name"
            )


def describe_training(config: SearchConfig) -> str:
    """Describe how each trial is trained, such as "20 epochs of preset stream"."""
    epochs = counted(config.epochs, "epoch") if config.epochs else "the whole budget"
    limit = f", at most {config.max_seconds:g} s" if config.max_seconds else ""
    return f"{epochs} of preset {config.preset}{limit}"
