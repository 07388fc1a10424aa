"""Attention: a few rows of each that the probe finds, reduced per head.

Small operations cost more than large ones, so the rows of all attentions of one shape wait until the forward ends and are
reduced together. What waits is a copy of at most a few megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from init_monitor.capture.reader import empty_columns
from init_monitor.capture.taps import Tap
from init_monitor.measures.attention import ENTROPY, FIRST, KEYS, KINDS, ONE_PLACE, SQUARES, Looks, attention_partials
from init_monitor.records import Attention, Role
from init_monitor.records.quantities import HEAD_QUANTITIES, Quantity
from init_monitor.torch_compat import is_training_signal, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.capture.reader import Reader
    from init_monitor.capture.reading import Columns
    from init_monitor.capture.taps import TapKey
    from init_monitor.structure.attention import AttentionSite

MOST_HEADS = 4096
"""Heads that are measured at most: 64 layers of 64."""

MOST_WAITING = 1 << 16
"""Logits that wait to be reduced together: more than fit a cache are not worth copying."""


@dataclass(slots=True, eq=False)
class AttentionTap:
    """One attention: the site as last seen, and where its numbers go.

    Attributes:
        site: what the probe says about it.
        accumulator: of its device.
        rows: ``KINDS`` times ``heads`` rows there, in the order of :func:`init_monitor.measures.attention.attention_partials`.
    """

    site: AttentionSite
    accumulator: Accumulator
    rows: list[int] = field(default_factory=list)


class AttentionTaps:
    """Measures every attention of a sampled step.

    Args:
        hooks: measures the layers.
        accepts: says of a module's name whether it is to be watched.
        is_loss: says of a module's path whether it belongs to a loss.

    Attributes:
        known: every attention that was ever measured, by name.
        order: those of this step, in execution order.
    """

    def __init__(self, hooks: LayerHooks, accepts: Callable[[str], bool], is_loss: Callable[[str], bool]) -> None:
        """Start with none known."""
        self._hooks, self._accepts, self._is_loss = hooks, accepts, is_loss
        self._waiting: dict[tuple[object, ...], list[tuple[AttentionTap, Looks]]] = {}
        self._count = self._heads = 0
        self._off = False
        self.known: dict[str, AttentionTap] = {}
        self.order: dict[str, AttentionTap] = {}

    def begin_step(self) -> None:
        """Forget the attentions of the step before."""
        self.order = {}
        self._waiting, self._count = {}, 0

    def is_watched(self) -> bool:
        """Say whether attention is measured now."""
        return not (self._off or self._hooks.paused) and is_training_signal()

    def failed(self, error: Exception) -> None:
        """Measure no attention from now on."""
        self._off = True
        self.begin_step()
        self._hooks.switch_off("the attention", error)

    def take(self, site: AttentionSite, looks: Looks) -> None:
        """Measure a few rows of one: they are kept until there are enough, or the forward ends."""
        if not self._accepts(site.name) or self._is_loss(site.owner):
            return
        tap = self.known.get(site.name)
        device = looks.logits.device
        if tap is None or tap.accumulator.device != device or tap.site.heads != site.heads:
            if self._heads + site.heads > MOST_HEADS:
                return
            self._heads += site.heads
            accumulator = self._hooks.accumulator(device)
            rows = [accumulator.new_row() for _ in range(KINDS * site.heads)]
            tap = self.known[site.name] = AttentionTap(site, accumulator, rows)
        tap.site = site
        self.order[site.name] = tap
        added = None if looks.added is None else looks.added.shape
        self._waiting.setdefault((looks.logits.shape, added, looks.logits.dtype, device), []).append((tap, looks))
        self._count += looks.logits.numel()
        if self._count > MOST_WAITING:
            self._reduce()

    def end_forward(self) -> None:
        """Reduce what waits."""
        if not self._waiting:
            return
        try:
            with unseen():
                self._reduce()
        except Exception as error:  # noqa: BLE001 - must not reach the user's training
            self.failed(error)

    def _reduce(self) -> None:
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for group in waiting.values():
            added = [looks.added for _, looks in group if looks.added is not None]
            partials = attention_partials(
                _stacked([looks.logits for _, looks in group]), _stacked(added) if added else None
            )
            rows = [row for tap, _ in group for row in tap.rows]
            group[0][0].accumulator.add(rows, partials.flatten(0, 2))


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)


def attentions_of(taps: Iterable[AttentionTap], names: Mapping[TapKey, str]) -> tuple[Attention, ...]:
    """Describe the attentions of a step in the words of the records.

    Args:
        taps: in execution order.
        names: tap names of the layers.
    """
    described = []
    modules = {key.layer: name for key, name in reversed(list(names.items()))}
    for tap in taps:
        site = tap.site
        known = [one for one in site.makers if isinstance(one, Tap) and one.key in names]
        # Not what only rotates or masks: tables of positions, of sines.
        makers = [one for one in known if one.role is not Role.OTHER] or known
        made = [names[one.key] for one in makers]
        if not site.makers and site.owner in modules:
            made = [modules[site.owner]]
        described.append(
            Attention(
                name=site.name,
                owner=site.owner,
                heads=site.heads,
                head_dim=site.head_dim,
                function=site.function,
                inputs=tuple(dict.fromkeys(made)),
                scale=site.scale,
                normalised=site.normalised or any(one.role is Role.NORMALISATION for one in makers),
            )
        )
    return tuple(described)


_READ = (
    (Quantity.ATTENTION_LOGIT_MAX, SQUARES, "abs_max"),
    (Quantity.ATTENTION_ENTROPY, ENTROPY, "mean"),
    (Quantity.ATTENTION_ONE_PLACE, ONE_PLACE, "mean"),
    (Quantity.ATTENTION_FIRST, FIRST, "mean"),
    (Quantity.ATTENTION_KEYS, KEYS, "mean"),
    (Quantity.ATTENTION_ROWS, KEYS, "count"),
)


def head_columns(taps: Sequence[AttentionTap], reader: Reader) -> Columns:
    """Fill every quantity of the heads, all heads of all attentions one after another."""
    if not taps:
        return empty_columns(HEAD_QUANTITIES, 0)
    at = [reader.index((tap.accumulator, row) for tap in taps for row in _rows(tap, kind)) for kind in range(KINDS)]
    columns: Columns = {quantity: np.full(len(at[SQUARES]), np.nan) for quantity in HEAD_QUANTITIES}
    columns.update({quantity: reader.column(at[kind], moment) for quantity, kind, moment in _READ})
    columns[Quantity.ATTENTION_LOGIT_RMS] = np.sqrt(reader.column(at[SQUARES], "mean"))
    return columns


def _rows(tap: AttentionTap, kind: int) -> list[int]:
    return tap.rows[kind * tap.site.heads : (kind + 1) * tap.site.heads]
