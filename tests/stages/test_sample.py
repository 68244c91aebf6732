"""``sample``: texts that a trained model writes, recorded, printed or streamed."""

from mlflow.tracking import MlflowClient

from models.config import Decoding
from pipeline.stages.sample import sample
from pipeline.tracking.names import bare_tags
from tests.cli.commands import run


def test_the_command_names_what_a_prompt_loses(trained):
    code, out, err = run("sample", trained.run_id, "--prompt", "HELLO World 42", "--length", "3")
    assert code == 0
    assert out.startswith("hello world ")
    assert "Dropped from the prompt, as the model knows only letters and spaces: '4' (U+0034), '2' (U+0032)" in err


def test_samples_are_recorded_under_their_prompts(trained):
    step = sample(trained.run_id, ["it has", "the"], 10, Decoding())
    assert [text[:3] for text in step.result["texts"]] == ["it ", "the"]
    tags = bare_tags(MlflowClient().get_run(step.run_id).data.tags)
    assert "**it has**" in tags["mlflow.note.content"]
    assert tags["trained_run"] == trained.run_id
