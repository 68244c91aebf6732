"""The command ``answer``."""

from typing import Any

import click

from pipeline.cli.group import resumed_by, say, show
from pipeline.cli.options import LabCommand, given, json_flag, options_of
from pipeline.config import AnswerConfig, CorpusConfig


@click.command(cls=LabCommand)
@options_of(CorpusConfig, AnswerConfig)
@click.option("--minutes", type=float, default=None, hidden=True, help="The earlier name of --scale, in tenths.")
@json_flag
def answer(corpus: str, alphabet: Any, minutes: float | None, as_json: bool, **options: Any) -> None:
    """Say whether networks are worth their cost on a text.

    Trains networks of several sizes, on growing parts of the text, and on top of n-grams. Four sentences (alone,
    together, small, adaptive) and two figures compare them with n-grams. The same command again trains only what is
    missing.
    """
    if minutes is not None:
        raise click.UsageError(f"--minutes is gone: give --scale {minutes / 10:g} in place of --minutes {minutes:g}")
    chosen = given({"corpus": corpus, "alphabet": alphabet, **options})
    config, corpus_config = AnswerConfig(**options), CorpusConfig(corpus, alphabet)
    from pipeline.answer import run
    from pipeline.answer.sentences import answer_table
    from pipeline.tracking.text_identity import text_to_train
    from pipeline.tracking.ui import links

    resumed_by("answer", chosen)
    done = run.answer(text_to_train(corpus_config, "answer"), config, say)
    link = links.link_line("run", links.link_to_run(done.run_id))
    show(done.result, as_json, answer_table(done.findings, done.result["sentences"], link))
