"""What a watched loop has found so far, to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.report import Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from init_monitor.monitor import Monitor
    from init_monitor.options import Options
    from init_monitor.records import Finding, StepRecord, Structure


class WatchedRun:
    """The findings, records and losses of a run that a monitor watches.

    Args:
        monitor: watches it.
        options: what was asked for.
    """

    def __init__(self, monitor: Monitor, options: Options) -> None:
        """Read from ``monitor``."""
        self._monitor, self._options = monitor, options

    @property
    def should_stop(self) -> bool:
        """Whether a critical finding asked the loop to end (``on_critical="stop"``)."""
        return self._monitor.should_stop

    @property
    def findings(self) -> list[Finding]:
        """Everything found so far, oldest first."""
        return self._monitor.findings

    @property
    def records(self) -> list[StepRecord]:
        """The last ``window`` sampled steps, oldest first."""
        return list(self._monitor.records)

    @property
    def structure(self) -> Structure:
        """The network as it was executed at the last sampled step."""
        return self._monitor.structure

    @property
    def losses(self) -> NDArray[np.float32]:
        """The training loss of every optimizer step up to the last sampled one: ``[n]`` float32.

        After 16,384 steps every second is kept, then every fourth, and so on; :attr:`loss_steps` says which. Empty where
        no loss was seen.
        """
        return self._monitor.loss.curve.values

    @property
    def loss_steps(self) -> NDArray[np.int64]:
        """The optimizer steps of :attr:`losses`: ``[n]`` int64."""
        return self._monitor.loss.curve.steps

    @property
    def notices(self) -> list[str]:
        """What was switched off or has no effect, in words."""
        return self._monitor.notices

    @property
    def report(self) -> Report:
        """The run so far, to print, show or save."""
        return Report.of(
            self.records, self.findings, self.structure, self._options.settings(), losses=self._monitor.loss.curve
        )
