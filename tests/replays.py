"""Trainings that were recorded once (``golden/recorded``), judged anew and told to a sink: what is printed never depends on the machine."""

from __future__ import annotations

import lzma
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from init_monitor.records import History, LossCurve, LossStretch
from init_monitor.rules import DEFAULT_RULES
from init_monitor.rules.engine import Engine
from init_monitor.sinks import Run
from init_monitor.store import StoredRun, read_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Finding, StepRecord
    from init_monitor.sinks import Sink

RECORDED = Path(__file__).parent / "golden" / "recorded"
NAMES = sorted(path.name.partition(".")[0] for path in RECORDED.glob("*.jsonl.xz"))


@cache
def recorded(name: str) -> StoredRun:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.jsonl"
        file.write_bytes(lzma.decompress((RECORDED / f"{name}.jsonl.xz").read_bytes()))
        return read_run(file)


@cache
def judged(name: str) -> tuple[tuple[StepRecord, tuple[Finding, ...]], ...]:
    run, curve, engine = recorded(name), LossCurve(), Engine(DEFAULT_RULES, strict=True)
    told: list[tuple[StepRecord, tuple[Finding, ...]]] = []
    for record in run.records:
        curve.add(record.losses)
        known = (*(one for one, _ in told), record)
        told.append((record, tuple(engine.judge(History(known, run.structure, losses=curve)))))
    return tuple(told)


def findings_of(name: str) -> list[Finding]:
    return [finding for _, findings in judged(name) for finding in findings]


def replay(name: str, sink: Sink, run: Run | None = None, *, steps: Sequence[int] | None = None) -> None:
    """Tell a sink of a recorded training, or of some of its steps."""
    whole = recorded(name)
    sink.open(Run() if run is None else run)
    last = -1
    for record, findings in judged(name):
        if steps is None or record.step in steps:
            sink.emit(record, findings, whole.structure)
            last = record.step
    conclude = getattr(sink, "conclude", None)
    rest: LossStretch = whole.losses.since(last + 1)
    if conclude is not None and len(rest):
        conclude(rest, ())
    sink.close()
