"""The page of an export as plain data: one HTML file that runs the model and needs no network or MLflow."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RECIPE
from pipeline.pages import document as doc
from pipeline.pages.charts import COLOURS, SHOWN, explorer
from pipeline.pages.configurations import TrainedConfiguration, by_characters, configurations_of, means_of, title_of
from pipeline.pages.document import Heading, Paragraph, Points, Section, Span, Table
from pipeline.pages.page_models import SCRIPTS, PageModels, page_models
from pipeline.pages.rendering import html
from pipeline.pages.repeat import changed_options, search_command, text_option, train_command
from pipeline.pages.subject import Subject, subject_of
from pipeline.results import MEMBER_COLUMNS, RIVAL_HEADS, member_cells, pick_sentences, picks_and_rivals
from pipeline.support.files import sync, sync_file
from pipeline.support.wording import counted, listed, rounded, setting
from pipeline.text.sources import FALLBACK, licence_of
from pipeline.tracking import store
from pipeline.tracking.artifacts import PAGE_FILE, read_environment
from pipeline.tracking.descriptions import PAGE, describe
from pipeline.tracking.queries import differing
from pipeline.tracking.recorded import RecordedTraining, run_of
from pipeline.tracking.relocation import local_path
from pipeline.tracking.ui.links import link_to_artifact, link_within
from pipeline.training.sentences import comparison_rows, sizes, verdict

log = logging.getLogger(__name__)

MODELS = '<script type="application/json" id="models">'
ELEMENTS = Path(__file__).with_name("templates") / "model.html"  # of the models that run

RUN_HEADS = ("training", "seed", "validation", "test", "MACs per character", "parameters", "epochs", "seconds", "notes")

SORTABLE = "numbers sortable"  # of tables whose heads page.js makes buttons


@dataclass(frozen=True)
class Group:
    """Trainings that validate on the same characters: their charts, their table, and the best of them."""

    title: str
    explorer: doc.Explorer
    runs: Table
    best: RecordedTraining
    configurations: Sequence[TrainedConfiguration]


def page_of(subject: Subject, stays_here: bool = False) -> str:
    """The page of a finished training or study alone, without the files that ``export`` writes beside it.

    ``stays_here``, on this machine, is as ``page_models`` takes it.
    """
    return page(subject, page_models(subject, stays_here=stays_here))


def record_page(run_id: str, anew: bool = False) -> str:
    """Record the page that ``export`` makes of a run as an artifact, linked in its description, and say where.

    Returns its path or, on a server, its address in the UI. A linked page is kept, unless it is made ``anew``. A
    failure is logged, not raised, and returns "": what the page shows is recorded.
    """
    try:
        with store.impatient():
            run = run_of(run_id)
            folder = local_path(run.artifact_uri)
            if anew or not run.tag(PAGE):
                store.client().log_text(run.id, text := page_of(subject_of(run.id)), PAGE_FILE)
                if folder is not None:
                    sync(folder / PAGE_FILE)
                    sync_file(folder)  # MLflow renames the page to its name
                what = "Let it read your text, and write" if MODELS in text else "Its page, without a model"
                describe(run.id, {PAGE: f"[{what}]({link_within(run.id, PAGE_FILE)})"})
            if folder is None:
                return link_to_artifact(run.id, PAGE_FILE)
            return str(folder / PAGE_FILE) if (folder / PAGE_FILE).is_file() else ""  # somebody may have removed it
    except Exception as error:  # of any kind
        log.warning("%s has no page that runs its model: %s", run_id, error)
        return ""


def page(subject: Subject, in_page: PageModels, files: Sequence[tuple[str, str]] = ()) -> str:
    """Render the page; ``files`` are the names and contents, in words, of the files beside it."""
    groups = _groups(subject, len(in_page.symbols))
    pick: Mapping[str, Any] = subject.picks.get("best") or {}
    best = next((run for run in subject.finished if run.id == pick.get("run_id")), groups[0].best)
    text = best.configuration["text"]
    credited = f"The text is the {text['source']}. {licence_of(text['name'])}"
    credit = [Paragraph(credited)] if text["name"] == FALLBACK else []
    judged = Paragraph(f"{pick.get('sentence', '')} {verdict(best.result)}".strip(), "verdict")
    comparison = Table(
        f"{best.name} and the n-gram model, alone and together, on the same text",
        ("model", "validation perplexity", "test perplexity", "bits per character (test)"),
        comparison_rows(best.result),
    )
    are_many = len(groups) > 1 and not subject.models
    first = " (the best training of each group; runs.csv has the options of all)" * are_many
    repeat: list[doc.Block] = [
        Paragraph(f"In a checkout of the project, with the text that the sha256 below names{first}:"),
        doc.Commands(_commands(subject, groups)),
        *map(Paragraph, _cautions(subject, best)),
        Points(_environment(subject, best)),
    ]
    beside: list[doc.Block] = [Points([(Span(name, href=name), contents) for name, contents in files])] if files else []
    charts: list[doc.Block] = []
    for group in groups:
        best_of = f"The best is {group.best.name}. {verdict(group.best.result)}"
        charts += [Heading(group.title), *[Paragraph(best_of)] * (len(groups) > 1), group.explorer]
    runs = [block for group in groups for block in (Heading(group.title), group.runs)]
    on = f" on {best.corpus}" if len(groups) == 1 or subject.models else ""
    called = subject.name if subject.kind == "study" else subject.name.removesuffix(f"-{best.corpus}")
    name = f"{subject.kind.capitalize()} {called}"
    return html(
        doc.Page(
            title=f"{counted(len(subject.models), 'network') if subject.models else name}{on}",
            lead=[
                *_live(in_page),
                *map(Paragraph, _why(subject, best)),
                *map(Paragraph, _about(subject, best, groups)),
                *credit,
                *([judged] if len(groups) == 1 else []),
                comparison,
            ],
            sections=[
                Section("Charts", charts, "charts"),
                Section("What differs", _differences(subject, groups), "differences"),
                Section("The front, and what to take from it", _front(subject), "front"),
                Section("All trainings", runs, "trainings", is_open=len(subject.finished) <= 20),
                Section("How to repeat it", repeat, "repeat"),
                Section("Options", [Points(_options(subject, best))], "options", is_open=False),
                Section("Files beside this page", beside, "files"),
            ],
            scripts=[script.read_text(encoding="utf-8") for script in SCRIPTS] if in_page.models else [],
        )
    )


def _live(in_page: PageModels) -> list[doc.Block]:
    """The models that run in the page; if there are none, why."""
    if not in_page.models:
        return [*map(Paragraph, in_page.remarks)]
    subject, verb = ("network", "has") if len(in_page.models) == 1 else ("networks", "have")
    line = f"The {subject} below {verb} learned to predict the next letter of a text, and will read yours as you type."
    elements = ELEMENTS.read_text(encoding="utf-8")
    return [Paragraph(line), doc.Markup(f"{elements}{MODELS}{in_page.json()}</script>")]


def _about(subject: Subject, best: RecordedTraining, groups: Sequence[Group]) -> list[str]:
    """What was trained, if it is more than one network, and the best of it, which is in the first group."""
    model, result, finished = best.configuration["model"], best.result, len(subject.finished)
    layers, cell = counted(model["num_layers"], "layer"), model["cell"].upper()
    on_top = " on top of n-grams" if model["on_top_of"] != "nothing" else ""
    about = (
        f"A character-level language model ({cell}, {layers} of {model['hidden_size']:,} units{on_top}): "
        f"{sizes(result)}. Trained for {counted(result['epochs'], 'epoch')} in "
        f"{result['train_seconds']:,.1f} s on {result['device']}, preset {best.preset}, seed {best.seed}."
    )
    if finished == 1:
        return [about]
    other = len(subject.trainings) - finished
    unfinished = f" ({other} more without a result)" if other else ""
    apart = f", in {len(groups)} groups, which can be compared on test only, for the same text" * (len(groups) > 1)
    count = counted(sum(len(group.configurations) for group in groups), "configuration")
    return [
        f"{finished} finished trainings of {count}{unfinished}{apart}.",
        f"The best{f' on {groups[0].title}' if apart else ''}, {best.name}: {about}",
    ]


def _why(subject: Subject, best: RecordedTraining) -> list[str]:
    """The note of a training or a study, and what a training was made like."""
    run = subject.search or best
    alone = subject.kind in ("training", "study")  # of others, the table has the notes
    return [*filter(None, (run.note, run.like and f"Trained like {run.like}."))] if alone else []


def _cautions(subject: Subject, best: RecordedTraining) -> list[str]:
    """Sentences on what may prevent a repetition."""
    cautions, runs = [], subject.models or [best]
    if dirty := [run.name for run in runs if run.tag("git.dirty") == "true"]:
        of = f" of {listed(dirty)}" if subject.models else ""
        cautions.append(f"The code{of} had uncommitted changes, which are not part of that commit.")
    for run in runs:
        recipe, current = run.configuration["recipe"], RECIPE[run.configuration["train"]["preset"]]
        if recipe != current:
            it = run.name if subject.models else "It"
            cautions.append(
                f"{it} was trained by recipe {recipe}, that of the commit's code; the current recipe is {current}."
            )
    if subject.search is None:
        return cautions
    if subject.search.options.get("space"):
        cautions.append("The space came from a YAML file, which is not part of this export.")
    settings = changed_options(subject.search, python_only=True)
    if shown := [f"{name} {value}" for name, value in settings.items() if name != "storage"]:
        cautions.append(f"The search had settings of Python only, which the command lacks: {listed(shown)}.")
    return cautions


def _groups(subject: Subject, symbols: int) -> list[Group]:
    """The groups of finished trainings; ``symbols`` is the size of the alphabet, 0 if it is not known."""
    guessing = f"{symbols} is guessing, " if symbols else ""
    about = (
        "Perplexity is the effective number of characters that the model chooses between at each step: "
        f"{guessing}1 is certainty, lower is better. The dashed level “n-grams” is the n-gram model of the same "
        f"training text. The {subject.axis.name} are {subject.axis.details}."
    )
    about += " Ringed is what the search recommends." * bool(subject.picks)
    groups = []
    for number, trainings in enumerate(by_characters(subject.finished), 1):
        configurations = configurations_of(trainings)
        best = min(configurations[0].trainings, key=lambda training: training.result["val_perplexity"])
        ngram = best.result["ngram_val_perplexity"]
        levels = {f"n-grams {rounded(ngram)}": ngram}
        caption = about
        for row in subject.compared:
            if row["kind"] == "yours" and (yours := row.get("val_perplexity")):
                caption += " The level “yours” is your own best training at that time."
                levels[f"yours {rounded(yours)}"] = yours
        series = [configuration.series(subject.axis, subject.picks) for configuration in configurations]
        shown = COLOURS if subject.models else SHOWN
        charts = explorer(series, levels, caption, f"explorer-{number}", shown)
        runs = _runs(subject, configurations)
        groups.append(Group(title_of(trainings), charts, runs, best, configurations))
    return groups


def _differences(subject: Subject, groups: Sequence[Group]) -> list[doc.Block]:
    """The options in which several trainings differ; nothing if they differ in their seeds alone."""
    configurations = [each for group in groups for each in group.configurations if subject.models]
    recorded = [each.trainings[0].configuration for each in configurations]
    options = [{**each["model"], **each["train"], "recipe": each["recipe"], "seed": ""} for each in recorded]
    values = differing([{name: setting(value) for name, value in each.items()} for each in options])
    if not values:
        return []
    perplexities = {"val_perplexity": "validation", "test_perplexity": "test"}
    if len(groups) > 1:
        del perplexities["val_perplexity"]  # by other characters
    means = [means_of(configurations, name) for name in perplexities]
    rows = [
        (each.name, *(value or "" for value in own))  # earlier versions had fewer
        for each, *own in zip(configurations, *values.values(), *means, strict=True)
    ]
    heads = ("configuration", *(name.replace("_", " ") for name in values), *perplexities.values())
    caption = "The options that differ, and means over seeds; ± is half of the 95 % prediction interval of one more"
    return [Table(caption, heads, rows, style=SORTABLE)]


def _runs(subject: Subject, configurations: Sequence[TrainedConfiguration]) -> Table:
    """The table of all trainings, the best configuration first; with numbers of trials if one is of a search."""
    of_search = any(training.tag("trial") for configuration in configurations for training in configuration.trainings)
    rows: list[tuple[doc.TableCell | str, ...]] = []
    for configuration in configurations:
        for training in configuration.trainings:
            result = training.result
            named = [f"@{name}" for name, pick in subject.picks.items() if pick["run_id"] == training.id]
            ended = [f"stopped: {result['stopped']}"] if result["stopped"] else []
            ended += ["fell over"] if result.get("fell_over") else []
            ended += [training.note] if training.note and subject.kind not in ("training", "study") else []
            perplexities = rounded(result["val_perplexity"]), rounded(result["test_perplexity"])
            cost = f"{result['macs_per_char']:,}", f"{result['parameters']:,}"
            length = str(result["epochs"]), f"{result['train_seconds']:,.1f}"
            notes = doc.TableCell("; ".join([*named, *ended]), style="remark")
            which = str(training.seed), *[training.tag("trial")] * of_search
            rows.append((configuration.name, *which, *perplexities, *cost, *length, notes))
    heads = (*RUN_HEADS[:2], *["trial"] * of_search, *RUN_HEADS[2:])
    caption = "All finished trainings: perplexity per character, cost, time of training"
    return Table(caption, heads, rows, style=SORTABLE)


def _front(subject: Subject) -> list[doc.Block]:
    """The picks of a study and the table of its front, in the order of its cost; nothing without a front."""
    if subject.search is None or not subject.search.result["front"]:
        return []
    rows = []
    first = [name for name in MEMBER_COLUMNS if name not in ("val_perplexity", "run_ids", "test_perplexity")]
    for member in subject.search.result["front"]:
        low, high, test = map(member.get, ("val_perplexity_low", "val_perplexity_high", "test_perplexity"))
        interval = "" if low is None or high is None else f"{rounded(low)} to {rounded(high)}"
        cells, val = member_cells(member), rounded(member["val_perplexity"])
        means = val, interval, "" if test is None else rounded(test)
        rows.append((*(cells[name] for name in first), *means, cells["run_ids"]))
    heads = (*(MEMBER_COLUMNS[name].head for name in first), "validation", "95 % interval", "test", "seeds")
    caption = "The front: means over seeds, and the interval in which one more training is expected, with another seed"
    picks = Points([(", ".join(f"@{each}" for each in names), why) for names, why in pick_sentences(subject.picks)])
    beside = "The picks, your own best training at that time, and the n-gram model; each also with the n-grams mixed in"
    return [picks, Table(beside, RIVAL_HEADS, picks_and_rivals(subject.compared)), Table(caption, heads, rows)]


def _options(subject: Subject, best: RecordedTraining) -> list[tuple[str, str]]:
    """The options by name; those of a search's trials are in runs.csv."""
    if subject.search:
        hidden = ("corpus", "storage", "space")  # may name folders of this machine
        return [(name, value) for name, value in subject.search.options.items() if name not in hidden]
    configuration = best.configuration
    options = {**configuration["corpus"], **configuration["model"], **configuration["train"]}
    options["corpus"] = text_option(best)  # without the folder
    return [(name, str(value)) for name, value in options.items() if value is not None]


def _environment(subject: Subject, best: RecordedTraining) -> list[tuple[str, str]]:
    """The text, run, commit, machine and package versions of the training or search."""
    run_id = subject.search.id if subject.search else best.id
    recorded = read_environment(run_id)
    packages: Mapping[str, Any] = recorded.pop("packages", {})
    shown = {
        "text": f"{best.corpus}, sha256 {best.corpus_sha256}",
        "run": run_id,
        "commit": best.tag("git.commit"),
        **{name.replace("_", " "): str(value) for name, value in recorded.items()},
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }
    return [(name, value) for name, value in shown.items() if value]


def _commands(subject: Subject, groups: Sequence[Group]) -> list[str]:
    """The commands that repeat a search, several trainings, or the best training of each group."""
    runs = subject.models or [group.best for group in groups]
    commits = {run.tag("git.commit") for run in runs}
    checkout = [f"git checkout {commit}" for commit in commits if commit and len(commits) == 1]
    if subject.search:
        return [*checkout, search_command(subject.search, groups[0].best)]
    if subject.models and len(commits - {""}) > 1:
        return [line for run in runs for line in (f"git checkout {run.tag('git.commit')}", train_command(run))]
    return [*checkout, *map(train_command, runs)]
