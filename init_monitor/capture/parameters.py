"""Parameters around one optimizer step: the weight, the gradient the optimizer received, and the update it made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from init_monitor.capture.sampling import strided_sample
from init_monitor.capture.tensors import local, unreadable
from init_monitor.measures import MOMENTS_ONLY
from init_monitor.measures.native import PLAIN
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

    from init_monitor.capture.accumulator import Accumulator

FOLLOWED_ELEMENTS = 1 << 16
"""Elements of all parameters together whose update is followed: 256 kB. A copy of every weight of a large model might
not fit into memory. They are divided evenly; what a small parameter does not need goes to the others."""

LEAST_FOLLOWED = 256
"""Elements followed of a parameter, if it has that many: the ratio of two norms is then within about 6 %, and the rules
need only its order of magnitude. A network of 60 parameters has 1,000 of each (3 %), one of 10 has 6,500 (1 %)."""

COMPARED_UNITS = 256
"""Units of a weight that are compared with one another, evenly spread: if these are alike, it is not by chance."""

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(slots=True, eq=False)
class ParameterRows:
    """Where one parameter's numbers go.

    Attributes:
        accumulator: of the parameter's device.
        weight, gradient: rows of the parameter and of its gradient.
        update, reference: rows of how far it moved, and of what that is relative to.
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

    def by_name(self) -> dict[str, int]:
        """Return its rows by what they hold."""
        return {
            "weight": self.weight,
            "gradient": self.gradient,
            "update": self.update,
            "reference": self.reference,
            "units": self.units,
        }


class Followed:
    """The parameters of one device and format whose update is followed in a step, their elements in one piece.

    Args:
        accumulator: of the device.
        elements: that are followed of each.

    Attributes:
        rows: of the parameters, by name.
    """

    def __init__(self, accumulator: Accumulator, elements: int) -> None:
        self.rows: dict[str, ParameterRows] = {}
        self._accumulator = accumulator
        self._elements = elements
        self._views: list[Tensor] = []
        self._before: Tensor | None = None

    def add(self, name: str, rows: ParameterRows, own: Tensor) -> None:
        """Follow a parameter, as far as this process holds it."""
        self.rows[name] = rows
        self._views.append(strided_sample(own, self._elements))

    def copy(self) -> None:
        """Keep what they are before the optimizer steps."""
        self._before = torch.cat(self._views)

    def measure_update(self, parameters: Mapping[str, Tensor]) -> None:
        """Measure how far they were moved since, and relative to what."""
        if self._before is None:
            return
        for i, parameter in enumerate(parameters.values()):
            own = local(parameter.detach())
            # An optimizer may have put another tensor in the place of the values.
            if own.data_ptr() != self._views[i].data_ptr():
                self._views[i] = strided_sample(own, self._elements)
        sizes = [view.numel() for view in self._views]
        for what, x in (("update", torch.cat(self._views).sub_(self._before)), ("reference", self._before)):
            places = [getattr(rows, what) for rows in self.rows.values()]
            self._accumulator.take_each(places, sizes, x, MOMENTS_ONLY)


class ParameterTaps:
    """Measures parameters before and after the optimizer step of a sampled step.

    Args:
        parameters: by qualified name; a tied parameter appears once.
        accumulator: returns the accumulator of a device.
        on_unreadable: told ``(kind, what)`` of a parameter or gradient that cannot be measured because it is of such a
            kind.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        accumulator: Callable[[torch.device], Accumulator],
        on_unreadable: Callable[[str, str], None],
    ) -> None:
        """Prepare; nothing is allocated before a parameter is first measured."""
        self._on_unreadable = on_unreadable
        self._parameters = dict(parameters)
        self._accumulator = accumulator
        self.rows: dict[str, ParameterRows] = {}
        self._before: list[Followed] = []
        self._seen: set[str] = set()
        self._followed = 0

    def whole(self, name: str) -> int:
        """Return how many elements a parameter has of which every rank may hold a copy; 0 if each has a part of its own."""
        parameter = self._parameters[name]
        # FSDP 1 leaves a view of its own part; FSDP 2 a DTensor, which knows how many elements the whole has.
        return 0 if getattr(parameter, "_fsdp_flattened", False) else parameter.numel()

    def all(self) -> list[Tensor]:
        """Return every parameter of the model."""
        return list(self._parameters.values())

    def all_with_gradient(self) -> list[Tensor]:
        """Return every parameter of the model that has a gradient now."""
        return [parameter for parameter in self._parameters.values() if parameter.grad is not None]

    def before_step(self, held: Iterable[Tensor], gradient_factor: Tensor | None = None) -> None:
        """Measure weight and gradient of the parameters that an optimizer is about to update.

        Args:
            held: the optimizer's parameters. Ones that the model does not have are ignored.
            gradient_factor: what makes their gradients those of the loss, ``None`` if they are.
        """
        ids = {id(parameter) for parameter in held}
        with unseen():
            if not self._seen:
                self._followed = elements_each([p.numel() for p in self._parameters.values() if _measurable(p)])
            groups: dict[tuple[torch.device, torch.dtype], Followed] = {}
            for name, parameter in self._parameters.items():
                # A parameter that two optimizers hold is measured once, before the first of them.
                if id(parameter) not in ids or name in self._seen:
                    continue
                if _measurable(parameter):
                    own = local(parameter.detach())
                    rows = self._measure(name, parameter, own, gradient_factor)
                    self._seen.add(name)
                    group = groups.get((own.device, own.dtype))
                    if group is None:
                        group = groups[own.device, own.dtype] = Followed(rows.accumulator, self._followed)
                    group.add(name, rows, own)
                elif kind := unreadable(parameter):
                    self._on_unreadable(kind, f"The parameter {name!r}")
            for group in groups.values():
                group.copy()
                self._before.append(group)

    def after_step(self) -> None:
        """Measure how far each of those parameters was moved."""
        with unseen():
            for followed in self._before:
                followed.measure_update({name: self._parameters[name] for name in followed.rows})
        self.forget()

    def forget(self) -> None:
        """Drop the copies of a step that will not be finished."""
        self._before, self._seen = [], set()

    def _measure(self, name: str, parameter: Tensor, own: Tensor, gradient_factor: Tensor | None) -> ParameterRows:
        rows = self.rows.get(name)
        if rows is None or rows.accumulator.device != parameter.device:
            accumulator = self._accumulator(parameter.device)
            row = accumulator.new_row
            rows = ParameterRows(accumulator, row(), row(), row(), row(), row())
            self.rows[name] = rows
        rows.accumulator.take(rows.weight, own, MOMENTS_ONLY)
        rows.trainable = parameter.requires_grad
        rows.unit_count = parameter.shape[0] if parameter.dim() > 1 and parameter.shape[0] > 1 else 0
        if rows.unit_count and own.numel():
            rows.accumulator.take(rows.units, unit_projections(own), MOMENTS_ONLY, lasting=True)
        gradient = parameter.grad
        if gradient is not None and gradient.layout == torch.strided:
            wanted = gradient if gradient_factor is None else gradient * gradient_factor
            rows.accumulator.take(rows.gradient, wanted, MOMENTS_ONLY)
        elif kind := unreadable(gradient):
            self._on_unreadable(kind, f"The gradient of {name!r}")
        return rows


def elements_each(sizes: Iterable[int], budget: int = FOLLOWED_ELEMENTS) -> int:
    """Return how many elements of each parameter can be followed within a budget for all of them.

    >>> elements_each([10, 10, 5000, 5000], budget=2020), elements_each([10, 20], budget=2020)
    (1000, 1010)

    Args:
        sizes: elements of each parameter.
        budget: for all of them together; at least 256 of each are followed anyway.
    """
    ordered, left = sorted(sizes), budget
    for place, size in enumerate(ordered):
        fair = left // (len(ordered) - place)
        if size > fair:
            return max(LEAST_FOLLOWED, fair)
        left -= size
    return max(LEAST_FOLLOWED, budget // max(1, len(ordered)))


def unit_projections(weight: Tensor) -> Tensor:
    """Return a fixed ±1 combination of the incoming weights of up to 256 units: ``[units]``.

    Equal units give equal numbers. The signs follow the bits of multiples of the golden ratio, so that they have no
    period that a weight could share, and no random number is drawn.

    Args:
        weight: ``[units, …]``, floating.
    """
    units = weight[:: -(-weight.shape[0] // COMPARED_UNITS)].flatten(1)
    wide = units.double() if units.dtype == torch.float64 else units.float()
    return wide @ _signs(wide.shape[1], wide.dtype, wide.device)


@lru_cache(maxsize=64)
def _signs(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    phase = torch.arange(width, device=device, dtype=torch.float64) * _GOLDEN
    return torch.where(phase.frac() < 0.5, 1.0, -1.0).to(dtype)  # noqa: PLR2004 - one half


def _measurable(parameter: Tensor) -> bool:
    return (
        parameter.is_floating_point()
        and parameter.layout == torch.strided
        and not parameter.is_meta
        # The former is asked in C, the latter in Python.
        and (type(parameter) in PLAIN or not isinstance(parameter, torch.nn.parameter.UninitializedParameter))
    )
