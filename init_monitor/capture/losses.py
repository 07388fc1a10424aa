"""The loss of every optimizer step, kept on its device until the next regular copy to the host."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from init_monitor.records import LossStretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LONGEST_WAIT = 1024
"""Losses that wait on a device one by one; more are put into one tensor, so that they hold no memory block each."""


def waits(number: Tensor) -> bool:
    """Say whether reading a number would wait for a device."""
    return number.device.type != "cpu"


class _Term(NamedTuple):
    """One loss that was back-propagated: its part of the step's loss is ``value · factor``, each a number or a position."""

    value: float | int
    factor: float | int
    value_waits: bool
    factor_waits: bool
    part: str


class LossMeter:
    """Collects the losses that were back-propagated in each optimizer step.

    A loss on the CPU is read at once, without a wait. One on an accelerator stays there, and :meth:`waiting`
    and :meth:`read` let it be copied with the step's one copy; whether it is finite is learned without waiting, some steps
    later, from a copy to pinned memory (CUDA).

    Attributes:
        by_optimizer: the parts of the last step that was read, where several optimizers stepped; ``Adam``, ``Adam#2``.
    """

    def __init__(self) -> None:
        self._terms: list[_Term] = []
        self._steps: list[tuple[int, int, list[_Term]]] = []
        self._waiting: list[Tensor] = []
        self._blocks: list[Tensor] = []
        self._places = 0
        self._unassigned: list[int] = []
        self._look: _FiniteLook | None = None
        self._turned = False
        self._names: dict[int, str] = {}
        self.by_optimizer: dict[str, float] = {}

    def note(self, loss: object, factor: float | Tensor = 1.0) -> None:
        """Add a loss that is back-propagated in the current step.

        Args:
            loss: a number or a tensor of one element; anything else is left out.
            factor: what makes it its part of the step's loss, for instance 1/loss scale.
        """
        if isinstance(loss, torch.Tensor):
            if loss.numel() != 1 or loss.is_complex() or loss.is_meta:
                return
        elif not isinstance(loss, (int, float)) or isinstance(loss, bool):
            return
        value, value_waits = self._kept(loss)
        scale, factor_waits = self._kept(factor)
        self._unassigned.append(len(self._terms))
        self._terms.append(_Term(value, scale, value_waits, factor_waits, ""))

    def assign(self, optimizer: object) -> None:
        """Note that the losses since the last call belong to the optimizer that is about to step."""
        name = self._names.get(id(optimizer))
        if name is None:
            kind = type(optimizer).__name__
            same = sum(known.partition("#")[0] == kind for known in self._names.values())
            name = self._names[id(optimizer)] = f"{kind}#{same + 1}" if same else kind
        for at in self._unassigned:
            self._terms[at] = self._terms[at]._replace(part=name)
        self._unassigned = []

    def replace(self, loss: object) -> None:
        """Forget what was noted in the current step; ``loss`` is its loss."""
        self._terms, self._unassigned = [], []
        self.note(loss)

    @property
    def noted(self) -> int:
        """Losses noted in the current step."""
        return len(self._terms)

    def end_step(self, step: int, *, mean: bool = False) -> None:
        """End optimizer step ``step``; its loss is the sum of what was noted, or, with ``mean``, the mean."""
        if self._terms:
            batches = len(self._terms) if mean else 1
            self._steps.append((step, batches, self._terms))
            if not any(term.value_waits or term.factor_waits for term in self._terms):
                self._turned = self._turned or not math.isfinite(_total(self._terms, (), batches))
        self._terms, self._unassigned = [], []

    def forget_step(self) -> None:
        """Forget what was noted in a step that is abandoned."""
        self._terms, self._unassigned = [], []

    def has_turned(self) -> bool:
        """Say whether a loss since the last reading is known not to be finite. Waits for no device."""
        return self._turned or (self._look is not None and self._look.has_turned())

    def waiting(self) -> Tensor | None:
        """Return the losses that wait on a device, ``[n]`` float64 or float32 there; ``None`` if none do."""
        self._put_together()
        if not self._blocks:
            return None
        return self._blocks[0] if len(self._blocks) == 1 else torch.cat(self._blocks)

    def read(self, waited: Sequence[float] = ()) -> LossStretch:
        """Return the losses of all steps since the last reading, and start over.

        Args:
            waited: what :meth:`waiting` returned, on the host.
        """
        pairs = [(step, _total(terms, waited, batches)) for step, batches, terms in self._steps]
        self.by_optimizer = {}
        if self._steps:
            _, batches, terms = self._steps[-1]
            parts = dict.fromkeys(term.part for term in terms if term.part)
            for part in parts if len(parts) > 1 else ():
                self.by_optimizer[part] = _total([term for term in terms if term.part == part], waited, batches)
        self._steps, self._waiting, self._blocks, self._places = [], [], [], 0
        self._turned = False
        if self._look is not None:
            self._look.begin()
        return LossStretch.of(pairs)

    def read_now(self) -> LossStretch:
        """Return the same at the end of a training, where waiting for the device does no harm."""
        waiting = self.waiting()
        return self.read(() if waiting is None else waiting.tolist())

    def _kept(self, number: object) -> tuple[float | int, bool]:
        if not isinstance(number, torch.Tensor):
            return float(number), False  # type: ignore[arg-type]
        if not waits(number):
            return float(number.item()), False
        if self._look is None and number.is_cuda:
            self._look = _FiniteLook(number.device)
        if self._look is not None:
            self._look.at(number.detach())
        self._waiting.append(number.detach().reshape(()))
        self._places += 1
        if len(self._waiting) >= LONGEST_WAIT:
            self._put_together()
        return self._places - 1, True

    def _put_together(self) -> None:
        if self._waiting:
            wide = torch.float32 if self._waiting[0].device.type == "mps" else torch.float64
            device = self._waiting[0].device
            self._blocks.append(
                torch.stack([x.to(device=device, dtype=wide, non_blocking=True) for x in self._waiting])
            )
            self._waiting = []


class _FiniteLook:
    """Learns whether numbers on a CUDA device are finite without ever waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self._host = torch.zeros((), dtype=torch.float64, pin_memory=True)
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._copied: torch.cuda.Event | None = None

    def begin(self) -> None:
        """Begin afresh."""
        self._sum.zero_()
        self._copied = None

    def at(self, number: Tensor) -> None:
        """Add a number: a non-finite one makes the sum non-finite."""
        self._sum += number.reshape(()) * 0

    def has_turned(self) -> bool:
        """Return what the last finished copy showed, and start another."""
        if self._copied is None:
            self._host.copy_(self._sum, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
            return False
        if not self._copied.query():
            return False
        self._copied = None
        return not math.isfinite(float(self._host))


def _total(terms: Sequence[_Term], waited: Sequence[float], batches: int) -> float:
    total = 0.0
    for term in terms:
        value = waited[int(term.value)] if term.value_waits else term.value
        factor = waited[int(term.factor)] if term.factor_waits else term.factor
        total += value * factor
    return total / batches
