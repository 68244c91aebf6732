"""The stage ``search``: run the trials, confirm the picks of their front, and register them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import inf, log10
from typing import Any, cast

from threadpoolctl import threadpool_limits

from models.complexity import ngram_macs_per_char
from models.ngram import compared_label
from pipeline.config import SHAPES, SearchConfig, costs_of
from pipeline.errors import InputError, without_secrets
from pipeline.pages.drawing import cell_style
from pipeline.pages.page import record_page
from pipeline.results import PERPLEXITIES, SEARCH, TRAIN, PickResult, Rival, SearchResult, pick_sentences
from pipeline.search import pictures
from pipeline.search.front import FrontEstimate, FrontPoint, Pick, evaluate_front, hypervolume_by_trial, picks
from pipeline.search.sentences import SearchRun, remarks, search_note
from pipeline.search.study import attributes
from pipeline.search.study.protocol import check_store, with_study_name
from pipeline.search.study.space import Space
from pipeline.search.study.storage import storage_errors, storage_url, study_lock, with_storage
from pipeline.search.study.trials import Proposal, SearchStudy
from pipeline.stages.sweep import Role, Shares, Sweep, TrainingTask, models_of, sweep, train_in_processes
from pipeline.support.markdown import plain
from pipeline.support.pareto import hypervolume
from pipeline.support.signals import defer_signals
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import LossCause, MakePool
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import baselines_of, fitted_ngrams, pruned_scores
from pipeline.tracking import artifacts, queries, recorded, references, store
from pipeline.tracking.names import COLOUR
from pipeline.tracking.registry import check_aliases, register_picks
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import leave_out_repeats
from pipeline.tracking.text_identity import corpus_options
from pipeline.tracking.ui import views
from pipeline.tracking.ui.links import link_to_search, link_within, recorded_link
from pipeline.training.memory import worker_count
from pipeline.training.metrics import macs_metrics
from pipeline.training.samples import sample_command
from pipeline.training.timing import CHARS, generation_ms_per_char

YOURS = "yours so far"  # label of your own best training among the picks of a search and their rivals


def check(config: SearchConfig) -> None:
    """Raise InputError for a storage or a space that is not possible, before the text is loaded."""
    Space.of(with_storage(config))


def search(
    corpus: Corpus,
    config: SearchConfig,
    quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
    clock: Callable[[], float] = time.monotonic,
    timed_chars: int = CHARS,
) -> SearchRun:
    """Search the space, confirm the picks of the Pareto front and register them.

    ``quick`` searches in a study of its own, quick-LABEL. ``say`` is called with messages for the user. Raises
    InputError for a search that is not possible with these options.
    """
    config = with_storage(config)
    space = Space.of(config)
    config = with_study_name(config, corpus, quick, say)
    with sweep(config.study_name, corpus, study_lock(config), clock) as this, storage_errors(config):
        check_aliases(config.study_name, corpus.corpus_sha256)
        study = SearchStudy(config, space, corpus)
        this.study_id = attributes.of_study(study.study)[attributes.IDENTITY]
        run = _begin(this, study, _earlier_run(study, say))
        this.start_workers(worker_count(config.workers, study.problem.largest_bytes), make_pool)
        say(f"{_announcement(study)}; {link_to_search(run.id)}")
        run.params({"max_perplexity": f"{study.problem.max_perplexity:.4g}"})

        def trials() -> Iterator[TrainingTask | None]:
            """Ask for trials until enough are complete, time is up, or the sampler has nothing new to propose."""
            while not study.is_exhausted and this.seconds < 60 * config.minutes_limit:
                proposal = study.ask(this.pool.running if this.pool else 0)
                yield None if proposal is None else _task(this, "trial", proposal)

        def count_loss(trial: TrainingTask, cause: LossCause) -> bool:
            return study.count_loss(trial.number, cause)  # for later commands, too

        # the sampler's matrices are small: more threads would only spin
        with _requeued(study), threadpool_limits(1, user_api="blas"):
            progress = _Progress(this, study)
            for trial, outcome in this.trained(trials(), progress.show, count_loss):
                study.tell(trial.number, outcome)
                progress.update()
            if study.is_exhausted:
                say(f"--sampler {config.sampler} has nothing new to propose: the whole space has been searched")
            # one round is not enough: a configuration that was lucky with one seed is no pick any more, another is
            while confirmations := [_task(this, "confirmation", proposal) for proposal in _unconfirmed(study)]:
                for trial, outcome in this.train_all(confirmations, phase="confirming the picks"):
                    study.tell_confirmation(trial.number, trial.train.seed, outcome)
            this.bar.phase("timing the front")
            evaluated = _timed_front(study, timed_chars)
        seconds = this.stop_workers("recording the result")
        progress.update()
        done = _conclude(run, study, evaluated, seconds)
    page = record_page(done.run_id) if done.picks else ""  # of the run that has ended now
    return replace(done, page=page)


def _earlier_run(study: SearchStudy, say: Callable[[str], None]) -> recorded.RecordedRun | None:
    """The run that an earlier command began for the study, whose running trials are requeued: no command trains them.

    Raises InputError if the study has its runs in another store, or if its run was deleted or is still running.
    """
    config = study.config
    check_store(study.study, config, store.identity(), recorded.find_run)
    parent = attributes.of_study(study.study).get(attributes.PARENT)
    earlier = recorded.ended_run(parent) if parent else None
    if parent and not earlier:
        raise InputError(
            f"the run of study {config.study_name} was deleted: delete its trials, too, with `tmlm delete "
            f"{config.study_name}`, or give another --study-name"
        )
    if not parent and (unread := queries.unread_runs()):
        say(f"{unread}.")
    if left := study.requeue_running("shared"):  # no other command is running, or its run would be
        say(f"Resuming trials whose process died: {', '.join(map(str, left))}")
    return earlier


def _begin(this: Sweep, study: SearchStudy, earlier: recorded.RecordedRun | None) -> TrackedRun:
    """Start the run of a study, or reopen ``earlier``; record the options, and in the study which run it has."""
    config = study.config
    name = config.study_name if config.study_name.startswith("search") else f"search-{config.study_name}"
    run = this.begin(SEARCH, name, {"study": config.study_name}, earlier)
    attributes.set_of_study(study.study, attributes.PARENT, run.id)
    view = views.search(config.study_name, study.corpus.label, run.id)
    store.tag_experiment(run.store.experiment_id, dict([view.tag]))
    latest = {option: getattr(config, option) for option in recorded.LATEST_OPTIONS}
    run.tags({f"latest.{option}": "auto" if value is None else value for option, value in latest.items()})
    run.yaml("space.yaml", study.space.as_texts())
    study.study.set_user_attr(attributes.MLFLOW_RUN, recorded_link(run.id))
    options = asdict(replace(config, storage=without_secrets(config.storage)))
    this.record({**corpus_options(this.corpus), **options}, config.preset)
    return run


def _task(this: Sweep, role: Role, proposal: Proposal) -> TrainingTask:
    number, model, train = proposal
    return this.task(role, number, model, train, trial=str(number), **{COLOUR: cell_style(model.cell).colour})


def _announcement(study: SearchStudy) -> str:
    """What follows, and in which study it is recorded."""
    config, complete = study.config, len(study.results.complete())
    what = counted(max(0, config.trials - complete), "trial") if config.trials else "Trials"
    done = f" ({complete} are done)" if complete else ""
    within = f" that start within {config.minutes_limit:g} min" if config.minutes_limit < inf else ""
    then = ", then the confirmations of their picks" if config.confirm_seeds > 1 else ""
    return f"{what}{within}{done}{then}\nStudy {config.study_name} in {store.shown(storage_url(config))}"


@contextmanager
def _requeued(study: SearchStudy) -> Iterator[None]:
    """Requeue the running trials if the block is stopped."""
    try:
        yield
    except BaseException:
        with defer_signals():  # before the pool closes, which may take all of the time left to stop
            study.requeue_running()
        raise


@dataclass
class _Progress:
    """The progress of the trials; ``done`` are complete."""

    sweep: Sweep
    study: SearchStudy
    done: int = 0

    def __post_init__(self) -> None:
        self.sweep.bar.phase()
        self.update()

    def show(self, shares: Shares) -> None:
        """Show the share of the trials, or of the time, that is done."""
        share = self.sweep.seconds / (60 * self.study.config.minutes_limit)
        if share < 1:
            self.sweep.bar.show(max(share, self.done / self.study.trials))
        else:
            self.sweep.bar.phase("the last trials")

    def update(self) -> None:
        """Show the progress so far, and record it after each trial, for the curves on the run's page."""
        before, values = self.done, [trial.values for trial in self.study.results.complete()]
        self.done, trials = len(values), self.study.config.trials
        best = min((perplexity for perplexity, _ in values), default=None)
        done = f"{self.done}/{trials}" if trials else f"{self.done}"
        self.sweep.bar.show_values(trials=done, **({} if best is None else {"best": f"{best:.2f}"}))
        if best is None or self.done == before:
            return
        problem = self.study.problem
        corner = log10(problem.largest_cost), problem.max_perplexity
        area = hypervolume([(log10_cost, value) for value, log10_cost in values], corner)
        self.sweep.run.metrics({"progress/best_val_perplexity": best, "progress/hypervolume": area}, step=self.done)


def _evaluated(study: SearchStudy, ms_per_char: Mapping[str, float]) -> FrontEstimate:
    candidates = study.results.candidates(ms_per_char)
    reference = study.problem.reference(candidate.mean_val_perplexity for candidate in candidates)
    return evaluate_front(candidates, reference, study.config.cost)


def _unconfirmed(study: SearchStudy) -> list[Proposal]:
    """The trainings that the picks of what is trained so far lack."""
    return study.missing_confirmations([pick.point.candidate for pick in picks(_evaluated(study, {})).values()])


def _timed_front(study: SearchStudy, chars: int) -> FrontEstimate:
    """The front, with the times in which its models generate a character, by so many."""
    front = _evaluated(study, {}).front
    loads = models_of(run_id for point in front for run_id in point.candidate.run_ids if run_id)
    times = generation_ms_per_char(list(loads.values()), chars=chars)
    return _evaluated(study, dict(zip(loads, times, strict=True)))


def _conclude(run: TrackedRun, study: SearchStudy, evaluated: FrontEstimate, seconds: float) -> SearchRun:
    """Register the picks; record the pictures, the metrics, the result and the note."""
    config, corpus = study.config, study.corpus
    leave_out_repeats(run.id, {run_id for candidate in study.results.candidates() for run_id in candidate.run_ids})
    chosen, counts = picks(evaluated), study.results.counts()

    picked = {name: PickResult(run_id=pick.run_id, sentence=pick.sentence) for name, pick in chosen.items()}
    runs_of = {name: (chosen[name].run_id, why) for names, why in pick_sentences(picked) for name in names}
    registered = register_picks(runs_of, config.study_name, corpus.label)

    compared = _compared(study, chosen)
    for name, png in _pictures(study, evaluated, chosen, compared).items():
        run.picture(f"plots/{name}.png", png, "" if name == "pareto" else "summary")  # the page has the front

    result: SearchResult = {
        "run_id": run.id,
        "study_name": config.study_name,
        "storage": store.shown(storage_url(config)),
        "sampler": config.sampler,
        "cost": config.cost,
        "corpus": corpus.label,
        "corpus_sha256": corpus.corpus_sha256,
        **counts,  # type: ignore[typeddict-item]  # by the names of SearchResult
        "minutes": seconds / 60,
        "hypervolume": evaluated.hypervolume,
        "max_perplexity": study.problem.max_perplexity,
        "front": [point.member for point in evaluated.front],
        "picks": {name: {**pick, "aliases": [registered[name]]} for name, pick in picked.items()},
        "compared": compared,
    }
    metrics = {f"search/{name}": float(count) for name, count in counts.items()}
    metrics["search/hypervolume"] = evaluated.hypervolume
    sample = command = ""  # a text of the best model
    if chosen:
        best = chosen["best"].point
        sizes = best.candidate.sizes
        metrics |= {"result/val_perplexity": best.val.mean, "size/parameters": float(sizes["parameters"])}
        metrics |= {"result/test_perplexity": best.test.mean} if best.test else {}
        metrics |= macs_metrics(sizes["macs_per_char"])
        registered_run = recorded.run_of(chosen["best"].run_id)
        texts: list[str] = artifacts.read_result(registered_run.id, TRAIN).get("texts", [])
        sample = texts[-1] if texts else ""  # the longest
        command = sample_command(f"@{registered['best']}", int(registered_run.params["seed"]))
    run.constants(metrics)
    run.tags({"latest.trials": counts["trials"]})
    run.json(artifacts.RESULT_FILE, result)

    def linked(point: FrontPoint) -> str:
        return f"[{plain(point.candidate.name)}]({link_within(point.candidate.run_id)})"

    done = SearchRun(run.id, config, evaluated, chosen, registered, counts, remarks(study, evaluated), result)
    where = f"{measured_duration(seconds)} Pictures: `plots/` among the artifacts."
    run.describe(f"{search_note(done, linked, sample, command)}\n\n{where}")
    return done


def _compared(study: SearchStudy, chosen: Mapping[str, Pick]) -> list[Rival]:
    """The picks, your own best training on this text and the n-gram model, each also mixed with that model."""
    rows: list[dict[str, Any]] = []
    for run_id in dict.fromkeys(pick.run_id for pick in chosen.values()):
        names = [name for name, pick in chosen.items() if pick.run_id == run_id]
        candidate, label = chosen[names[0]].point.candidate, ", ".join(names)
        results = [artifacts.read_result(each, TRAIN) for each in candidate.run_ids]
        row = {"label": label, "kind": "pick", "name": candidate.name, "run_id": run_id}
        rows.append({**row, **costs_of(candidate.sizes), **_means(results)})

    of_text = queries.has_tag("corpus.sha256", study.corpus.corpus_sha256)
    of_protocol = queries.has_tag("protocol", study.config.preset)
    yours = queries.FINISHED, references.BY_A_PERSON, of_text, of_protocol
    best = next(queries.trainings(*yours, order=queries.BEST_FIRST), None)
    if best and best.result:
        row = {"label": YOURS, "kind": "yours", "name": best.name, "run_id": best.id}
        rows.append({**row, **costs_of(best.result), **_means([best.result])})

    scores, ngrams = baselines_of(study.corpus, study.config.preset), fitted_ngrams(study.corpus, study.config.preset)
    score = scores["val"].ngram
    row = {"label": "", "kind": "ngram", "name": compared_label(score.order), "run_id": ""}
    sizes = {
        "macs_per_char": ngram_macs_per_char(ngrams),
        "parameters": sum(parameter.numel() for parameter in ngrams.parameters()),
        "stored_numbers": score.stored_numbers,
    }
    own = {f"{split}_perplexity": 2 ** scores[split].ngram.bits_per_char for split in ("val", "test")}
    return cast(list[Rival], [*rows, {**row, **costs_of(sizes), **dict.fromkeys(PERPLEXITIES), **own}])


def _pictures(
    study: SearchStudy, evaluated: FrontEstimate, chosen: Mapping[str, Pick], compared: Sequence[Rival]
) -> dict[str, bytes]:
    """The pictures of the search as PNGs, by name."""
    trials = study.results.plotted_trials()
    about = f"{study.config.study_name} on {study.corpus.label}"
    baselines = baselines_of(study.corpus, study.config.preset)["val"]
    baselines = replace(baselines, pruned=pruned_scores(study.corpus, study.config.preset))
    areas = hypervolume_by_trial(trials, evaluated.reference)
    shape = SHAPES[study.config.preset]
    default = f"{shape['cell']} {shape['num_layers']}x{shape['hidden_size']}"
    return {
        "pareto": pictures.pareto_front(trials, evaluated, chosen, baselines, about, compared, default),
        "hypervolume": pictures.hypervolume_history(areas, evaluated, f"hypervolume of the front: {about}"),
        "importance": pictures.parameter_importance(study.results.importances(), f"parameter importance: {about}"),
        "time": pictures.perplexity_against_time(evaluated, chosen, f"time to generate a character: {about}"),
    }


def _means(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean perplexities of the trainings of one configuration; None if a result is gone, as after ``mlflow gc``."""
    are_there = all(results)
    return {name: geometric_mean([result[name] for result in results]) if are_there else None for name in PERPLEXITIES}
