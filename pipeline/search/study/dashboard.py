"""Notes and pictures of a study and its trials for optuna-dashboard, which does not have to be installed.

The dashboard keeps a note in system attributes of the study, in pieces of at most NOTE_PIECE characters
(optuna_dashboard/_note.py): ``dashboard:note_str:0``, ``dashboard:note_str:1``, ... Each change that a person makes
increments ``dashboard:note_ver``. The names of a trial's note begin with ``dashboard:TRIAL_ID:``.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import FrozenTrial

from pipeline.config import COSTS, SearchConfig
from pipeline.search.study.protocol import objectives, training_of
from pipeline.search.study.space import Space
from pipeline.support.markdown import plain, text_block
from pipeline.support.wording import counted
from pipeline.tracking import store

NOTE_PIECE = 2045  # characters of a piece of a note
LINE_CHARS = 80
OUR_VERSION = 1  # note_ver of the notes that this program writes


def artifact_folder() -> Path:
    """The folder of the figures that optuna-dashboard shows."""
    return store.root() / "mlruns" / "optuna-artifacts"


def write_study_note(study: optuna.Study, body: str) -> None:
    """Write the note of the study, unless a person has changed it in the dashboard."""
    kept = study._storage.get_study_system_attrs(study._study_id)
    if kept.get("dashboard:note_ver", OUR_VERSION) == OUR_VERSION:
        write_note(study, body, pieces=sum(name.startswith("dashboard:note_str:") for name in kept))


def write_note(study: optuna.Study, body: str, trial_id: int | None = None, pieces: int = 0) -> None:
    """Write the note of the study, or of a trial given its id; ``pieces`` is the number of pieces of an earlier one."""
    prefix = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    texts = [body[start : start + NOTE_PIECE] for start in range(0, len(body), NOTE_PIECE)]
    texts += [""] * (pieces - len(texts))  # attributes can't be deleted
    written: dict[str, Any] = {f"{prefix}note_str:{number}": text for number, text in enumerate(texts)}
    for name, value in {**written, f"{prefix}note_ver": OUR_VERSION}.items():
        study._storage.set_study_system_attr(study._study_id, name, value)


def one_line(text: str) -> str:
    """Truncate a text to one line of LINE_CHARS characters, as the dashboard does not wrap attributes."""
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}..."


def trial_note(model: str, result: Mapping[str, Any], link: str) -> str:
    """The note of a trained trial: model, figures, link to its run, sample text."""
    epochs = f"{result['epochs']} epoch{'s' * (result['epochs'] != 1)}"
    seconds = f"{epochs} in {result['train_seconds']:.1f} s, best epoch {result['best_epoch']}"
    stopped = f"; stopped early: `{result['stopped']}`" if result["stopped"] else ""
    linked = f"[The run in MLflow]({link}): curves, checkpoints, model.\n\n" if link else ""
    return (
        f"**{model}**: validation perplexity {result['val_perplexity']:.3f}, test perplexity "
        f"{result['test_perplexity']:.3f}\n\n{result['macs_per_char']:,} MACs per character, "
        f"{result['parameters']:,} parameters; {seconds}{stopped}.\n\n"
        f"{linked}Sample text:\n\n{text_block(result['texts'][-1])}"
    )


def study_note(config: SearchConfig, space: Space, text: str, vocab_size: int, link: str, outcome: str) -> str:
    """The note of a study: its outcome, what is searched and how, the objectives, and where the runs are."""
    budget = f", at most {config.budget_macs:,} MACs per character" if config.budget_macs else ""
    (perplexity, cost), axis = objectives(config), COSTS[config.cost]
    return (
        f"{outcome}\n\n### The search\n\n"
        f"- **text**: {plain(text)}\n"
        f"- **space**: {plain(space.as_line())}{budget}\n"
        f"- **a trial**: one training, {training_of(config)}, seed {config.seed}\n"
        f"- **sampler**: {config.sampler}; after the last trial, every pick is trained until it has "
        f"{counted(config.confirm_seeds, 'seed')}\n"
        f"- **{perplexity}** (minimised): the effective number of characters the model chooses between at each "
        f"step; {vocab_size} = guessing, 1 = certain\n"
        f"- **{cost}** (minimised): decimal logarithm of the {axis.name} ({axis.details})\n"
        f"- **runs**: [in MLflow]({link}), one for each trial and each further seed, with curves, samples and models"
    )


def attach_picture(study: optuna.Study, name: str, png: bytes) -> None:
    """Attach a picture to the study, replacing an earlier one with this file name."""
    for artifact_id, filename in _attached(study).items():
        if filename == name:
            _artifacts().write(artifact_id, BytesIO(png))
            return
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(png)
        upload_artifact(artifact_store=_artifacts(), file_path=str(file), study_or_trial=study)


def attach_to_trial(study: optuna.Study, trial: FrozenTrial, picture: Path) -> None:
    """Attach a picture to a trial."""
    upload_artifact(artifact_store=_artifacts(), file_path=str(picture), study_or_trial=trial, storage=study._storage)


def _attached(study: optuna.Study) -> dict[str, str]:
    """The file names of the study's artifacts, by id.

    Optuna's get_all_artifact_meta fails if an artifact was deleted in the dashboard, which leaves null in its place.
    """
    kept = study._storage.get_study_system_attrs(study._study_id)
    artifacts = [json.loads(value) for name, value in kept.items() if name.startswith("artifacts:")]
    return {artifact["artifact_id"]: artifact["filename"] for artifact in artifacts if artifact is not None}


def _artifacts() -> FileSystemArtifactStore:
    artifact_folder().mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(artifact_folder())
