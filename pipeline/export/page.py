"""Render the page of an export: one HTML file, readable without scripts, a network connection or MLflow.

The wording is here, the layout in templates/. The templates escape everything that comes from records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RECIPE
from pipeline.export.commands import search_command, text_option, train_command
from pipeline.export.configurations import Configuration, by_text, configurations_of, ngram_levels
from pipeline.export.subject import Subject
from pipeline.support.page.charts import Wording, explorer_html, shapes_of, undominated
from pipeline.support.page.rendering import html_environment, script_source, shared
from pipeline.support.wording import counted, rounded
from pipeline.tracking.records import read_json, read_yaml
from pipeline.tracking.trainings import WholeTraining
from pipeline.training.summary import compared, sizes, verdict

TEMPLATES = Path(__file__).with_name("templates")

SHOWN = 3  # configurations that are coloured at first

PERPLEXITY = (
    "Perplexity is the effective number of characters that the model chooses between at each step: {guessing}1 is "
    "certainty, lower is better."
)

CURVES = "Validation is solid, training dashed{seeds}. The dashed level is an n-gram fitted on the same training text."

COSTS = (
    "Left: validation at the best epoch against the multiply-accumulate operations (MACs) that one generated character "
    "takes; small dots are seeds, marks their means ({shapes}){picks}. The line is the front: nothing costs "
    "less and is better. Right: "
)

RUN_HEADS = ("training", "seed", "validation", "test", "MACs per character", "parameters", "epochs", "seconds", "")


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column has the row heads."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Sample:
    """A text that a model generated, and its prompt and decoding."""

    source: str
    text: str


@dataclass(frozen=True)
class Part:
    """Trainings that validate on the same characters: their charts, their table, and the best of them."""

    anchor: str
    title: str
    explorer: str
    runs: Table
    best: WholeTraining


@dataclass(frozen=True)
class ExportedModel:
    """A model in a folder beside the page; ``without_onnx`` says why it has no ONNX file, "" if it has one."""

    name: str
    folder: str
    training: WholeTraining
    vocab_size: int
    without_onnx: str


def page(subject: Subject, models: Sequence[ExportedModel], files: Sequence[tuple[str, str]]) -> str:
    """Render the page; ``files`` are the names and contents, in words, of the files beside it."""
    guessing = f"{models[0].vocab_size} is guessing, " if models else ""
    parts = _parts(subject, PERPLEXITY.format(guessing=guessing))
    best = models[-1].training if models else parts[0].best
    samples = _samples([each.training for each in models] or [part.best for part in parts], subject.kind)
    script = shared("page.js")
    return (
        html_environment(TEMPLATES)
        .get_template("index.html.jinja")
        .render(
            kind=subject.kind,
            title=_title(subject, best),
            about=_about(subject, best, len(parts)),
            verdict=_verdict(subject, best),
            parts=parts,
            samples=samples,
            comparison=_comparison(best),
            picks=subject.search.result["picks"] if subject.search else {},
            front=_front(subject),
            options=_options(subject, best),
            environment=_environment(subject, best),
            commands=_commands(subject, parts),
            cautions=_cautions(subject, best),
            models=models,
            files=files,
            script=script,
            scripts=script_source(script),
        )
    )


# --- sentences -------------------------------------------------------------------------------------------------------


def _title(subject: Subject, best: WholeTraining) -> str:
    if subject.kind == "training":
        return f"{subject.name.removesuffix(f'-{best.corpus}')} on {best.corpus}"
    return f"Study {subject.name} on {best.corpus}" if subject.kind == "study" else f"Experiment {subject.name}"


def _about(subject: Subject, best: WholeTraining, parts: int) -> str:
    if subject.kind == "training":
        model, result = best.configuration["model"], best.result
        layers, cell = counted(model["num_layers"], "layer"), model["cell"].upper()
        on_top = " on top of an n-gram" if model.get("on_top_of", "nothing") != "nothing" else ""
        return (
            f"A character-level language model ({cell}, {layers} of {model['hidden_size']:,} units{on_top}): "
            f"{sizes(result)}. Trained for {counted(result['epochs'], 'epoch')} in "
            f"{result['train_seconds']:,.1f} s on {result['device']}, preset {best.preset}, seed {best.seed}."
        )
    finished = len(subject.finished)
    if subject.kind == "study":
        count, other = len(configurations_of(subject.finished)), len(subject.trainings) - finished
        unfinished = f" ({other} more without a result)" if other else ""
        return (
            f"A search among character-level language models for low perplexity at low cost: {finished} finished "
            f"trainings of {counted(count, 'configuration')}{unfinished}."
        )
    return (
        f"{counted(finished, 'finished training')} of character-level language models, in "
        f"{counted(parts, 'group')} by text and preset. Figures of different groups can't be compared."
    )


def _verdict(subject: Subject, best: WholeTraining) -> str:
    """Compare the best network with the n-gram; for a study, say first which configuration is best."""
    sentence = verdict(best.result)
    pick = subject.search.result["picks"].get("best") if subject.search else None
    if pick:
        return f"{pick['sentence']} With seed {best.seed}, {sentence[0].lower()}{sentence[1:]}"
    return f"Of the first group, {best.name} is best: {sentence}" if subject.kind == "experiment" else sentence


def _cautions(subject: Subject, best: WholeTraining) -> list[str]:
    """Sentences on what may prevent a repetition."""
    cautions = []
    if best.is_dirty:
        cautions.append("The code had uncommitted changes, which are not part of that commit.")
    recipe = best.configuration["recipe"]
    current = RECIPE[best.configuration["train"]["preset"]]
    if recipe != current:
        cautions.append(
            f"It was trained by recipe {recipe}, that of the commit's code; the current recipe is {current}."
        )
    if subject.search and subject.search.options.get("space"):
        cautions.append("The space came from a YAML file, which is not part of this export.")
    return cautions


# --- charts and tables -----------------------------------------------------------------------------------------------


def _parts(subject: Subject, perplexity: str) -> list[Part]:
    parts = []
    for number, ((_, preset), trainings) in enumerate(by_text(subject.finished).items()):
        configurations = configurations_of(trainings)
        front = _front_members(subject, configurations)
        shown = [*(each for each in configurations if each.name in front), *configurations][:SHOWN]
        picks = {
            name: pick["run_id"] for name, pick in (subject.search.result["picks"] if subject.search else {}).items()
        }
        series = [
            each.series(
                each in shown, each.name in front, [name for name, run_id in picks.items() if run_id in each.run_ids]
            )
            for each in configurations
        ]
        has_front = len(configurations) > 1
        cells = (each.model["cell"] for each in configurations)
        several = any(len(each.trainings) > 1 for each in configurations)
        caption = CURVES.format(seeds=", each seed thin and their mean thick" if several else "")
        if has_front:
            caption = (
                COSTS.format(
                    shapes=shapes_of(cells),
                    picks=", ringed if the search recommends them" if picks else "",
                )
                + caption[0].lower()
                + caption[1:]
            )
        wording = Wording(
            front="validation perplexity at the best epoch",
            curves="perplexity by epoch",
            caption=f"{perplexity} {caption}",
        )
        best = min(configurations[0].trainings, key=lambda training: training.result["val_perplexity"])
        anchor = f"charts-{number + 1}"
        levels = ngram_levels(best.result)
        explorer = explorer_html(series, levels, wording, has_front, anchor=f"explorer-{number + 1}")
        title = f"{best.corpus}, preset {preset}" if subject.kind == "experiment" else "Charts"
        parts.append(Part(anchor, title, explorer, _runs(subject, configurations, front), best))
    return parts


def _front_members(subject: Subject, configurations: Sequence[Configuration]) -> set[str]:
    """The names of the configurations on the study's front, or without a study, of the undominated ones."""
    if subject.search:
        members = {run_id for member in subject.search.result["front"] for run_id in member["run_ids"]}
        return {each.name for each in configurations if each.run_ids & members}
    points = [(float(each.macs_per_char), each.mean) for each in configurations]
    return {configurations[number].name for number in undominated(points)}


def _runs(subject: Subject, configurations: Iterable[Configuration], front: set[str]) -> Table:
    """The table of all trainings, the best configuration first."""
    picks = subject.search.result["picks"] if subject.search else {}
    rows = []
    for configuration in configurations:
        for training in configuration.trainings:
            result = training.result
            named = [f"@{name}" for name, pick in picks.items() if pick["run_id"] == training.run_id]
            stopped = [f"stopped: {result['stopped']}"] if result["stopped"] else []
            on_front = ["front"] if configuration.name in front and subject.kind != "training" else []
            rows.append(
                (
                    configuration.name,
                    str(training.seed),
                    rounded(result["val_perplexity"]),
                    rounded(result["test_perplexity"]),
                    f"{result['macs_per_char']:,}",
                    f"{result['parameters']:,}",
                    str(result["epochs"]),
                    f"{result['train_seconds']:,.1f}",
                    "; ".join([*named, *on_front, *stopped]),
                )
            )
    return Table("All finished trainings: perplexity per character, cost, time of training", RUN_HEADS, rows)


def _front(subject: Subject) -> Table | None:
    """The table of a study's front, in the order of MACs; None without one."""
    if subject.search is None or not subject.search.result["front"]:
        return None
    rows = []
    for member in sorted(subject.search.result["front"], key=lambda member: member["macs_per_char"]):
        low, high = member["val_perplexity_low"], member["val_perplexity_high"]
        test, chance = member["test_perplexity"], member["probability"]
        rows.append(
            (
                member["name"],
                f"{member['macs_per_char']:,}",
                f"{member['parameters']:,}",
                rounded(member["val_perplexity"]),
                "" if low is None else f"{rounded(low)} to {rounded(high)}",
                "" if test is None else rounded(test),
                str(len(member["run_ids"])),
                "" if chance is None else f"{chance:.2f}",
            )
        )
    sizes_of = ("MACs per character", "parameters")
    heads = ("configuration", *sizes_of, "validation", "95 % interval", "test", "seeds", "chance")
    caption = (
        "The front: means over seeds, the interval of the mean validation perplexity, and the chance that the "
        "configuration is on the front, by the spread of the seeds"
    )
    return Table(caption, heads, rows)


def _comparison(best: WholeTraining) -> Table:
    heads = ("", "validation perplexity", "test perplexity", "bits per character (test)")
    caption = f"{best.name} and the best n-gram, alone and together, on the same text"
    return Table(caption, heads, compared(best.result))


def _samples(trainings: Iterable[WholeTraining], kind: str) -> list[Sample]:
    """The recorded sample texts of a training, the longest first; of several trainings, the longest of each."""
    samples = []
    for run_id in dict.fromkeys(training.run_id for training in trainings):
        kept = read_json(run_id, "samples/final.json").get("samples", [])
        found = [Sample(f"“{each['prompt']}”, {each['method']}", each["text"]) for each in kept]
        found.sort(key=lambda sample: -len(sample.text))
        samples += found if kind == "training" else found[:1]
    return samples


def _options(subject: Subject, best: WholeTraining) -> dict[str, str]:
    """The options by name; those of a search's trials are in runs.csv."""
    if subject.search:
        hidden = ("corpus", "storage", "space")  # may name folders of this machine
        return {name: value for name, value in subject.search.options.items() if name not in hidden}
    configuration = best.configuration
    options = {**configuration["corpus"], **configuration["model"], **configuration["train"]}
    options["corpus"] = text_option(best)  # without the folder
    return {name: str(value) for name, value in options.items() if value is not None}


def _environment(subject: Subject, best: WholeTraining) -> dict[str, str]:
    """The text, run, commit, machine and package versions of the training or search."""
    recorded = read_yaml(subject.search.run_id if subject.search else best.run_id, "environment.yaml")
    packages: Mapping[str, Any] = recorded.pop("packages", {})
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    shown = {
        "text": f"{best.corpus}, sha256 {best.corpus_sha256}",
        "run": subject.search.run_id if subject.search else best.run_id,
        "commit": best.commit,
        **{name.replace("_", " "): str(value) for name, value in recorded.items()},
        "packages": versions,
    }
    return {name: value for name, value in shown.items() if value}


def _commands(subject: Subject, parts: Sequence[Part]) -> list[str]:
    """The commands that repeat the subject; for an experiment, the best training of each group."""
    commit = parts[0].best.commit
    checkout = [f"git checkout {commit}"] if commit and subject.kind != "experiment" else []
    if subject.search:
        return [*checkout, search_command(subject.search, parts[0].best)]
    return [*checkout, *(train_command(part.best) for part in parts)]
