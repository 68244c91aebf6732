"""``sample``: texts that a trained model writes, recorded, printed or streamed."""

from mlflow.tracking import MlflowClient

from models.decoding import Decoding
from pipeline.stages.sample import sample, stream_text, write_texts
from pipeline.tracking import records


def test_streaming_writes_what_sampling_returns(trained):
    decoding = Decoding(temperature=0.5, seed=3)
    pieces = list(stream_text(trained.run_id, "It has", 30, decoding))
    assert pieces[0] == "it has"
    assert len(pieces) == 31
    assert ["".join(pieces)] == write_texts(trained.run_id, ["It has"], 30, decoding)


def test_samples_are_recorded_under_their_prompts(trained):
    step = sample(trained.run_id, ["it has", "the"], 10, Decoding())
    assert [text[:3] for text in step.result["texts"]] == ["it ", "the"]
    tags = records.tags_of(MlflowClient().get_run(step.run_id))
    assert "**it has**" in tags["mlflow.note.content"]
    assert tags["trained_run"] == trained.run_id
