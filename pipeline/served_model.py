"""The model as MLflow serves it: prompts in, continued prompts out. MLflow loads this file by itself.

The weights are a checkpoint of ours (safetensors, checked against its digest); nothing is unpickled.
"""

import re
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from models.decoding import Decoding
from pipeline.checkpoints import load_model
from pipeline.errors import InputError
from pipeline.samples import continuations

LONGEST = 10_000  # characters, of a prompt and of what is added to it
MOST = 200_000  # characters that one request may have generated: the server answers one at a time


class TextGenerator(PythonModel):
    """Continues each prompt of a request; ``params`` are those of the signature."""

    def load_context(self, context: PythonModelContext) -> None:
        self.language_model, self.vocabulary, _ = load_model(Path(context.artifacts["checkpoint"]))

    # Annotated as list[str], MLflow would infer a signature of its own, without params.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[str]:
        """One column of prompts -> the prompts, continued. Raises MlflowException (400) for what can't be read."""
        options = dict(params or {})
        length = int(options.pop("length", 200))
        prompts = model_input.iloc[:, 0].tolist()
        try:
            if not all(isinstance(prompt, str) for prompt in prompts):
                raise ValueError("a prompt is not a text; give strings")
            if not 0 <= length <= LONGEST:
                raise ValueError(f"length is {length}; it must be from 0 to {LONGEST:,}")
            longest = max(map(len, prompts), default=0)
            if longest > LONGEST:
                raise ValueError(f"a prompt has {longest:,} characters; at most {LONGEST:,} are read")
            decoding = Decoding(**options)
            beams = decoding.beam_width if decoding.method == "beam" else 1
            if (work := len(prompts) * length * beams) > MOST:
                raise ValueError(f"{work:,} characters to generate (prompts x length x beams); at most {MOST:,} are")
            return continuations(self.language_model, self.vocabulary, prompts, length, decoding)
        except (ValueError, InputError) as error:
            # the reason names the command's option: here it is the parameter of that name
            reason = re.sub(r"--([a-z-]+)", lambda option: option[1].replace("-", "_"), str(error))
            raise mlflow.MlflowException(reason, error_code=BAD_REQUEST) from error


mlflow.models.set_model(TextGenerator())
