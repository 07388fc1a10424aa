"""What follows from the measurements: rules judge a window of records, and every sink is told what they find."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from init_monitor.records import Finding, History, LossStretch, StepRecord, settled
from init_monitor.rules.engine import Engine
from init_monitor.sinks import default_sinks
from init_monitor.sinks.broadcast import Broadcast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.guard import Guard
    from init_monitor.notices import Notices
    from init_monitor.options import Options
    from init_monitor.records import LossCurve, Structure
    from init_monitor.sinks.sink import Run, Sink
    from init_monitor.training_loss import TrainingLoss


class Judgement:
    """Judges the records of one training as they come.

    Args:
        options: what was asked for.
        loss: of the training.
        guard: keeps failures from the training.
        notices: says what failed.

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

    def open_sinks(self, run: Run) -> None:
        """Begin a run with the sinks that were asked for."""
        sinks: Sequence[Sink] = self._options.sinks or ()
        if self._options.sinks is None:
            with self._guard("making the sinks"):
                sinks = default_sinks(verbose=self._options.verbose, per_layer_scalars=self._options.per_layer_scalars)
        self._sinks.open(sinks, run)

    def close_sinks(self) -> None:
        """End the run."""
        self._sinks.close()

    def judge(self, record: StepRecord, structure: Structure) -> tuple[Finding, ...]:
        """Return what is new at a step whose record was kept, and tell the sinks."""
        new: tuple[Finding, ...] = ()
        with self._guard("judging"):
            new = tuple(self._engine.judge(self._history(structure)))
            self.findings[:] = settled([*self.findings, *new])
        self._sinks.emit(record, new, structure)
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
        """Return what is known already, so that it is not told again."""
        return self._engine.state_dict()

    def load_state_dict(self, cases: Mapping[str, Any], findings: Sequence[Finding]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.findings = list(findings)
        self._engine.load_state_dict(cases)

    def _history(self, structure: Structure) -> History:
        curve: LossCurve = self._loss.curve
        return History(tuple(self.records), structure, losses=curve)
