"""The stage ``search``: run the trials, confirm the picks of their front, and register them.

The function that makes the pool of workers is a parameter of ``search``, so that a test can train in its own process.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, log10
from typing import Any

from threadpoolctl import threadpool_limits

from models.complexity import ngram_macs_per_char
from models.ngram import compared_label
from pipeline.config import SHAPES, CorpusConfig, SearchConfig, costs_of
from pipeline.errors import InputError, without_secrets
from pipeline.search import figures
from pipeline.search.front import FrontEstimate, FrontPoint, Pick, evaluate_front, hypervolume_by_trial, picks
from pipeline.search.study import attributes
from pipeline.search.study.protocol import check_store, with_study_name
from pipeline.search.study.space import Space
from pipeline.search.study.storage import storage_errors, storage_url, study_lock, with_storage
from pipeline.search.study.trials import Proposal, SearchStudy
from pipeline.search.summary import SearchRun, search_note
from pipeline.stages.page import record_page
from pipeline.stages.sweep import Sweep, models_of
from pipeline.stages.tasks import Role, TaskKey, TrainingTask, train_in_processes
from pipeline.support.drawing import cell_style
from pipeline.support.markdown import plain
from pipeline.support.pareto import hypervolume
from pipeline.support.signals import defer_signals
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import LossCause, MakePool, Outcome
from pipeline.tracking import recorded, references, store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.registry import check_aliases, register_picks
from pipeline.tracking.step import corpus_options, corpus_tags, leave_out_repeats, parent_run, text_to_train
from pipeline.tracking.ui import views
from pipeline.tracking.ui.links import link_to_search, recorded_link
from pipeline.training.memory import worker_count
from pipeline.training.metrics import macs_metrics
from pipeline.training.result import PERPLEXITIES
from pipeline.training.summary import YOURS
from pipeline.training.timing import generation_ms_per_char

PATIENCE = 10  # trials without a better one, after which the summary says so


def search(
    config: SearchConfig,
    corpus_config: CorpusConfig,
    quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
) -> SearchRun:
    """Search the space, confirm the picks of the Pareto front and register them.

    ``quick`` searches in a study of its own, quick-LABEL. ``say`` is called with messages for the user. Raises
    InputError for a search that is not possible with these options.
    """
    config = with_storage(config)
    space = Space.of(config)
    corpus = text_to_train(corpus_config, "search")
    config = with_study_name(config, corpus, quick, say)
    with study_lock(config), storage_errors(config):
        close_the_dead()
        check_aliases(config.study_name, corpus.corpus_sha256)
        study = SearchStudy(config, space, corpus)
        check_store(study.study, config, store.identity(), recorded.find_run)
        parent = attributes.of_study(study.study).get(attributes.PARENT)
        earlier = recorded.ended_run(parent) if parent else None
        if parent and not earlier:
            raise InputError(
                f"the run of study {config.study_name} was deleted: delete its trials, too, with `tmlm delete "
                f"{config.study_name}`, or give another --study-name"
            )
        if not parent and (unread := recorded.unread_runs()):
            say(f"{unread}.")
        if left := study.requeue_running("shared"):  # no other command is running, or its run would be
            say(f"Resuming trials whose process died: {', '.join(map(str, left))}")
        name = config.study_name if config.study_name.startswith("search") else f"search-{config.study_name}"
        tags = {**corpus_tags(corpus), "study": config.study_name}
        with parent_run("search", name, tags, earlier) as run, storage_errors(config):
            attributes.set_of_study(study.study, attributes.PARENT, run.id)
            view = views.search(config.study_name, corpus.label, run.id)
            store.tag_experiment(run.store.experiment_id, dict([view.tag]))
            latest = {option: getattr(config, option) for option in recorded.LATEST_OPTIONS}
            run.tags({f"latest.{option}": "auto" if value is None else value for option, value in latest.items()})
            run.yaml("space.yaml", space.as_texts())
            study.study.set_user_attr(attributes.MLFLOW_RUN, recorded_link(run.id))
            shown = replace(config, storage=without_secrets(config.storage))
            options = {**corpus_options(corpus_config, corpus), **asdict(shown)}
            sweep = _SearchSweep(config.study_name, corpus, corpus_config, config.preset, options, say, study)
            done = sweep.run_all(run, worker_count(config.workers, study.largest_bytes), make_pool)
        if done.picks:
            record_page(done.run_id)  # which has ended now
        return done


@dataclass
class _SearchSweep(Sweep[SearchRun]):
    """The trials of a search, the confirmations of their picks, and the conclusion."""

    search: SearchStudy

    last_phase = "recording the result"

    def __post_init__(self) -> None:
        self.config, self.results = self.search.config, self.search.results
        self.study_id = attributes.of_study(self.search.study)[attributes.IDENTITY]
        self.evaluated: FrontEstimate
        self._done = 0  # complete trials

    def train(self) -> None:
        """Run the trials, and confirm their picks."""
        self._announce()
        self.run.params({"max_perplexity": f"{self.search.max_perplexity:.4g}"})
        with threadpool_limits(1, user_api="blas"):  # the sampler's matrices are small: more threads would only spin
            try:
                self._train_trials()
                self._confirm()
            except BaseException:
                with defer_signals():  # before the pool closes, which may take all of the time left to stop
                    self.search.requeue_running()
                raise

    def _announce(self) -> None:
        """Tell the user what follows, and where it is recorded."""
        config, complete = self.config, len(self.results.complete())
        what = counted(max(0, config.trials - complete), "trial") if config.trials else "Trials"
        done = f" ({complete} are done)" if complete else ""
        within = f" that start within {config.minutes_limit:g} min" if config.minutes_limit < inf else ""
        then = ", then the confirmations of their picks" if config.confirm_seeds > 1 else ""
        where = f"Study {config.study_name} in {store.shown(storage_url(config))}; {link_to_search(self.run.id)}"
        self.say(f"{what}{within}{done}{then}\n{where}")

    def _task(self, role: Role, proposal: Proposal) -> TrainingTask:
        colour = cell_style(proposal.model.cell).colour
        return self.task(role, *proposal, {"trial": str(proposal.number), "mlflow.runColor": colour})

    def _train_trials(self) -> None:
        """Train until enough trials are complete, time is up, or the sampler has nothing new to propose."""
        search, limit = self.search, 60 * self.config.minutes_limit

        def next_task() -> TrainingTask | None:
            if search.is_exhausted or time.monotonic() - self.began >= limit:
                return None
            proposal = search.ask(self.pool.running)
            return None if proposal is None else self._task("trial", proposal)

        def show(shares: Mapping[TaskKey, float]) -> None:
            share = (time.monotonic() - self.began) / limit
            if share < 1:
                self.bar.show(max(share, self._done / search.trials))
            else:
                self.bar.phase("the last trials")

        self.bar.phase()
        self._show()
        self.run_tasks(next_task, show)
        if search.is_exhausted:
            self.say(f"--sampler {self.config.sampler} has nothing new to propose: the whole space has been searched")

    def record_outcome(self, task: TrainingTask, outcome: Outcome) -> None:
        """Pass the outcome of a training to the study."""
        if task.role == "confirmation":
            self.search.tell_confirmation(task.number, task.train.seed, outcome)
            return
        self.search.tell(task.number, outcome)
        self._show()

    def count_loss(self, task: TrainingTask, cause: LossCause) -> bool:
        """Count the losses of a trial in the study, for later commands."""
        if task.role == "trial":
            return self.search.count_loss(task.number, cause)
        return super().count_loss(task, cause)

    def _show(self) -> None:
        """Show the progress so far, and record it after each trial, for the curves on the run's page."""
        before, values = self._done, [trial.values for trial in self.results.complete()]
        self._done = len(values)
        best = min((perplexity for perplexity, _ in values), default=None)
        done = f"{self._done}/{self.config.trials}" if self.config.trials else f"{self._done}"
        self.bar.figures(trials=done, **({} if best is None else {"best": f"{best:.2f}"}))
        if best is None or self._done == before:
            return
        corner = log10(self.search.largest_cost), self.search.max_perplexity
        area = hypervolume([(log10_cost, value) for value, log10_cost in values], corner)
        self.run.metrics({"progress/best_val_perplexity": best, "progress/hypervolume": area}, step=self._done)

    def _confirm(self) -> None:
        """Train the picks with more seeds until every pick, by its mean, has enough; time the front's models.

        One round is not enough: a configuration that was lucky with one seed is no pick any more, and another is.
        """
        while True:
            evaluated = self._evaluate({})
            lacking = self.search.missing_confirmations([pick.point.candidate for pick in picks(evaluated).values()])
            if not lacking:
                break
            self.train_all([self._task("confirmation", proposal) for proposal in lacking], phase="confirming the picks")
        self.bar.phase("timing the front")
        loads = models_of(run_id for point in evaluated.front for run_id in point.candidate.run_ids if run_id)
        times = generation_ms_per_char(list(loads.values()))
        self.evaluated = self._evaluate(dict(zip(loads, times, strict=True)))

    def _evaluate(self, ms_per_char: Mapping[str, float]) -> FrontEstimate:
        candidates = self.results.candidates(ms_per_char)
        reference = self.search.reference(each.mean_val_perplexity for each in candidates)
        return evaluate_front(candidates, reference, self.config.cost)

    def conclude(self, seconds: float) -> SearchRun:
        """Register the picks; record the pictures, the metrics, the result and the note."""
        self._show()
        config, corpus, evaluated = self.config, self.corpus, self.evaluated
        leave_out_repeats(self.run.id, {run_id for each in self.results.candidates() for run_id in each.run_ids})
        chosen, counts = picks(evaluated), self.results.counts()

        sentences: dict[str, str] = {}  # by run id: a model that is several picks has the sentences of all of them
        for pick in chosen.values():
            sentences[pick.run_id] = f"{sentences.get(pick.run_id, '')} {pick.sentence}".strip()
        runs_of = {name: (pick.run_id, sentences[pick.run_id]) for name, pick in chosen.items()}
        registered = register_picks(runs_of, config.study_name, corpus.label)

        compared = self._compared(chosen)
        for name, png in self._pictures(chosen, compared).items():
            section = "front" if name == "pareto" else "summary"  # sorted before the metrics, and after them
            self.run.picture(f"plots/{name}.png", png, section)

        result = {
            "run_id": self.run.id,
            "study_name": config.study_name,
            "storage": store.shown(storage_url(config)),
            "sampler": config.sampler,
            "cost": config.cost,
            "corpus": corpus.label,
            "corpus_sha256": corpus.corpus_sha256,
            **counts,
            "minutes": seconds / 60,
            "hypervolume": evaluated.hypervolume,
            "max_perplexity": self.search.max_perplexity,
            "front": [_row(point) for point in evaluated.front],
            "picks": {
                name: {"run_id": pick.run_id, "sentence": pick.sentence, "aliases": [registered[name]]}
                for name, pick in chosen.items()
            },
            "compared": compared,
        }
        metrics = {f"search/{name}": float(count) for name, count in counts.items()}
        metrics["search/hypervolume"] = evaluated.hypervolume
        sample = ""  # the longest text of the best model
        if chosen:
            best = chosen["best"].point
            metrics |= {"result/val_perplexity": best.val.mean, "size/parameters": float(best.candidate.parameters)}
            metrics |= {"result/test_perplexity": best.test.mean} if best.test else {}
            metrics |= macs_metrics(best.candidate.costs["macs_per_char"])
            texts: list[str] = recorded.read_result(best.candidate.run_id, "train").get("texts", [])
            sample = max(texts, key=len, default="")
        self.run.constants(metrics)
        self.run.tags({"latest.trials": counts["trials"]})
        self.run.json(recorded.RESULT_FILE, result)

        def linked(point: FrontPoint) -> str:
            run = f"#/experiments/{self.run.store.experiment_id}/runs/{point.candidate.run_id}"
            return f"[{plain(point.candidate.name)}]({run}?workflowType=machine_learning)"

        done = SearchRun(self.run.id, config, evaluated, chosen, registered, counts, self._remarks(), result)
        where = f"{measured_duration(seconds)} Pictures: `plots/` among the artifacts."
        self.run.note(f"{search_note(done, linked, sample)}\n\n{where}")
        return done

    def _remarks(self) -> list[str]:
        """Sentences about the search as a whole: its limit of perplexity, and whether it still gets better."""
        remarks, areas = [], hypervolume_by_trial(self.results.plotted_trials(), self.evaluated.reference)
        if self.evaluated.reference[0] > self.search.max_perplexity:
            limit = "--max-perplexity" if self.config.max_perplexity else "the 3-gram's"
            reached = f"perplexity {self.search.max_perplexity:.3g} ({limit})"
            remarks.append(f"No configuration reaches {reached}, so this is the front of all.")
        ngram, front = self.corpus.baselines(self.config.preset)["val"].ngram, self.evaluated.front
        if front and min(point.val.mean for point in front) >= 2**ngram.bits_per_char:
            remarks.append(f"No configuration beats the n-gram model ({2**ngram.bits_per_char:.3f}).")
        if len(areas) > PATIENCE and areas[-1] == areas[-1 - PATIENCE]:
            remarks.append(f"The last {PATIENCE} trials have found nothing better.")
        return remarks

    def _compared(self, chosen: Mapping[str, Pick]) -> list[dict[str, Any]]:
        """The picks, your own best training on this text and the n-gram model, each also mixed with that model."""
        rows: list[dict[str, Any]] = []
        for run_id in dict.fromkeys(pick.run_id for pick in chosen.values()):
            names = [name for name, pick in chosen.items() if pick.run_id == run_id]
            candidate, label = chosen[names[0]].point.candidate, ", ".join(names)
            results = [recorded.read_result(each, "train") for each in candidate.run_ids]
            row = {"label": label, "kind": "pick", "name": candidate.name, "run_id": run_id}
            rows.append({**row, **candidate.costs, **_means(results)})

        of_text = recorded.has_tag("corpus.sha256", self.corpus.corpus_sha256)
        of_protocol = recorded.has_tag("protocol", self.config.preset)
        yours = recorded.FINISHED, references.BY_A_PERSON, of_text, of_protocol
        best = next(recorded.trainings(*yours, order=recorded.BEST_FIRST), None)
        if best and best.result:
            row = {"label": YOURS, "kind": "yours", "name": best.name, "run_id": best.id}
            rows.append({**row, **costs_of(best.result), **_means([best.result])})

        scores, ngrams = self.corpus.baselines(self.config.preset), self.corpus.ngram(self.config.preset)
        score = scores["val"].ngram
        row = {"label": "", "kind": "ngram", "name": compared_label(score.order), "run_id": ""}
        sizes = {
            "macs_per_char": ngram_macs_per_char(ngrams),
            "parameters": sum(each.numel() for each in ngrams.parameters()),
            "stored_numbers": score.stored_numbers,
        }
        own = {f"{split}_perplexity": 2 ** scores[split].ngram.bits_per_char for split in ("val", "test")}
        return [*rows, {**row, **costs_of(sizes), **dict.fromkeys(PERPLEXITIES), **own}]

    def _pictures(self, chosen: Mapping[str, Pick], compared: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
        """The pictures of the search as PNGs, by name."""
        evaluated, trials = self.evaluated, self.results.plotted_trials()
        about = f"{self.config.study_name} on {self.corpus.label}"
        baselines = self.corpus.baselines(self.config.preset)["val"]
        baselines = replace(baselines, pruned=self.corpus.pruned_ngrams(self.config.preset))
        areas = hypervolume_by_trial(trials, evaluated.reference)
        shape = SHAPES[self.config.preset]
        default = f"{shape['cell']} {shape['num_layers']}x{shape['hidden_size']}"
        return {
            "pareto": figures.pareto_front(trials, evaluated, chosen, baselines, about, compared, default),
            "hypervolume": figures.hypervolume_history(areas, evaluated, f"hypervolume of the front: {about}"),
            "importance": figures.parameter_importance(self.results.importances(), f"parameter importance: {about}"),
            "time": figures.perplexity_against_time(evaluated, chosen, f"time to generate a character: {about}"),
        }


def _means(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean perplexities of the trainings of one configuration; None if a result is gone, as after ``mlflow gc``."""
    are_there = all(results)
    return {name: geometric_mean([each[name] for each in results]) if are_there else None for name in PERPLEXITIES}


def _row(point: FrontPoint) -> dict[str, Any]:
    """A member of the front in the result."""
    shown = ("name", "cell", "num_layers", "hidden_size", "parameters")
    return {
        **{name: getattr(point.candidate, name) for name in shown},
        **point.candidate.costs,
        "val_perplexity": point.val.mean,
        "val_perplexity_low": point.val.low,
        "val_perplexity_high": point.val.high,
        "test_perplexity": point.test.mean if point.test else None,
        "run_ids": [run_id for run_id in point.candidate.run_ids if run_id],
    }
