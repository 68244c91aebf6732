"""What a training would need: close to what it was measured to take, and refused where it is not there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.config import ModelConfig
from pipeline.config import resolve
from pipeline.errors import InputError
from pipeline.support.machine import GB
from pipeline.training import memory
from pipeline.training.memory import check_can_train, training_bytes, worker_count

ROOT = Path(__file__).resolve().parents[2]
WORST = 2.0  # times, too many or too few


@pytest.mark.parametrize(
    "options", [{"num_layers": 1000}, {"hidden_size": 4, "sequence_length": 900, "batch_size": 20}]
)
def test_what_does_not_fit_is_refused_with_both_figures(corpus, options):
    with pytest.raises(InputError, match=r"GB of memory; this machine has 0 GB: lower --hidden-size"):
        check_can_train(corpus, *resolve({**options, "device": "cpu"}), memory=15_000_000)


def test_a_shape_that_can_not_be_built_is_refused_before_it_is_measured():
    with pytest.raises(InputError, match="needs about 32,000,001,184 GB of memory"):
        memory.check_shape_fits(ModelConfig(hidden_size=10**9), 28)


def test_as_many_trainings_as_workers_have_to_fit(corpus):
    """LSTM 3x2048 takes 9.7 GB: two of them do not fit into 10 GB, though each alone does."""
    training = resolve({"cell": "lstm", "num_layers": 3, "hidden_size": 2048, "device": "cpu"})
    assert 9 * GB < check_can_train(corpus, *training, memory=10 * GB) < 10 * GB
    with pytest.raises(InputError, match=r"in 2 workers at once needs about \d+ GB .* lower --workers to 1$"):
        check_can_train(corpus, *training, workers=2, memory=10 * GB)


@pytest.mark.parametrize(("machine", "largest", "workers"), [(1, 1, 1), (100, 9.2, 10), (100, 0.0, 322)])
def test_auto_takes_no_more_workers_than_the_memory_holds(machine, largest, workers):
    assert worker_count(None, int(largest * GB), cores=1000, memory=machine * GB) == workers
    assert worker_count(16, int(largest * GB), cores=1000, memory=machine * GB) == 16
    assert worker_count(None, 0, cores=1, memory=machine * GB) == 1


MEASURE = """
import json, sys, tempfile
from pathlib import Path
from pipeline.config import CorpusConfig, resolve
from pipeline.text.corpus import load_corpus
from pipeline.training.experiment import Experiment
import pipeline.stages.pictures

def peak():
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

text, options = Path(sys.argv[1]), json.loads(sys.argv[2])
corpus = load_corpus(CorpusConfig(str(text), "letters"))
before = peak()
Experiment(corpus, *resolve(options), text.parent / "checkpoints").run()
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("characters", "options"),
    [
        (1500, {"hidden_size": 2000, "batch_size": 4, "sequence_length": 64}),
        (1500, {"hidden_size": 1200, "num_layers": 3, "cell": "gru", "batch_size": 4, "sequence_length": 64}),
        (150_000, {"batch_size": 256, "sequence_length": 512, "precision": "fp32"}),
        (20_000, {"hidden_size": 512, "preset": "report"}),
        (1_500_000, {"hidden_size": 8, "on_top_of": "ngram"}),
    ],
)
def test_the_estimate_is_within_a_factor_of_two_of_the_measured_peak(tmp_path, characters, options: dict[str, Any]):
    options |= {"epochs": 1, "device": "cpu", "learning_rate": 1e-4}  # at the default's, the wide ones diverge
    text = tmp_path / "text.txt"
    text.write_text(("the quick brown fox jumps over a lazy dog " * (characters // 43 + 1))[:characters])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(text), json.dumps(options)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    measured = int(done.stdout.splitlines()[-1])
    model, config = resolve(options)
    estimate = training_bytes(model, config, 28, int(0.9 * characters), int(0.05 * characters))
    assert measured > GB  # else the test says nothing
    assert 1 / WORST < estimate / measured < WORST
