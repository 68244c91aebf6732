"""Register models under aliases that belong to a study and its text.

A search registers its picks (best, knee, small) as versions of REGISTERED_MODEL. Each gets two aliases: the name of the
pick, unless it belongs to another study, and one that begins with the name of the study.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

# first: it sets the environment that MLflow reads when it is imported
from pipeline.tracking.store import store_errors

# isort: split

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import RecordingError
from pipeline.support.markdown import markdown_table, plain
from pipeline.tracking.recorded import RecordedRun, find_run

REGISTERED_MODEL = "time-machine-lm"

LONGEST_ALIAS, LONGEST_DESCRIPTION = 255, 5000  # characters, MLflow's limits

# own: only aliases that begin with the study's name; free: also the picks' names that belong to no other study;
# all: also those that do
Claim = Literal["own", "free", "all"]

MOST_DESCRIBED = 20  # versions in the description of the registered model

INTRODUCTION = (  # our description begins with it; one that does not is a user's and is not changed
    "Character-level language models: the picks of `tmlm search`. An alias belongs to one study of one text; another "
    "study takes it over only with `--take-aliases`. Aliases that begin with the name of a study always name its "
    f'latest picks. Load one with `mlflow.pyfunc.load_model("models:/{REGISTERED_MODEL}@ALIAS")`.'
)


@dataclass(frozen=True)
class Owner:
    """The owner of an alias: a study, and the text that it searches on."""

    study: str
    corpus: str
    corpus_sha256: str

    def __str__(self) -> str:
        return f"study {self.study} on {self.corpus}"

    def has_same_models(self, other: "Owner") -> bool:
        """Whether both are the same study of the same text, whatever the text's name."""
        return (self.study, self.corpus_sha256) == (other.study, other.corpus_sha256)

    def aliases(self, pick: str) -> tuple[str, str]:
        """The two aliases of a pick: PICK and STUDY-PICK."""
        study = re.sub(r"[^\w-]+", "-", self.study)[: LONGEST_ALIAS - len(pick) - 1]
        return pick, f"{study}-{pick}"


@dataclass(frozen=True)
class Registration:
    """A registered version, its aliases, and those that were left to others: alias -> owner."""

    version: str
    aliases: tuple[str, ...]
    left: Mapping[str, str]


def register_picks(
    picks: Mapping[str, tuple[str, str]], owner: Owner, claim: Claim = "free"
) -> dict[str, Registration]:
    """Register the models that a study has picked; ``picks`` maps each pick to its run id and a sentence about it.

    An alias that names a model of another study or text is not moved unless ``claim`` is "all". Raises RecordingError
    for a run without a logged model.
    """
    client = MlflowClient()
    with store_errors():
        _create_registered_model(client)
        registered = {
            pick: register(client, pick, run_id, owner, sentence, claim) for pick, (run_id, sentence) in picks.items()
        }
        _describe_registered_model(client)
    return registered


def register(client: MlflowClient, pick: str, run_id: str, owner: Owner, sentence: str, claim: Claim) -> Registration:
    """Register a run's model, unless that is done already, and set its description, tags and aliases."""
    versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'")
    version = versions[0] if versions else _new_version(client, run_id)
    client.update_model_version(REGISTERED_MODEL, version.version, _description(sentence, owner))
    for key, value in (("corpus", owner.corpus), ("study", owner.study)):
        client.set_model_version_tag(REGISTERED_MODEL, version.version, key, value)
    claimed = owner.aliases(pick)[1 if claim == "own" else 0 :]
    left = {} if claim == "all" else _aliases_of_others(client, owner, claimed)
    aliases = tuple(alias for alias in claimed if alias not in left)
    for alias in aliases:
        client.set_registered_model_alias(REGISTERED_MODEL, alias, version.version)
    return Registration(str(version.version), aliases, left)


def _create_registered_model(client: MlflowClient) -> None:
    """Create the registered model unless it exists."""
    try:
        client.create_registered_model(REGISTERED_MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _new_version(client: MlflowClient, run_id: str) -> ModelVersion:
    outputs = client.get_run(run_id).outputs
    if outputs is None or not outputs.model_outputs:
        raise RecordingError(f"the run {run_id} has no logged model to register as {REGISTERED_MODEL}")
    model = client.get_logged_model(outputs.model_outputs[-1].model_id)  # a resumed training may have logged two
    return client.create_model_version(REGISTERED_MODEL, model.artifact_location, run_id, model_id=model.model_id)


def _aliases_of_others(client: MlflowClient, owner: Owner, aliases: Iterable[str]) -> dict[str, str]:
    """The aliases that name a model of another study or text: alias -> owner."""
    versions, others = client.get_registered_model(REGISTERED_MODEL).aliases, {}
    for alias in aliases:
        if alias in versions:
            theirs = _owner(_run_of(client.get_model_version(REGISTERED_MODEL, versions[alias])))
            if theirs is None:
                others[alias] = f"version {versions[alias]}, a model of no study"
            elif not theirs.has_same_models(owner):
                others[alias] = str(theirs)
    return others


def _run_of(version: ModelVersion) -> RecordedRun | None:
    """The run that trained a version; None if it is gone, or if the version was registered without one."""
    return find_run(version.run_id) if version.run_id else None


def _owner(run: RecordedRun | None) -> Owner | None:
    """The study and text of a training; None if it does not belong to a study."""
    return Owner(run.study, run.corpus, run.corpus_sha256) if run is not None and run.study else None


def _description(sentence: str, owner: Owner) -> str:
    """The description of a version: why it was picked, its text and study, and when."""
    text = f"{owner.corpus} (sha256 {owner.corpus_sha256[:8]}...)"
    rest = f"Text: {text}. Study: {owner.study}. Registered {time.strftime('%Y-%m-%d')}."
    return f"{sentence}\n\n{rest}"[:LONGEST_DESCRIPTION]


def _describe_registered_model(client: MlflowClient) -> None:
    """Describe the model of each alias, newest first, unless a user has written a description."""
    model = client.get_registered_model(REGISTERED_MODEL)
    if model.description and not model.description.startswith(INTRODUCTION):
        return
    aliases_of: dict[int, list[str]] = {}
    for alias, number in sorted(model.aliases.items()):
        aliases_of.setdefault(int(number), []).append(f"`@{alias}`")
    heads = ("alias", "version", "model", "text", "study", "validation perplexity", "MACs per character", "trained")
    newest = sorted(aliases_of.items(), reverse=True)[:MOST_DESCRIBED]
    rows = [(", ".join(aliases), str(number), *_facts(client, number)) for number, aliases in newest]
    description = f"{INTRODUCTION}\n\n{markdown_table(heads, rows)}"
    client.update_registered_model(REGISTERED_MODEL, description[:LONGEST_DESCRIPTION])


def _facts(client: MlflowClient, number: int) -> tuple[str, ...]:
    """Model, text, study, perplexity, MACs and day of the training of a version, for the description's table."""
    run = _run_of(client.get_model_version(REGISTERED_MODEL, str(number)))
    if run is None:
        return ("",) * 6
    return (
        plain(run.name),
        plain(run.corpus),
        plain(run.study),
        _shown(run.metrics.get("result/val_perplexity"), ".3f"),
        _shown(run.metrics.get("size/macs_per_char"), ",.0f"),
        time.strftime("%Y-%m-%d", time.localtime(run.started_ms / 1000)),
    )


def _shown(value: float | None, form: str) -> str:
    """A metric as text; "" if it is missing, as in a run that a user has registered."""
    return "" if value is None else format(value, form)
