"""The model as MLflow serves it: prompts in, continued prompts out. MLflow runs this file as models from code.

The weights are one of our checkpoints (safetensors, verified by its digest); nothing is unpickled.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from inspect import currentframe
from pathlib import Path
from typing import Any

import pandas as pd

from models.decoding import DEFAULT_LENGTH, Decoding
from pipeline.errors import InputError
from pipeline.training.loading import load_model
from pipeline.training.samples import continuation_in_pieces, continuations

import mlflow
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc.model import PythonModel, PythonModelContext

LONGEST = 10_000  # characters of a prompt, and of its continuation
MANY = 1_000  # prompts per request
MOST = 200_000  # characters read, and characters generated, per request: the server answers one request at a time
WIDEST = 50_000_000  # numbers in memory at each step (prompts x beams x symbols or units)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors of invalid input into an MlflowException that is answered with status 400 and the reason."""
    try:
        yield
    except (ValueError, InputError) as error:
        raise mlflow.MlflowException(str(error), error_code=BAD_REQUEST) from error


def _requested_params() -> Mapping[str, Any]:
    """The params of a request before MLflow drops unknown ones: those of the PyFuncModel's method that calls ours."""
    frame = currentframe()
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), mlflow.pyfunc.PyFuncModel):
            if frame.f_code.co_name == "predict":
                return frame.f_locals["params"] or {}
            if frame.f_code.co_name == "_gen_with_context":  # in predict_stream: args are its data and params
                return frame.f_locals["args"][1] or {}
        frame = frame.f_back
    return {}


class TextGenerator(PythonModel):
    """Continues each prompt of a request; ``params`` are those of the signature.

    MLflow converts a request to strings first: a JSON null arrives as "None", a number as its digits. Only the first of
    several columns is read.
    """

    def load_context(self, context: PythonModelContext) -> None:
        self.language_model, self.vocabulary, _ = load_model(Path(context.artifacts["checkpoint"]))

    # if model_input were annotated as list[str], MLflow would infer a signature, without params
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[str]:
        """One column of prompts -> the prompts, continued. Raises MlflowException (400) for invalid input."""
        prompts = model_input.iloc[:, 0].tolist()
        with _refusals():
            length, decoding = self._checked(prompts, params or {})
            return continuations(self.language_model, self.vocabulary, prompts, length, decoding)

    def predict_stream(
        self, context: PythonModelContext, model_input: str, params: dict[str, Any] | None = None
    ) -> Iterator[str]:
        """One prompt -> the prompt, then each character as it is generated. Raises as ``predict`` does."""
        with _refusals():
            length, decoding = self._checked([model_input], params or {})
            yield from continuation_in_pieces(self.language_model, self.vocabulary, model_input, length, decoding)

    def _checked(self, prompts: list[Any], params: Mapping[str, Any]) -> tuple[int, Decoding]:
        """The requested length and decoding. Raises ValueError for a request that is not valid, or too much work."""
        known = ["length", *(field.name for field in fields(Decoding))]
        if unknown := {**_requested_params(), **params}.keys() - known:
            raise ValueError(f"{', '.join(sorted(unknown))} is no parameter; there are {', '.join(known)}")
        options = {"length": DEFAULT_LENGTH, **params}
        for name, value in options.items():
            if value is None:
                raise ValueError(f"{name} is null; leave it out, or give a value")
        length = int(options.pop("length"))
        decoding = Decoding(**options)
        beams = decoding.beam_width if decoding.method == "beam" else 1
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise ValueError("a prompt is not a text; give strings")
        if length < 0:
            raise ValueError(f"length is {length}; give at least 0")
        config = self.language_model.config
        width = max(len(self.vocabulary), config.num_layers * config.hidden_size)
        asked = (
            ("prompts", len(prompts), MANY),
            ("characters of a prompt", max(map(len, prompts), default=0), LONGEST),
            ("characters of all prompts", sum(map(len, prompts)), MOST),
            ("characters after each prompt (length)", length, LONGEST),
            ("characters to generate (prompts x length x beams)", len(prompts) * length * beams, MOST),
            ("numbers in memory (prompts x beams x symbols or units)", len(prompts) * beams * width, WIDEST),
        )
        for what, number, most in asked:
            if number > most:
                raise ValueError(f"{number:,} {what}; at most {most:,} are allowed")
        return length, decoding


mlflow.models.set_model(TextGenerator())
