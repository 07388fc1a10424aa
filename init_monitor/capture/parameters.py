"""Parameters around one optimizer step: the weight, the gradient the optimizer received, and the update it made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from init_monitor.capture.accumulator import Plan, strided_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

    from init_monitor.capture.accumulator import Accumulator

UPDATE_ELEMENTS = 1 << 16
"""Elements of a parameter whose update is followed: all of a smaller one, else an even sample (ratio within about
0.4 %). A copy of every weight of a large model could be the one that no longer fits."""


_MOMENTS = Plan(zeros=False)


@dataclass(slots=True, eq=False)
class ParameterRows:
    """Where one parameter's numbers go: rows of the weight, its gradient, the update, and what it is relative to."""

    accumulator: Accumulator
    weight: int
    gradient: int
    update: int
    reference: int


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

    def forget(self) -> None:
        """Drop the copies of a step that will not be finished."""
        self._before = {}

    def _measure(self, name: str, parameter: Tensor) -> None:
        rows = self.rows.get(name)
        if rows is None or rows.accumulator.device != parameter.device:
            accumulator = self._accumulator(parameter.device)
            rows = ParameterRows(accumulator, *(accumulator.new_row() for _ in range(4)))
            self.rows[name] = rows
        # A parameter that two optimizers hold is measured once, before the first of them.
        if name in self._before:
            return
        rows.accumulator.take(rows.weight, parameter, _MOMENTS)
        gradient = parameter.grad
        if gradient is not None and gradient.layout == torch.strided:
            rows.accumulator.take(rows.gradient, gradient, _MOMENTS)
        self._before[name] = strided_sample(parameter.detach(), UPDATE_ELEMENTS).clone()


def _measurable(parameter: Tensor) -> bool:
    return (
        parameter.is_floating_point()
        and parameter.layout == torch.strided
        and not parameter.is_meta
        and not isinstance(parameter, torch.nn.parameter.UninitializedParameter)
    )
