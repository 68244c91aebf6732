"""What a shell offers for a MODEL, a run, a text and a file."""

from click.shell_completion import ShellComplete

from pipeline.cli.main import cli
from pipeline.tracking.runs import tracked_run


def offered(*words: str) -> list[str]:
    """What is offered for the last word; FILES where file names are."""
    items = ShellComplete(cli, {}, "tmlm", "_TMLM_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return ["FILES" if item.type == "file" else item.value for item in items]


def test_what_fits_is_offered(store):
    with tracked_run("train", "it's 1", {}) as training, tracked_run("reproduce", "a reproduction", {}) as other:
        pass
    assert offered("sample", "") == ["FILES", "latest", "latest~1", training.id[:8]]
    assert offered("train", "--resume", training.id[:10]) == [training.id]
    assert offered("train", "--like", "it's") == ["it's 1"]
    assert offered("train", "--like", "_t's") == offered("report", "--run-id", "_") == [], "no wildcards"
    assert offered("report", "--run-id", "") == [other.id[:8]]
    assert offered("search", "--corpus", "t") == ["FILES", "time-machine", "tiny-shakespeare"]


def test_without_a_store_nothing_is_offered_and_none_is_made(no_store):
    assert offered("report", "--run-id", "") == []
    assert list(no_store.iterdir()) == []
