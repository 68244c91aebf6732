"""What a node gets before it trains: the text by its digest, and a refusal where it can't do the tasks."""

import json
from dataclasses import replace

import pytest

from pipeline.cluster import texts
from pipeline.errors import UnfitNodeError
from pipeline.text import corpus as corpus_module
from pipeline.tracking import runs
from pipeline.tracking.text_identity import same_text


@pytest.fixture
def needs(mlflow_server, corpus):
    """What the nodes of a search are told, whose text is in its run."""
    with runs.tracked_run("search", "a search", {}):
        yield texts.send(corpus, mlflow_server.url())


def facts_of(needs):
    return json.loads(needs.facts)


@pytest.fixture
def elsewhere(monkeypatch, tmp_path, small_text):
    """From now on, this is a node: with another cache, and another text under the same path."""
    monkeypatch.setenv("TMLM_CACHE_DIR", str(tmp_path / "cache of the node"))
    texts._fetch_text.cache_clear()
    yield
    texts._fetch_text.cache_clear()


def test_a_node_trains_on_the_text_of_the_search_whatever_it_has_itself(needs, elsewhere, small_text, monkeypatch):
    monkeypatch.setattr(corpus_module, "find_text", lambda name: pytest.fail("its own text is not looked for"))
    texts.fetch_needs(needs)
    corpus = same_text("topics", str(small_text), "letters", facts_of(needs)["corpus_sha256"])
    assert (corpus.corpus_sha256, corpus.source) == (facts_of(needs)["corpus_sha256"], str(small_text))
    texts._fetch_text.cache_clear()
    monkeypatch.setattr("pipeline.tracking.artifacts.download_artifact", lambda uri: pytest.fail("it is kept"))
    texts.fetch_needs(needs)


def test_a_text_of_another_digest_is_refused_and_not_kept(needs, elsewhere):
    other = {**facts_of(needs), "corpus_sha256": "0" * 64}
    with pytest.raises(UnfitNodeError, match=r"the ids are not those of the text topics"):
        texts.fetch_needs(replace(needs, facts=json.dumps(other)))
    assert not list(corpus_module.prepared_dir().glob("*/*"))


def test_a_text_that_can_not_be_had_is_refused_with_the_reason(needs, elsewhere):
    with pytest.raises(UnfitNodeError, match=r"the text can't be read from http://127.0.0.1:\d+: .*nosuchrun"):
        texts.fetch_needs(replace(needs, run_id="nosuchrun"))


def test_another_recipe_or_another_torch_is_refused_and_another_mlflow_is_warned_of(needs, elsewhere, caplog):
    texts.fetch_needs(replace(needs, versions={**needs.versions, "mlflow": "1.0"}))
    assert f"its mlflow {needs.versions['mlflow']} differs from the command's 1.0" in caplog.text
    with pytest.raises(UnfitNodeError, match=r"its torch .* differs from the command's 1\.0"):
        texts.fetch_needs(replace(needs, versions={**needs.versions, "torch": "1.0"}))
    with pytest.raises(UnfitNodeError, match=r"its RECIPE .* differs from the command's {'stream': 0}"):
        texts.fetch_needs(replace(needs, recipe={"stream": 0}))
