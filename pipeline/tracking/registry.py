"""Register the picks of a search as versions of REGISTERED_MODEL, each under the alias STUDY-PICK.

An alias belongs to one study: a search moves its own to its new picks, and no other search can take them over.
"""

import re
import time
from collections.abc import Mapping

from pipeline import earlier
from pipeline.errors import InputError, RecordingError
from pipeline.results import FIGURES
from pipeline.support.markdown import markdown_table, plain
from pipeline.tracking.names import WEIGHTS
from pipeline.tracking.recorded import RecordedRun, RecordedTraining, find_run
from pipeline.tracking.store import client, store_errors, tolerating
from pipeline.training.metrics import MACS

REGISTERED_MODEL = "time-machine-lm"
PICKS = ("lean", "knee", "best")
LONGEST_ALIAS, LONGEST_DESCRIPTION = 255, 5000  # characters, MLflow's limits

MOST_DESCRIBED = 20  # versions in the description of the registered model

OURS = "Character-level language models: the picks of `tmlm search`."  # any other description is a user's, and is kept
INTRODUCTION = (
    f"{OURS} An alias begins with the name of its study, and names the latest picks of that study alone. Load one with "
    f'`mlflow.pyfunc.load_model("models:/{REGISTERED_MODEL}@ALIAS")`.'
)


def alias_of(name: str) -> str:
    """A name with a dash for what an alias can't have."""
    return re.sub(r"[^\w-]+", "-", name)


def pick_alias(study: str, pick: str) -> str:
    """The alias of a study's pick: STUDY-PICK."""
    return f"{alias_of(study)[: LONGEST_ALIAS - len(pick) - 1]}-{pick}"


def aliases() -> dict[str, str]:
    """The aliases of the registered model, alias -> version, without the bare picks that earlier versions set."""
    with store_errors():
        found = client().search_registered_models(f"name = '{REGISTERED_MODEL}'")
    bare = {*PICKS, *earlier.PICKS}
    return {alias: version for model in found for alias, version in model.aliases.items() if alias not in bare}


def check_aliases(study: str, corpus_sha256: str) -> None:
    """Raise InputError if an alias of the study's picks names a model of another study or text."""
    versions = aliases()
    for alias in [alias for pick in (*PICKS, *earlier.PICKS) if (alias := pick_alias(study, pick)) in versions]:
        with store_errors():
            version = client().get_model_version(REGISTERED_MODEL, versions[alias])
        run = find_run(version.run_id) if version.run_id else None
        if version.tags.get("study") != study or (run is not None and run.corpus_sha256 != corpus_sha256):
            raise InputError(
                f"--study-name {study}: its alias @{alias} names version {version.version} of {REGISTERED_MODEL}, "
                "a model of another study or text; give another name"
            )


def run_of_version(version: str) -> RecordedRun | None:
    """The run that trained a version; None if it is gone, or if the version was registered without one."""
    with store_errors():
        run_id = client().get_model_version(REGISTERED_MODEL, version).run_id
    return find_run(run_id) if run_id else None


def register_picks(picks: Mapping[str, tuple[str, str]], study: str, corpus: str) -> dict[str, str]:
    """Register the models that a study has picked, and return the alias of each pick.

    ``picks`` maps each pick to its run id and a sentence. Raises RecordingError for a run without a logged model.
    """
    registered = {pick: pick_alias(study, pick) for pick in picks}
    known = aliases()
    moved = {alias: new for old, new in earlier.PICKS.items() if (alias := pick_alias(study, old)) in known}
    with store_errors():
        with tolerating("RESOURCE_ALREADY_EXISTS"):
            client().create_registered_model(REGISTERED_MODEL)
        for pick, (run_id, sentence) in picks.items():
            for alias in (*(alias for alias, new in moved.items() if new == pick), registered[pick]):
                register(alias, run_id, sentence, study, corpus)
        describe_registered_model()
    return registered


def register(alias: str, run_id: str, sentence: str, study: str, corpus: str) -> None:
    """Register a run's model, unless that is done already; set its description, tags and alias."""
    versions = client().search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'")
    run = find_run(run_id)
    if versions:
        version = versions[0].version
    elif run and run.tag(WEIGHTS):  # the alias names a training without a model, no longer an earlier pick
        version = client().create_model_version(REGISTERED_MODEL, run.artifact_uri, run_id).version
    else:
        outputs = client().get_run(run_id).outputs
        if outputs is None or not outputs.model_outputs:
            raise RecordingError(f"the run {run_id} has no logged model to register as {REGISTERED_MODEL}")
        model = client().get_logged_model(outputs.model_outputs[-1].model_id)  # a resumed training may have logged two
        source, model_id = model.artifact_location, model.model_id
        version = client().create_model_version(REGISTERED_MODEL, source, run_id, model_id=model_id).version
    about = f"{sentence}\n\nStudy: {study}. Registered {time.strftime('%Y-%m-%d')}."
    if isinstance(run, RecordedTraining) and run.result:
        from pipeline.training.sentences import model_facts  # here, as it imports torch

        about += f"\n\n{model_facts(run.configuration, run.result)}"
    client().update_model_version(REGISTERED_MODEL, version, about[:LONGEST_DESCRIPTION])
    for key, value in (("corpus", corpus), ("study", study)):
        client().set_model_version_tag(REGISTERED_MODEL, version, key, value)
    client().set_registered_model_alias(REGISTERED_MODEL, alias, version)


def describe_registered_model() -> None:
    """Describe the model of each alias, newest first, unless a user has written a description."""
    model = client().get_registered_model(REGISTERED_MODEL)
    if model.description and not model.description.startswith(OURS):
        return
    aliases_of: dict[int, list[str]] = {}
    for alias, number in sorted(model.aliases.items()):
        aliases_of.setdefault(int(number), []).append(f"`@{alias}`")
    heads = ("alias", "version", "model", "text", "study", "validation perplexity", "MACs per character", "trained")
    rows = []
    for number, aliases in sorted(aliases_of.items(), reverse=True)[:MOST_DESCRIBED]:
        facts = [""] * 6  # a run that is gone, or a user's without these metrics
        if run := run_of_version(str(number)):
            perplexity, macs = run.metrics.get("result/val_perplexity"), run.metrics.get(MACS)
            figures = FIGURES["val_perplexity"].shown(perplexity), FIGURES["macs_per_char"].shown(macs)
            day = time.strftime("%Y-%m-%d", time.localtime(run.started_ms / 1000))
            facts = [*map(plain, (run.name, run.corpus, run.study)), *figures, day]
        rows.append((", ".join(aliases), str(number), *facts))
    description = f"{INTRODUCTION}\n\n{markdown_table(heads, rows)}"
    client().update_registered_model(REGISTERED_MODEL, description[:LONGEST_DESCRIPTION])
