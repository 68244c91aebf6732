"""The note of a study for optuna-dashboard, which does not have to be installed."""

from hashlib import sha256

import optuna

from pipeline.config import COSTS, SearchConfig
from pipeline.search.study import attributes
from pipeline.search.study.protocol import describe_training, objectives
from pipeline.search.study.space import Space
from pipeline.support.markdown import plain
from pipeline.support.wording import counted


def write_note(study: optuna.Study, body: str) -> None:
    """Write the note of a study if optuna-dashboard is installed, unless a person has changed it there."""
    try:
        from optuna_dashboard import get_note, save_note  # here, as it is optional
    except ImportError:
        return
    written = attributes.of_study(study).get(attributes.NOTE)
    if (kept := get_note(study)) and _digest(kept) != written:
        return
    save_note(study, body)
    attributes.set_of_study(study, attributes.NOTE, _digest(body))


def _digest(body: str) -> str:
    return sha256(body.encode()).hexdigest()


def study_note(config: SearchConfig, space: Space, text: str, vocab_size: int, link: str, outcome: str) -> str:
    """The note of a study: its outcome, what is searched and how, the objectives, and where the runs are."""
    budget = f", at most {config.budget_macs:,} MACs per character" if config.budget_macs else ""
    (perplexity, cost), axis = objectives(config), COSTS[config.cost]
    return (
        f"{outcome}\n\n### The search\n\n"
        f"- **text**: {plain(text)}\n"
        f"- **space**: {plain(space.as_line())}{budget}\n"
        f"- **a trial**: one training, {describe_training(config)}, seed {config.seed}\n"
        f"- **sampler**: {config.sampler}; after the last trial, every pick is trained until it has "
        f"{counted(config.confirm_seeds, 'seed')}\n"
        f"- **{perplexity}** (minimised): the effective number of characters the model chooses between at each "
        f"step; {vocab_size} = guessing, 1 = certain\n"
        f"- **{cost}** (minimised): decimal logarithm of the {axis.name} ({axis.details})\n"
        f"- **runs**: [in MLflow]({link}), one for each trial and each further seed, with curves, samples and models"
    )
