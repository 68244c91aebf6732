"""The stages beside the training, each one tracked run: prepare, evaluate, sample; and the pipeline of all four."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from models.config import ModelConfig
from models.decoding import DEFAULT_LENGTH, Decoding
from pipeline.config import CorpusConfig, TrainConfig
from pipeline.stages.evaluate import evaluate
from pipeline.stages.prepare import prepare
from pipeline.stages.sample import sample
from pipeline.stages.train import run_name, train
from pipeline.text.corpus import load_corpus
from pipeline.tracking import records, runs
from pipeline.tracking.step import CURVES_PLOT, Step, corpus_options, corpus_tags, final_metrics, record_datasets
from pipeline.training.samples import prompts_for
from pipeline.training.summary import pipeline_note

# --- the pipeline ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PipelineRun:
    """The main job, done: its parent run, its steps with the seconds that each took, and the flat result."""

    steps: list[Step]
    seconds: list[float]
    result: dict[str, Any]


def pipeline(corpus_config: CorpusConfig, model: ModelConfig, config: TrainConfig, force: bool = False) -> PipelineRun:
    """Prepare, train, evaluate, sample: one parent run, with a run for each step that had to be done."""
    corpus = load_corpus(corpus_config)
    name = f"pipeline-{run_name(corpus, model, config)}"
    with runs.tracked_run("pipeline", name, corpus_tags(corpus)) as run:
        run.params({**corpus_options(corpus_config), **asdict(model), **asdict(config), "force": force})
        record_datasets(run, corpus, config.preset)
        steps: list[Step] = []
        seconds: list[float] = []

        def do(step: Callable[[], Step]) -> Step:
            started = time.perf_counter()
            steps.append(step())
            seconds.append(time.perf_counter() - started)
            return steps[-1]

        do(lambda: prepare(corpus, corpus_config, config.preset, reuse=not force))
        trained = do(lambda: train(corpus, corpus_config, model, config, reuse=not force))
        judged = do(lambda: evaluate(trained.run_id, "test", reuse=not force))
        prompts, decoding = prompts_for(corpus.vocabulary), Decoding(temperature=0.7)
        written = do(lambda: sample(trained.run_id, prompts, DEFAULT_LENGTH, decoding, reuse=not force))
        result = {
            **trained.result,
            "run_id": run.id,
            "trained_run": trained.run_id,
            "perplexity": judged.result["perplexity"],
            "bits_per_char": judged.result["bits_per_char"],
            "texts": written.result["texts"],
            "reused": [step.stage for step in steps if step.reused],
            "fallback": corpus.is_fallback,
        }
        run.metrics(final_metrics(result))
        run.tags({"trained_run": trained.run_id})
        run.json(records.RESULT_FILE, result)
        run.picture(CURVES_PLOT, records.artifact_path(trained.run_id, CURVES_PLOT).read_bytes())
        done = {step.stage: (step.run_id, step.reused) for step in steps}
        run.note(pipeline_note(run.store.experiment_id, done, result))
    return PipelineRun(steps, seconds, result)
