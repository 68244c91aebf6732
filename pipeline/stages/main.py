"""The stage ``main``, the main job: prepare a text, train a model on it, evaluate it, sample from it, make its page.

Read this file first: it has the whole pipeline in order. Each step is defined in the file of its name in this room. All
but the page, which the training's run has, are nested runs of the main job; results for the same inputs are reused.
"""

import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from models.config import DEFAULT_LENGTH, Decoding, ModelConfig
from pipeline.config import TrainConfig
from pipeline.pages.page import record_page
from pipeline.results import EVALUATE, PIPELINE, SAMPLE, MainResult
from pipeline.stages.evaluate import evaluate
from pipeline.stages.prepare import prepare
from pipeline.stages.sample import sample
from pipeline.stages.sentences import pipeline_note
from pipeline.stages.train import ALONE, TrainingContext, run_name, train
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts, names, queries, recorded, runs
from pipeline.tracking.step import Step
from pipeline.tracking.text_identity import corpus_tags, record_datasets
from pipeline.tracking.ui.links import link_within
from pipeline.training.metrics import TRAIN_CURVE, VAL_CURVE, final_metrics
from pipeline.training.samples import TEMPERATURE, prompts_for


@dataclass(frozen=True)
class PipelineRun:
    """A finished main job: its steps but the page, the duration of each in seconds, and the flat result."""

    steps: list[Step[Any]]
    seconds: list[float]
    page: str  # its path or address, "" if it could not be made
    result: MainResult = field(repr=False)


def pipeline(
    corpus: Corpus, model: ModelConfig, config: TrainConfig, force: bool = False, context: TrainingContext = ALONE
) -> PipelineRun:
    """Run the steps in one parent run; with ``force``, without reusing earlier results."""
    reuse = not force
    with runs.tracked_run(PIPELINE, f"{PIPELINE}-{run_name(corpus, model, config)}", corpus_tags(corpus)) as run:
        record_datasets(run, corpus, config.preset)

        times = [time.perf_counter()]
        prepared = prepare(corpus, config.preset, reuse)
        times.append(time.perf_counter())
        trained = train(corpus, model, config, reuse, context)
        times.append(time.perf_counter())
        earlier = {} if trained.result["checkpoint"] else _recorded_steps(trained.run_id)
        evaluated = earlier.get(EVALUATE) or evaluate(trained.run_id, "test", reuse=reuse, scored=trained.result)
        times.append(time.perf_counter())
        prompts, decoding = prompts_for(corpus.vocabulary, corpus.own_prompt), Decoding(temperature=TEMPERATURE)
        sampled = earlier.get(SAMPLE) or sample(trained.run_id, prompts, DEFAULT_LENGTH, decoding, reuse)
        times.append(time.perf_counter())
        page = record_page(trained.run_id)

        steps: list[Step[Any]] = [prepared, trained, evaluated, sampled]
        result: MainResult = {
            **trained.result,
            "run_id": run.id,
            "trained_run": trained.run_id,
            "perplexity": evaluated.result["perplexity"],
            "bits_per_char": evaluated.result["bits_per_char"],
            "texts": sampled.result["texts"],
            "reused": [step.stage for step in steps if step.reused],
            "fallback": corpus.is_fallback,
        }

        # the training's curves and metrics, which the UI shows, and links to the steps
        training = recorded.run_of(trained.run_id)
        for name in (TRAIN_CURVE, VAL_CURVE):
            run.curve(name, training.curve(name))
        run.constants(final_metrics(result))
        run.tags({"trained_run": trained.run_id, **{f"{names.STEP}{step.stage}": step.run_id for step in steps}})
        run.json(artifacts.RESULT_FILE, result)
        links = {step.stage: (step.run_id, link_within(step.run_id), step.reused) for step in steps}
        run.describe(pipeline_note(links, result))
    return PipelineRun(steps, [end - start for start, end in pairwise(times)], page, result)


def _recorded_steps(training: str) -> dict[str, Step[Any]]:
    """The evaluation and sample of a training whose weights were deleted, from its last main job."""
    job = queries.latest(queries.FINISHED, queries.has_tag("stage", PIPELINE), queries.has_tag("trained_run", training))
    ids = {stage: job.tag(f"{names.STEP}{stage}") for stage in (EVALUATE, SAMPLE)} if job else {}
    steps = (Step(stage, id, artifacts.read_result(id, stage), reused=True) for stage, id in ids.items())
    return {step.stage: step for step in steps if step.result}
