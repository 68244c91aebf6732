"""Judge training times (seconds, time-order) by the report's own numbers; our seconds are shown beside them.

A transcript takes precedence over prose. Seconds of different machines can't be compared, but their ratios can.
"""

from collections.abc import Mapping
from statistics import fmean

from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.table import Statement
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, Verdict, Word
from pipeline.report.table import Reported
from pipeline.support.wording import listed


def seconds(reported: Reported) -> float | None:
    """The reported training time: from the transcript, else from the prose."""
    transcript = reported.train_seconds_transcript
    return reported.train_seconds_prose if transcript is None else transcript


def seconds_per_epoch(id: str, evidence: Evidence) -> float | None:
    """The mean seconds per epoch of our complete trainings; None without any."""
    paces = [run.train_seconds / run.epochs for run in evidence.trainings(id) if run.train_seconds > 0]
    return fmean(paces) if paces else None


def judge_seconds(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a time in prose is that of the transcript."""
    id, stated = statement.configurations[0], float(statement.value)
    transcript = evidence.row(id).train_seconds_transcript
    if transcript is None:
        because = f"No transcript of {id} shows a time, and another machine's seconds decide nothing."
        return Verdict(statement, OPEN, because, part="its transcript")
    because = f"{stated:g} s is stated, and the transcript has {transcript:g} s."
    if abs(stated - transcript) <= evidence.bounds.seconds:
        return Verdict(statement, HOLDS, because)
    owners = [
        row.id
        for row in evidence.rows
        if row.train_seconds_transcript and abs(row.train_seconds_transcript - stated) <= evidence.bounds.seconds
    ]
    return Verdict(statement, FAILS, f"{because} {stated:g} s is what {listed(owners)} took." if owners else because)


def judge_time_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a configuration took longer or shorter than others by the report's own times."""
    first, *others = statement.configurations
    times = {id: seconds(evidence.row(id)) for id in statement.configurations}
    known = {id: time for id, time in times.items() if time is not None}
    if lacking := [id for id in times if id not in known]:
        because = f"The report gives no time of {listed(lacking)}."
        return Verdict(statement, OPEN, because, part=f"a time of {listed(lacking)}")
    against = listed([f"{known[id]:g} s of {id} ({known[first] / known[id]:.2f} times)" for id in others])
    because = f"By the report's own times {first} took {known[first]:g} s, against {against}.{_ours(known, evidence)}"
    word, part = _ordered(statement.relation, {id: known[first] / known[id] for id in others}, evidence)
    prose = evidence.row(first).train_seconds_prose or known[first]
    if word == FAILS and abs(prose - known[first]) > evidence.bounds.seconds:
        because += f" The prose has {prose:g} s of {first}, which its transcript contradicts."
    return Verdict(statement, word, because, part=part)


def _ordered(relation: str, ratios: Mapping[str, float], evidence: Evidence) -> tuple[Word, str]:
    """The word for the ratios of the first time to each of the others, and which part holds."""
    bounds = evidence.bounds
    if relation == "shorter-than-some":
        return HOLDS if min(ratios.values()) < 1 else FAILS, ""
    if relation == "not-considerably-longer":
        close = [id for id, ratio in ratios.items() if ratio < 1 + bounds.considerably]
        return _all_or_part(close, ratios)
    shorter = relation.endswith("shorter")
    factors = {id: 1 / ratio if shorter else ratio for id, ratio in ratios.items()}
    direction = [id for id, factor in factors.items() if factor > 1]
    if relation.startswith("considerably"):
        meant = [id for id in direction if factors[id] >= 1 + bounds.considerably]
    else:
        meant = [id for id in direction if factors[id] <= 1 + bounds.slightly]
    if direction and not meant:
        return IN_PART, f"{'shorter' if shorter else 'longer'}, but not {relation.partition('-')[0]}"
    return _all_or_part(meant, ratios)


def _all_or_part(holding: list[str], ratios: Mapping[str, float]) -> tuple[Word, str]:
    if len(holding) == len(ratios):
        return HOLDS, ""
    return (IN_PART, f"against {listed(holding)}") if holding else (FAILS, "")


def _ours(ids: Mapping[str, float], evidence: Evidence) -> str:
    """A sentence with our seconds per epoch, after a space; "" unless all are trained."""
    paces = {id: seconds_per_epoch(id, evidence) for id in ids}
    known = [f"{pace:.2g} s ({id})" for id, pace in paces.items() if pace is not None]
    return f" Ours took, per epoch and on one machine, {listed(known)}." if len(known) == len(paces) else ""
