"""The reproduction of docs/report, read from its data; ``python -m tests.report.committed`` judges it anew.

That rewrites the page and the verdicts by the present code. Trainings, times and checks stay as they are recorded, in
result.json and, epoch by epoch, in epochs.csv in this folder. The text of the book has to be in the folder of
TMLM_DATA_DIR.
"""

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from models.complexity import REPORT_SYMBOLS, closed_form
from models.config import ModelConfig
from pipeline.config import CorpusConfig
from pipeline.report.checks import checks
from pipeline.report.open_data import CURVES
from pipeline.report.reproduction import Configuration, JudgedTraining, Reproduction
from pipeline.report.rewrite import report_files
from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.table import report_rows
from pipeline.report.text_facts import text_facts
from pipeline.text.corpus import Corpus, load_corpus
from tests.checkout import ROOT

FOLDER = ROOT / "docs" / "report"
JUDGED = ("verdicts", "tally")  # what depends on the code in result.json


def result() -> dict[str, Any]:
    return json.loads((FOLDER / "result.json").read_text())  # type: ignore[no-any-return]


def committed(corpus: Corpus) -> Reproduction:
    """The recorded trainings, beside what the book's text says."""
    kept = result()
    recorded = {
        (row["id"], each["role"], each["seed"]): each for row in kept["configurations"] for each in row["trainings"]
    }
    epochs: dict[tuple[str, str, int], list[dict[str, str]]] = defaultdict(list)
    with Path(__file__).with_name("epochs.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            epochs[line["configuration"], line["role"], int(line["seed"])].append(line)

    def trainings(id: str, role: str) -> tuple[JudgedTraining, ...]:
        return tuple(
            JudgedTraining(
                run_id="-".join(map(str, key)),
                seed=key[2],
                epochs_planned=recorded[key]["epochs_planned"],
                **{str(curve): tuple(float(line[column]) for line in lines) for curve, column in CURVES.items()},  # type: ignore[arg-type]
                train_seconds=recorded[key]["train_seconds"],
                first_half=recorded[key]["first"]["train_first_half_book"],
                test_perplexity=recorded[key]["test_perplexity"],
                windowed=recorded[key]["val_windowed"],
                texts=tuple(recorded[key]["texts"].items()),
                precision=recorded[key]["precision"],
                trained_parameters=recorded[key]["trained_parameters"],
            )
            for key, lines in epochs.items()
            if key[:2] == (id, role)
        )

    configurations = tuple(
        Configuration(
            row,
            closed_form(
                ModelConfig(cell=row.cell, num_layers=row.num_layers, hidden_size=row.hidden_size), REPORT_SYMBOLS
            ),
            *(trainings(row.id, role) for role in ("report", "same-text")),
        )
        for row in report_rows()
    )
    return Reproduction(
        kept["run_id"], False, text_facts(corpus), configurations, kept["environment"], tuple(kept["commands"])
    )


def main() -> None:
    found = committed(load_corpus(CorpusConfig("time-machine")))
    evidence = weigh(found, report_statements())
    files = report_files(evidence, checks(found))
    judged = json.loads(files["result.json"])
    data = {**result(), **{name: judged[name] for name in (*JUDGED, "ngrams")}}
    files["result.json"] = json.dumps(data, indent=1, ensure_ascii=False)
    for name, content in files.items():
        Path(FOLDER, name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
