"""Parameters around one optimizer step: the weight, the gradient the optimizer received, and the update it made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from init_monitor.capture.accumulator import Plan, strided_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor
    from torch.optim import Optimizer

    from init_monitor.capture.accumulator import Accumulator

UPDATE_ELEMENTS = 1 << 16
"""Elements of a parameter whose update is followed: all of a smaller one, else an even sample (ratio within about
0.4 %). A copy of every weight of a large model could be the one that no longer fits."""


COMPARED_UNITS = 256
"""Units of a weight that are compared with one another, evenly spread: if these are alike, it is no accident."""

_GOLDEN = (math.sqrt(5) - 1) / 2

_MOMENTS = Plan(zeros=False)


@dataclass(slots=True, eq=False)
class ParameterRows:
    """Where one parameter's numbers go.

    Attributes:
        accumulator: of the parameter's device.
        weight, gradient: rows of the parameter and of its gradient.
        update, reference: rows of how far it was moved, and of what that is relative to.
        units: row of its units' projections (see :func:`unit_projections`).
        unit_count: units it has, 0 where they are not compared.
        trainable: it required a gradient when last measured.
    """

    accumulator: Accumulator
    weight: int
    gradient: int
    update: int
    reference: int
    units: int
    unit_count: int = 0
    trainable: bool = True


class ParameterTaps:
    """Measures parameters before and after the optimizer step of a sampled step.

    Args:
        parameters: by qualified name; a tied parameter appears once.
        accumulator: returns the accumulator of a device.
    """

    def __init__(self, parameters: Mapping[str, Tensor], accumulator: Callable[[torch.device], Accumulator]) -> None:
        """Prepare; nothing is allocated before a parameter is first measured."""
        self._parameters = dict(parameters)
        self._accumulator = accumulator
        self.rows: dict[str, ParameterRows] = {}
        self._before: dict[str, Tensor] = {}

    def all(self) -> list[Tensor]:
        """Return every parameter of the model."""
        return list(self._parameters.values())

    def before_step(self, held: Iterable[Tensor]) -> None:
        """Measure weight and gradient of the parameters that an optimizer is about to update.

        Args:
            held: the optimizer's parameters. Ones that the model does not have are ignored.
        """
        ids = {id(parameter) for parameter in held}
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                if id(parameter) in ids and _measurable(parameter):
                    self._measure(name, parameter)

    def after_step(self) -> None:
        """Measure how far each of those parameters was moved."""
        with torch.no_grad():
            for name, before in self._before.items():
                rows = self.rows[name]
                after = strided_sample(self._parameters[name].detach(), UPDATE_ELEMENTS)
                rows.accumulator.take(rows.update, after - before, _MOMENTS)
                rows.accumulator.take(rows.reference, before, _MOMENTS)
        self._before = {}

    def left_out(self, optimizers: Iterable[Optimizer]) -> tuple[str, ...]:
        """Return the names of the trainable parameters that none of the optimizers holds; none if they hold none.

        An optimizer that holds no parameter of the model has its own (flattened, sharded) ones: nothing is known then.
        """
        held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
        if not any(id(parameter) in held for parameter in self._parameters.values()):
            return ()
        return tuple(name for name, p in self._parameters.items() if p.requires_grad and id(p) not in held)

    def forget(self) -> None:
        """Drop the copies of a step that will not be finished."""
        self._before = {}

    def _measure(self, name: str, parameter: Tensor) -> None:
        rows = self.rows.get(name)
        if rows is None or rows.accumulator.device != parameter.device:
            accumulator = self._accumulator(parameter.device)
            row = accumulator.new_row
            rows = ParameterRows(accumulator, row(), row(), row(), row(), row())
            self.rows[name] = rows
        # A parameter that two optimizers hold is measured once, before the first of them.
        if name in self._before:
            return
        rows.accumulator.take(rows.weight, parameter, _MOMENTS)
        rows.trainable = parameter.requires_grad
        rows.unit_count = parameter.shape[0] if parameter.dim() > 1 and parameter.shape[0] > 1 else 0
        if rows.unit_count:
            rows.accumulator.take(rows.units, unit_projections(parameter.detach()), _MOMENTS)
        gradient = parameter.grad
        if gradient is not None and gradient.layout == torch.strided:
            rows.accumulator.take(rows.gradient, gradient, _MOMENTS)
        self._before[name] = strided_sample(parameter.detach(), UPDATE_ELEMENTS).clone()


def unit_projections(weight: Tensor) -> Tensor:
    """Return a fixed ±1 combination of the incoming weights of up to 256 units: ``[units]``.

    Equal units give equal numbers. The signs follow the bits of multiples of the golden ratio, so that they have no
    period that a weight could share, and no random number is drawn.

    Args:
        weight: ``[units, …]``, floating.
    """
    units = weight[:: -(-weight.shape[0] // COMPARED_UNITS)].flatten(1)
    wide = units.double() if units.dtype == torch.float64 else units.float()
    phase = torch.arange(wide.shape[1], device=wide.device, dtype=torch.float64) * _GOLDEN
    signs = torch.where(phase.frac() < 0.5, 1.0, -1.0).to(wide.dtype)  # noqa: PLR2004 - one half
    return wide @ signs


def _measurable(parameter: Tensor) -> bool:
    return (
        parameter.is_floating_point()
        and parameter.layout == torch.strided
        and not parameter.is_meta
        and not isinstance(parameter, torch.nn.parameter.UninitializedParameter)
    )
