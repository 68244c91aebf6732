"""Register models under aliases that belong to a study and its text.

A search registers its picks (best, knee, small) as versions of REGISTERED_MODEL. Each gets two aliases: the name of the
pick, unless it belongs to another study, and one that begins with the name of the study.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

# first: it sets the environment that MLflow reads when it is imported
from pipeline.tracking.store import store_errors

# isort: split

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import RecordingError
from pipeline.support.markdown import markdown_table, plain
from pipeline.tracking.recorded import RecordedRun, RecordedTraining, find_run
from pipeline.training.summary import model_facts

REGISTERED_MODEL = "time-machine-lm"
PICKS = ("small", "knee", "best")
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
    """The owner of an alias: a study, and the text that it searches on, whatever the text's name."""

    study: str
    corpus: str = field(compare=False)
    corpus_sha256: str

    def __str__(self) -> str:
        return f"study {self.study} on {self.corpus}"

    def aliases(self, pick: str) -> tuple[str, str]:
        """The two aliases of a pick: PICK and STUDY-PICK."""
        return pick, f"{alias_of(self.study)[: LONGEST_ALIAS - len(pick) - 1]}-{pick}"


def alias_of(name: str) -> str:
    """A name with a dash for what an alias can't have."""
    return re.sub(r"[^\w-]+", "-", name)


def aliases() -> Mapping[str, str]:
    """The aliases of the registered model: alias -> version."""
    with store_errors():
        try:
            found: Mapping[str, str] = MlflowClient().get_registered_model(REGISTERED_MODEL).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
    return found


def run_of_version(version: str) -> RecordedRun | None:
    """The run that trained a version; None if it is gone, or if the version was registered without one."""
    with store_errors():
        run_id = MlflowClient().get_model_version(REGISTERED_MODEL, version).run_id
    return find_run(run_id) if run_id else None


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
        try:
            client.create_registered_model(REGISTERED_MODEL)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        registered = {
            pick: register(client, pick, run_id, owner, sentence, claim) for pick, (run_id, sentence) in picks.items()
        }
        _describe_registered_model(client)
    return registered


def register(client: MlflowClient, pick: str, run_id: str, owner: Owner, sentence: str, claim: Claim) -> Registration:
    """Register a run's model, unless that is done already, and set its description, tags and aliases."""
    versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'")
    if versions:
        version = versions[0].version
    else:
        outputs = client.get_run(run_id).outputs
        if outputs is None or not outputs.model_outputs:
            raise RecordingError(f"the run {run_id} has no logged model to register as {REGISTERED_MODEL}")
        model = client.get_logged_model(outputs.model_outputs[-1].model_id)  # a resumed training may have logged two
        source, model_id = model.artifact_location, model.model_id
        version = client.create_model_version(REGISTERED_MODEL, source, run_id, model_id=model_id).version
    about = f"{sentence}\n\nStudy: {owner.study}. Registered {time.strftime('%Y-%m-%d')}."
    run = find_run(run_id)
    if isinstance(run, RecordedTraining) and run.result:
        about += f"\n\n{model_facts(run.configuration, run.result)}"
    client.update_model_version(REGISTERED_MODEL, version, about[:LONGEST_DESCRIPTION])
    for key, value in (("corpus", owner.corpus), ("study", owner.study)):
        client.set_model_version_tag(REGISTERED_MODEL, version, key, value)
    claimed = owner.aliases(pick)[1 if claim == "own" else 0 :]
    left = {} if claim == "all" else _aliases_of_others(client, owner, claimed)
    aliases = tuple(alias for alias in claimed if alias not in left)
    for alias in aliases:
        client.set_registered_model_alias(REGISTERED_MODEL, alias, version)
    return Registration(str(version), aliases, left)


def _aliases_of_others(client: MlflowClient, owner: Owner, wanted: Iterable[str]) -> dict[str, str]:
    """The aliases that name a model of another study or text: alias -> owner."""
    versions, others = client.get_registered_model(REGISTERED_MODEL).aliases, {}
    for alias in wanted:
        if alias in versions:
            run = run_of_version(versions[alias])
            theirs = Owner(run.study, run.corpus, run.corpus_sha256) if run is not None and run.study else None
            if theirs is None:
                others[alias] = f"version {versions[alias]}, a model of no study"
            elif theirs != owner:
                others[alias] = str(theirs)
    return others


def _describe_registered_model(client: MlflowClient) -> None:
    """Describe the model of each alias, newest first, unless a user has written a description."""
    model = client.get_registered_model(REGISTERED_MODEL)
    if model.description and not model.description.startswith(INTRODUCTION):
        return
    aliases_of: dict[int, list[str]] = {}
    for alias, number in sorted(model.aliases.items()):
        aliases_of.setdefault(int(number), []).append(f"`@{alias}`")
    heads = ("alias", "version", "model", "text", "study", "validation perplexity", "MACs per character", "trained")
    rows = []
    for number, aliases in sorted(aliases_of.items(), reverse=True)[:MOST_DESCRIBED]:
        facts = [""] * 6  # a run that is gone, or a user's without these metrics
        if run := run_of_version(str(number)):
            shown = {"result/val_perplexity": ".3f", "size/macs_per_char": ",.0f"}
            figures = [format(run.metrics[name], form) if name in run.metrics else "" for name, form in shown.items()]
            day = time.strftime("%Y-%m-%d", time.localtime(run.started_ms / 1000))
            facts = [*map(plain, (run.name, run.corpus, run.study)), *figures, day]
        rows.append((", ".join(aliases), str(number), *facts))
    description = f"{INTRODUCTION}\n\n{markdown_table(heads, rows)}"
    client.update_registered_model(REGISTERED_MODEL, description[:LONGEST_DESCRIPTION])
