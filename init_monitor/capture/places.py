"""Where everything that was measured in a step is kept, by names that all processes of a training use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.capture.accumulator import Accumulator
from init_monitor.capture.executions import execution_of, put_together, ties
from init_monitor.capture.ranks import Address, merged, one_copy, put_back, seen_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from init_monitor.capture.drained import Drained
    from init_monitor.capture.executions import Execution, Together
    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.capture.parameters import ParameterTaps
    from init_monitor.capture.ranks import Key, Share
    from init_monitor.capture.residual import ResidualTaps


class Places:
    """The taps, additions and parameters of one model on this process, for the others.

    Args:
        hooks: has the taps.
        residuals: has the additions.
        parameters: has the parameters.
    """

    def __init__(self, hooks: LayerHooks, residuals: ResidualTaps, parameters: ParameterTaps) -> None:
        """Nothing is asked for before there are several processes."""
        self._hooks = hooks
        self._residuals = residuals
        self._parameters = parameters

    def addresses(self) -> dict[Key, Address]:
        """Return where every measured tensor is kept."""
        addresses: dict[Key, Address] = {}
        for key, tap in self._hooks.taps.items():
            here = tap.rows.accumulator
            for what, row in (("", tap.rows.forward), ("gradient", tap.rows.backward), ("input", tap.arrived)):
                address: Key = ("layer", *key, what)
                addresses[address] = Address(here, row)
        for name, addition in self._residuals.order.items():
            for term, rows in addition.own.items():
                addresses["sum", name, term, ""] = Address(rows.accumulator, rows.forward)
                addresses["sum", name, term, "gradient"] = Address(rows.accumulator, rows.backward)
        for name, at in self._parameters.rows.items():
            for what, row in at.by_name().items():
                addresses["parameter", name, what] = Address(at.accumulator, row)
        return {key: address for key, address in addresses.items() if address.row >= 0}

    def ties(self) -> bytes:
        """Return a digest of what was executed in the step."""
        return ties(list(self._hooks.order.values()), list(self._residuals.order.values()))

    def execution(self, drained: Mapping[Accumulator, Drained]) -> Execution:
        """Return what was executed in the step, in full."""
        return execution_of(list(self._hooks.order.values()), list(self._residuals.order.values()), drained)

    def together(self, executions: Sequence[Execution], place: Accumulator) -> Together:
        """Put together what all processes executed; ``place`` is what its rows are said to belong to."""
        return put_together(executions, place, self._hooks.by_name, self._hooks.taps)

    def take_over(self, shares: Sequence[Share], drained: Mapping[Accumulator, Drained]) -> None:
        """Replace what this process measured by what all of them did."""
        streams = merged(shares)
        for name in self._parameters.rows:
            for what in ("weight", "gradient"):
                key = ("parameter", name, what)
                if key in streams:
                    row = streams[key].row
                    copies = self._parameters.copies(name, seen_in(row))
                    streams[key] = streams[key]._replace(row=one_copy(row, copies))
        put_back(streams, self.addresses(), drained)


def nowhere(device: torch.device) -> Accumulator:
    """Return what rows can be said to belong to that no tensor of this process went to."""
    return Accumulator(device, exact=True)
