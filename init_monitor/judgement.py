"""What follows from the measurements: rules judge a window of records, and every sink is told what they find."""

from __future__ import annotations

import pickle
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from init_monitor.records import Finding, History, LossStretch, StepRecord, Structure, settled
from init_monitor.report import Report
from init_monitor.rules.engine import Engine
from init_monitor.sinks import default_sinks
from init_monitor.sinks.broadcast import Broadcast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.capture.ranks import Ranks
    from init_monitor.guard import Guard
    from init_monitor.notices import Notices
    from init_monitor.options import Options
    from init_monitor.records import LossCurve
    from init_monitor.sinks.sink import Run, Sink
    from init_monitor.training_loss import TrainingLoss


class Judgement:
    """Judges the records of one training as they come.

    Args:
        options: what was asked for.
        loss: of the training.
        guard: keeps failures from the training.
        notices: reports what failed.

    Attributes:
        findings: every finding so far, oldest first.
        records: the last ``options.window`` records, oldest first.
    """

    def __init__(self, options: Options, loss: TrainingLoss, guard: Guard, notices: Notices) -> None:
        self.findings: list[Finding] = []
        self.records: deque[StepRecord] = deque(maxlen=options.window)
        self._options = options
        self._loss = loss
        self._guard = guard
        self._engine = Engine(options.chosen_rules, strict=options.strict, notify=notices.tell)
        self._sinks = Broadcast(notices.failed)
        self._structure = Structure()
        self._said: Mapping[str, Any] = {}

    def open_sinks(self, run: Run) -> None:
        """Begin a run with the sinks that were asked for."""
        sinks: Sequence[Sink] = self._options.sinks or ()
        if self._options.sinks is None:
            with self._guard("making the sinks"):
                sinks = default_sinks(verbose=self._options.verbose, per_layer_scalars=self._options.per_layer_scalars)
        self._sinks.open(sinks, replace(run, page=lambda: self._page(run)))

    def _page(self, run: Run) -> str:
        """Return the HTML report of the run so far."""
        report = Report.of(
            tuple(self.records),
            self.findings,
            self._structure,
            run.settings,
            versions=run.versions,
            losses=self._loss.curve,
        )
        return report.to_html(name="this run" if run.log_dir is None else run.log_dir.name)

    def close_sinks(self) -> None:
        """End the run."""
        self._sinks.close()

    def judge(self, record: StepRecord | None, structure: Structure, ranks: Ranks) -> tuple[Finding, ...]:
        """Return what is new at a step, and tell the sinks: one process judges, and the others hear of it.

        Args:
            record: of the step, kept already; ``None`` if this process has none.
            structure: of the network.
            ranks: the processes of the training.
        """
        self._structure = structure
        new = self._judged_by_one(record, structure, ranks)
        if record is not None:
            self._sinks.emit(record, new, structure)
        return new

    def _judged_by_one(self, record: StepRecord | None, structure: Structure, ranks: Ranks) -> tuple[Finding, ...]:
        if ranks.judge != ranks.rank:
            said = ranks.hear(b"")
            if said is not None:
                return self._heard(said)
            # The one that judges is gone, and every process is its own from now on.
        new: tuple[Finding, ...] = ()
        said = b""
        try:
            new = () if record is None else self._judged(structure)
            said = self._verdict(new) if ranks.size > 1 else b""
        except Exception:
            # The others wait for it, whatever came of it here.
            ranks.hear(b"")
            raise
        ranks.hear(said)
        return new

    def _judged(self, structure: Structure) -> tuple[Finding, ...]:
        new: tuple[Finding, ...] = ()
        with self._guard("judging"):
            new = tuple(self._engine.judge(self._history(structure)))
            self.findings[:] = settled([*self.findings, *new])
        return new

    def _verdict(self, new: tuple[Finding, ...]) -> bytes:
        """Return what other processes have to hear of a judgement; mostly nothing."""
        said = b""
        with self._guard("telling the other processes"):
            cases = self._engine.state_dict()
            # A judge that has found nothing yet has nothing to send.
            if new or (cases != self._said and (self._said or any(cases.values()))):
                # Whatever mapping a rule put its numbers into.
                plain = [replace(one, evidence=dict(one.evidence), expected=dict(one.expected)) for one in new]
                said, self._said = pickle.dumps((plain, cases)), cases
        return said

    def _heard(self, said: bytes) -> tuple[Finding, ...]:
        """Take over what another process judged, and return what is new."""
        new: tuple[Finding, ...] = ()
        with self._guard("hearing the process that judges"):
            if said:
                findings, self._said = pickle.loads(said)  # noqa: S301 - from a process of this training
                new = tuple(findings)
                self._engine.hear(new, self._said)
                self.findings[:] = settled([*self.findings, *new])
        return new

    def judge_the_end(self, structure: Structure) -> None:
        """Judge the losses of the steps after the last record: a run may have broken in them."""
        rest, new = LossStretch(), tuple[Finding, ...]()
        with self._guard("judging the end"):
            rest = self._loss.keep_rest()
            if len(rest) and self.records:
                new = tuple(self._engine.judge(self._history(structure)))
            self.findings[:] = settled([*self.findings, *new])
        if len(rest) or new:
            self._sinks.conclude(rest, new)

    def state_dict(self) -> Mapping[str, Any]:
        """Return what is known already, so that it is not reported again."""
        return self._engine.state_dict()

    def load_state_dict(self, cases: Mapping[str, Any], findings: Sequence[Finding]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.findings = list(findings)
        self._engine.load_state_dict(cases)
        self._said = self._engine.state_dict()

    def _history(self, structure: Structure) -> History:
        curve: LossCurve = self._loss.curve
        return History(tuple(self.records), structure, losses=curve)
