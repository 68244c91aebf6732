"""The small files at the top: they call what there is, and say the same version as the project."""

import json
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tests.project.test_project import PROJECT, ROOT, tracked_files

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
CONTAINER_HOME = "/home/lab/time-machine-lm"


def docker_instructions() -> list[tuple[str, str]]:
    """Instruction and argument of each line of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return [(instruction, argument) for instruction, _, argument in lines]


def arguments(instruction: str) -> list[str]:
    return [argument for name, argument in docker_instructions() if name == instruction]


def is_accepted(python: str) -> bool:
    """Whether the project accepts a version of Python, such as 3.11."""
    oldest = PROJECT["requires-python"].removeprefix(">=")
    return [int(part) for part in python.split(".")] >= [int(part) for part in oldest.split(".")]


def make_knows(target: str) -> bool:
    return subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True).returncode == 0


def test_the_workflow_runs_what_ci_runs():
    (job,) = WORKFLOW["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["PYTHON=python .ci/run"]
    assert (ROOT / ".ci" / "run").is_file()


def test_the_workflow_covers_the_oldest_python():
    (job,) = WORKFLOW["jobs"].values()
    versions = job["strategy"]["matrix"]["python"]
    assert all(is_accepted(version) for version in versions)
    assert f">={versions[0]}" == PROJECT["requires-python"]


def test_the_dockerfile_has_these_instructions_and_no_other():
    assert [name for name, _ in docker_instructions()] == [
        *("FROM", "RUN", "RUN", "USER", "WORKDIR", "ARG", "ENV", "ARG", "COPY", "RUN", "CMD")
    ]


def test_the_image_has_a_python_that_the_project_accepts():
    version = re.match(r"python:(\d+\.\d+)-slim", arguments("FROM")[0])
    assert version
    assert is_accepted(version[1])


def test_the_image_has_the_programs_that_the_readme_asks_for():
    assert {"git", "make"} <= set(arguments("RUN")[0].split())


def test_the_image_is_not_run_as_root():
    assert arguments("USER") == ["lab"]
    assert arguments("RUN")[1] == "useradd --create-home lab"
    assert arguments("COPY") == ["--chown=lab . ."]


def test_the_image_takes_the_cpu_build_of_torch_from_where_the_readme_says():
    index, _ = arguments("ARG")
    assert index.removeprefix("TORCH_INDEX=") in (ROOT / "README.md").read_text()
    assert arguments("ENV")[0].startswith("PIP_EXTRA_INDEX_URL=$TORCH_INDEX ")


def test_the_image_is_set_up_and_runs_the_main_job_by_targets_that_make_has():
    assert arguments("RUN")[2] == "make .venv/.ready"
    assert json.loads(arguments("CMD")[0]) == ["make", "run"]
    assert make_knows(".venv/.ready")
    assert make_knows("run")


def test_the_image_has_no_extra_unless_it_is_built_with_one():
    _, extras = arguments("ARG")
    assert extras == "EXTRAS="
    listed = subprocess.run(
        ["make", "-n", "--always-make", ".venv/.ready", "EXTRAS=[cluster]"], cwd=ROOT, capture_output=True, text=True
    )
    assert "--editable '.[cluster]'" in listed.stdout


def test_the_volume_that_the_dockerfile_names_is_where_runs_are_recorded():
    assert arguments("WORKDIR") == [CONTAINER_HOME]
    assert f"{CONTAINER_HOME}/mlruns time-machine-lm" in (ROOT / "Dockerfile").read_text()
    assert (ROOT / "mlflow.db").readlink().parent == Path("mlruns")


def test_the_image_has_what_git_has_and_nothing_that_git_ignores():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    left_out = [rule.removeprefix("**/") for rule in rules if not rule.startswith("!")]
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line[0] not in "!#"}
    assert ignored <= set(left_out)
    needed = [path.relative_to(ROOT).as_posix() for path in tracked_files() if ".github" not in path.parts]
    assert [path for path in needed if any(fnmatch(path, rule) for rule in left_out)] == ["mlruns/.gitkeep"]
    assert "!mlruns/.gitkeep" in rules


def test_the_citation_names_the_projects_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


@pytest.mark.parametrize("name", ["bug.yml", "idea.yml"])
def test_an_issue_form_asks_for_something(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text())
    assert {"name", "description", "body"} <= set(form)
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_commit_hook_calls_a_target_that_make_has():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    assert hook["entry"].split()[0] == "make"
    assert make_knows(hook["entry"].split()[1])
