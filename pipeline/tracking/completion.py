"""Run ids for shell completion, read from the database without MLflow.

Importing MLflow takes seconds, which is too long for completion. For a store that is not an SQLite file there are no
completions.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pipeline.support.files import ROOT

SHORT_ID = 8  # characters of a run id that lists show

MOST = 50  # runs

RUNS = """
    SELECT runs.run_uuid, runs.name FROM runs JOIN tags USING (run_uuid)
    WHERE tags.key = 'stage' AND tags.value = ? AND runs.lifecycle_stage = 'active'
    AND runs.run_uuid LIKE ? ORDER BY runs.start_time DESC LIMIT ?
"""


def runs(beginning: str, stage: str) -> list[tuple[str, str]]:
    """Ids and names of the latest runs of a stage whose id begins so; short ids unless ``beginning`` is longer."""
    file = _database()
    if file is None or not file.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=0.5)) as connection:
            found = connection.execute(RUNS, (stage, f"{beginning}%", MOST)).fetchall()
    except sqlite3.Error:
        return []
    return [(run_id if len(beginning) > SHORT_ID else run_id[:SHORT_ID], name) for run_id, name in found]


def _database() -> Path | None:
    """The file that ``pipeline.tracking.store`` would use; None for any other store."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        file = uri.partition("?")[0].removeprefix("sqlite:///")
        return Path(file) if uri.startswith("sqlite:///") else None
    is_ours = (ROOT / "MLproject").is_file() and os.access(ROOT, os.W_OK)
    return (ROOT if is_ours else Path.cwd()) / "mlruns" / "mlflow.db"
