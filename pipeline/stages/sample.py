"""The stage ``sample``: generate texts from prompts with a trained model."""

from collections.abc import Iterator
from dataclasses import asdict

from models.config import Decoding
from pipeline.results import SAMPLE, Sample
from pipeline.stages.evaluate import TrainedModel
from pipeline.tracking import artifacts, runs
from pipeline.tracking.step import Step, finished_step, step_key
from pipeline.training.samples import SampleText, continuation_in_pieces, continuations
from pipeline.training.sentences import samples_table


def sample(model: str, prompts: list[str], length: int, decoding: Decoding, reuse: bool = False) -> Step[Sample]:
    """Record the text that a trained model generates from each prompt. Raises InputError or ConfigError."""
    trained = TrainedModel.find(model)
    key = step_key(SAMPLE, {**trained.keys, "prompts": prompts, "length": length, "decoding": asdict(decoding)})
    if reuse and (step := finished_step(SAMPLE, key)):
        return step

    with runs.tracked_run(SAMPLE, f"{SAMPLE}-{trained.name}", {**trained.tags, "step_key": key}) as run:
        run.params(
            {"model": trained.run_id or model, "prompt": " | ".join(prompts), "length": length, **asdict(decoding)}
        )
        texts = continuations(trained.network, trained.vocabulary, prompts, length, decoding)
        pairs = zip(prompts, texts, strict=True)
        table = samples_table([SampleText(prompt, decoding.method, text) for prompt, text in pairs])
        run.text("samples/texts.md", table)
        run.describe(table)
        result: Sample = {"run_id": run.id, "trained_run": trained.run_id, "texts": texts}
        run.json(artifacts.RESULT_FILE, result)
    return Step(SAMPLE, run.id, result)


def write_texts(model: str, prompts: list[str] | None, length: int, decoding: Decoding) -> list[str]:
    """Generate a text from each prompt (None: from ``TrainedModel.prompt``). Nothing is recorded."""
    trained = TrainedModel.find(model)
    return continuations(trained.network, trained.vocabulary, prompts or [trained.prompt], length, decoding)


def stream(trained: TrainedModel, prompt: str | None, length: int, decoding: Decoding) -> Iterator[str]:
    """Yield the prompt (None: ``TrainedModel.prompt``), then each character as it is generated.

    Raises ConfigError, before the first piece, for a prompt or a length that is not allowed.
    """
    chosen = trained.prompt if prompt is None else prompt
    return continuation_in_pieces(trained.network, trained.vocabulary, chosen, length, decoding)
