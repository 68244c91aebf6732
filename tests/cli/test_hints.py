"""Commands that are printed beside a result succeed as they stand, for its text; those beside a text write it."""

import re
import shlex

import pytest

from pipeline.tracking import references
from tests.cli.commands import assert_described, succeeds

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_artifacts", "no_served_model", "no_store")]
TINY = "--hidden-size", "8", "--epochs", "2", "--batch-size", "32", "--precision", "fp32"


def test_the_main_jobs_commands_write_its_text_and_go_on_with_its_text(small_text):
    words = "--corpus", str(small_text), "--alphabet", "letters"
    printed = succeeds(shlex.join(["tmlm", "pipeline", *words, *TINY]))
    (command,) = re.findall("text    (.+)", printed)
    assert " ".join(succeeds(command).split()) in " ".join(printed.split())
    assert re.findall(r" search --quick (.+?)  ", printed) == [shlex.join(words)]
    assert "my-book.txt" not in printed
    assert_described(references.training_of("latest").id)


def test_the_commands_after_trainings_of_several_seeds_and_after_best_succeed(small_text):
    printed = succeeds(shlex.join(["tmlm", "train", "--corpus", str(small_text), "--seeds", "2", *TINY]))
    commands = re.findall(r"\S*tmlm (?:sample|evaluate) .+", printed)
    commands += re.findall(r"\S*tmlm (?:sample|evaluate) [0-9a-f]+", succeeds("tmlm best topics"))
    assert len(commands) >= 3
    for command in commands:
        succeeds(command)
