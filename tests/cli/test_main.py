"""Each command: its options, and what it prints."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from pipeline.cli.group import SECTIONS
from pipeline.cli.main import cli
from pipeline.config import SearchConfig, quick_search, resolve
from pipeline.tracking.names import bare_tags
from pipeline.tracking.store import setup
from tests.cli.commands import run
from tests.labs import copy_store, make_artifacts_plain, new_store, store_at


def test_complexity_prints_one_flat_object_with_both_conventions():
    code, out, _ = run("complexity", "--cell", "lstm", "--num-layers", "1", "--hidden-size", "128", "--json")
    assert code == 0
    assert json.loads(out) == {
        "parameters": 84508,
        "macs_per_char": 85788,
        "matmul_macs_per_char": 83456,
        "report_parameters": 80896,
        "report_macs": 84148224,
    }


def test_complexity_shows_ptflops_print_out():
    _, out, _ = run("complexity", "--cell", "gru", "--hidden-size", "32")
    assert "GRU(5.95 k, 100.000% Params, 6.32 MMac" in out


def test_options_may_be_written_as_mlflow_names_them():
    assert run("complexity", "--hidden_size", "32", "--json", "true") == run("complexity", "--hidden-size=32", "--json")


def test_the_list_of_commands_fits_into_80_columns_with_each_summary_whole():
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80).stdout
    _, *sections = re.split(rf"^(?:{'|'.join(SECTIONS)}):\n", shown, flags=re.M)
    assert len(sections) == len(SECTIONS)
    summaries = [line for section in sections for line in section.splitlines() if line]
    assert len(summaries) == len(cli.commands)
    for line in summaries:
        name, _, summary = line.strip().partition(" ")
        assert not summary.endswith("..."), line
        assert f"{summary.strip().removesuffix('.')}." in " ".join((cli.commands[name].help or "").split())


def test_the_options_of_a_training_are_listed_by_what_they_decide():
    shown = run("train", "--help")[1]
    headings = re.findall(r"^([A-Z][\w ]+):\n((?:  .*\n|\n(?=  ))*)", shown, flags=re.M)
    options = {heading: re.findall(r"^  (?:-h, )?(--[\w-]+)", text, flags=re.M) for heading, text in headings}
    assert list(options) == ["Text", "Model", "Training", "Machine", "Record", "Other options"]
    assert options["Text"] == ["--corpus", "--alphabet"]
    assert options["Machine"] == ["--device", "--precision"]
    assert options["Record"] == ["--resume"]
    assert options["Other options"] == ["--json", "--help"]
    assert {"--cell", "--hidden-size"} < set(options["Model"])
    assert {"--epochs", "--learning-rate"} < set(options["Training"])


def test_version_is_the_projects():
    assert "0." in run("--version")[1]


def test_options_are_checked_before_the_text_is_looked_for():
    _, _, err = run("train", "--corpus", "no-such-file.txt", "--hidden-size", "0")
    assert err.startswith("Error: --hidden-size is 0; ")


@pytest.mark.parametrize("command", ["train", "pipeline"])
def test_the_defaults_of_a_training_follow_from_the_length_of_its_text(command, small_text, monkeypatch):
    class EnoughError(Exception):
        pass

    def stage(corpus, corpus_config, *configurations):
        expected = resolve({"hidden_size": 64}, corpus.train_chars)
        assert configurations[:2] == expected
        assert expected != resolve({"hidden_size": 64})
        raise EnoughError

    monkeypatch.setattr("pipeline.stages.train.train", stage)
    monkeypatch.setattr("pipeline.stages.main.pipeline", stage)
    with pytest.raises(EnoughError):
        cli.main([command, "--corpus", str(small_text), "--hidden-size", "64"], standalone_mode=False)


@pytest.fixture(scope="module")
def cut_short_store(tmp_path_factory, empty_database, small_text) -> tuple[Path, str]:
    """A store with one training that its time ended, to be copied, and the id of its run."""
    tiny = [
        "--hidden-size",
        "8",
        "--epochs",
        "2",
        "--batch-size",
        "64",
        "--max-seconds",
        "1e-6",
    ]
    home = new_store(tmp_path_factory.mktemp("cut") / "lab", empty_database)
    with pytest.MonkeyPatch.context() as patch, store_at(home):
        make_artifacts_plain(patch)
        code, out, err = run("train", "--corpus", str(small_text), *tiny, "--json")
        assert code == 0, err
        return home, json.loads(out)["run_id"]


@pytest.fixture
def cut_short(no_store: Path, cut_short_store: tuple[Path, str]) -> str:
    """The id of a training that its time ended, alone in a store of the test's own."""
    home, run_id = cut_short_store
    copy_store(home, no_store)
    setup()
    return run_id


@pytest.mark.usefixtures("plain_artifacts")
@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (["--resume", "0" * 32], "is not a run of"),
        (["--resume", ""], "is not a run of"),
        (["--resume", "RUN", "--hidden-size", "128"], "--hidden-size 128 is not what lstm-1x8-s0-topics was started"),
        (["--resume", "RUN", "--epochs", "9"], "--epochs 9 is not possible"),
        (["--resume", "RUN", "--epochs", "auto", "--batch-size", "auto", "--max-seconds", "9"], ""),
        (["--resume", "RUN"], "has nothing left to do: it was stopped by --max-seconds 1e-06"),
    ],
)  # fmt: skip
def test_what_may_be_said_beside_resume(cut_short, options, refusal):
    code, _, err = run("train", *(cut_short if word == "RUN" else word for word in options))
    assert code == (2 if refusal else 0), err
    assert refusal in err
    assert err.count("\n") == 1 or not refusal


@pytest.mark.usefixtures("plain_artifacts")
def test_under_mlflow_run_an_option_as_mlproject_has_it_is_not_taken_as_given(cut_short, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", MlflowClient().create_run("0").info.run_id)
    as_mlproject_has_it = ["--corpus", "auto", "--on-top-of", "nothing", "--seed", "0"]
    code, out, err = run("train", *as_mlproject_has_it, "--max-seconds", "500", "--resume", cut_short, "--json")
    assert code == 0, err
    assert json.loads(out)["run_id"] == cut_short


@pytest.mark.usefixtures("plain_artifacts")
def test_under_mlflow_run_the_limit_of_seconds_can_be_lifted(cut_short, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", MlflowClient().create_run("0").info.run_id)
    code, out, err = run("train", "--max-seconds", "0", "--resume", cut_short, "--json")
    assert code == 0, err
    assert json.loads(out)["epochs"] == 2
    assert bare_tags(MlflowClient().get_run(cut_short).data.tags).get("resumed.max_seconds", "") == "0.0"


def test_a_check_that_is_not_met_shows_its_table_and_ends_with_4(monkeypatch, tmp_path):
    from pipeline.report.checks import Check
    from pipeline.stages import reproduce as reproduce_stage
    from pipeline.stages.report import ReproductionRun
    from pipeline.stages.reproduce import ChecksNotMetError
    from tests.report.reproductions import reproduction as made_up

    check = Check("gru-torch-2x32 MMac", False, "gru-torch-2x32: 13.05 MMac measured, 13.04 reported")
    done = ReproductionRun(made_up(seeds=1), (), (check,), tmp_path, {"run_id": "abc"})

    def reproduce(*arguments):
        raise ChecksNotMetError("--check is not met", done)

    monkeypatch.setattr(reproduce_stage, "reproduce", reproduce)
    shown = CliRunner().invoke(cli, ["reproduce", "--check"])
    assert shown.exit_code == 4
    assert "gru-torch-2x32: 13.05 MMac measured, 13.04 reported" in shown.stdout
    assert shown.stderr == "Error: --check is not met\n"
    assert json.loads(CliRunner().invoke(cli, ["reproduce", "--check", "--json"]).stdout) == {"run_id": "abc"}


def test_a_quick_search_is_one_of_few_trials_as_the_help_says(monkeypatch):
    from pipeline.stages import search as search_stage

    class EnoughError(Exception):
        pass

    def search(config, corpus_config, say, make_pool, claim):
        assert config == quick_search(SearchConfig(trials=5))
        assert claim == "own", "no alias that a search in earnest would take"
        raise EnoughError

    monkeypatch.setattr(search_stage, "search", search)
    with pytest.raises(EnoughError):
        cli.main(["search", "--quick", "--trials", "5"], standalone_mode=False)
    assert "--study-name quick" in " ".join(run("search", "--help")[1].split())
