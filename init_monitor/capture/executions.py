"""What each process of a training executed in a step, and all of it as one step, where they did not execute the same.

Layers that one process dropped (stochastic depth) or never needed (experts, branches) ran on others. What a layer received
is then not what the layer before it made on all processes, but what it made where this layer ran: so every process tells
the numbers of what each of its layers and additions got, and those are put together.
"""

from __future__ import annotations

import hashlib
import heapq
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from init_monitor.capture.accumulator import Accumulator, accumulator_of
from init_monitor.capture.catalogue import Catalogue, Slot
from init_monitor.capture.drained import Drained
from init_monitor.capture.residual import ResidualTap, rows_before_factors
from init_monitor.capture.share import Share
from init_monitor.capture.tapping import Call, new_tap
from init_monitor.capture.taps import NOWHERE, Rows, sole_sources
from init_monitor.measures import COUNT, HIGH, LOW, M2, MEAN, NONFINITE, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from numpy.typing import NDArray
    from torch import nn

    from init_monitor.capture.catalogue import Key
    from init_monitor.capture.drained import UnitReading
    from init_monitor.capture.heard import Executed
    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.capture.share import Together as Numbers
    from init_monitor.capture.taps import Tap, TapKey
    from init_monitor.structure.sites import MixingSite, ResidualSite

    Name = TypeVar("Name", bound=Hashable)

_RAN = "ran"
_TERMS = ("skip", "branch", "sum", "before")


class RanTap(NamedTuple):
    """A tap as one process executed it: what another needs to know to have it, too. See :class:`Tap`.

    Attributes:
        is_module: it is the call of a module, not of a function.
        alone: what it received was read by it alone.
    """

    key: TapKey
    is_module: bool
    alone: bool
    owner: str
    kind: str
    own: MixingSite | None
    feeds: tuple[TapKey, ...]
    direct: TapKey | None
    takes_input: bool
    takes_own: bool
    products: int
    dtype: str
    per_distribution: int
    one_value: bool
    running: bool


class RanSum(NamedTuple):
    """A residual addition as one process executed it.

    Attributes:
        site: what the probe says of it, without the layer call that made its skip.
        maker: that call.
        after: the tap before it, in execution order.
        dtype: format of the sum.
    """

    site: ResidualSite
    maker: TapKey | None
    after: TapKey | None
    dtype: str


class Execution(NamedTuple):
    """A step of one process: taps and additions in execution order."""

    taps: tuple[RanTap, ...]
    sums: tuple[RanSum, ...]


class Together(NamedTuple):
    """The steps of all processes as one; ``numbers`` are those that its taps and additions point to."""

    taps: list[Tap]
    sums: list[ResidualTap]
    numbers: dict[Accumulator, Drained]


def ties(ran: Mapping[TapKey, Tap], added: Mapping[str, ResidualTap]) -> int:
    """Return a digest of what was executed and of what fed what: equal where two processes executed the same.

    It has 62 bits, so that it can be reduced like any number.
    """
    told = [
        (
            tap.key,
            [one.key for one in tap.feeds],
            tap.direct and tap.direct.key,
            tap.source is None,
            tap.source_is_layer,
        )
        for tap in ran.values()
    ]
    additions = [(one.site.name, one.site.skip, one.site.branch, one.site.follows, one.depth) for one in added.values()]
    return int.from_bytes(hashlib.sha256(repr((told, additions)).encode()).digest()[:8], "big") >> 2


def execution_of(ran: Mapping[TapKey, Tap], added: Mapping[str, ResidualTap]) -> Execution:
    """Return what this process executed."""
    taps, sums = list(ran.values()), list(added.values())
    sole = sole_sources(taps, [one.skip for one in sums])
    return Execution(
        tuple(_told(tap, alone=alone) for tap, alone in zip(taps, sole, strict=True)),
        tuple(
            RanSum(
                one.site._replace(skip_maker=None),
                getattr(one.site.skip_maker, "key", None),
                taps[min(one.depth, len(taps)) - 1].key if one.depth and taps else None,
                one.dtype,
            )
            for one in sums
        ),
    )


def share_of(
    ran: Mapping[TapKey, Tap], added: Mapping[str, ResidualTap], drained: Mapping[Accumulator, Drained]
) -> Share:
    """Return the numbers of everything that each layer and addition got and made in this process."""
    taps, sums = list(ran.values()), list(added.values())
    places: dict[Key, Rows] = {}
    for tap, alone in zip(taps, sole_sources(taps, [one.skip for one in sums]), strict=True):
        places[(_RAN, *tap.key, "")] = tap.rows
        if tap.source is not None:
            places[(_RAN, *tap.key, "source")] = tap.source if alone else tap.source._replace(backward=NOWHERE)
        elif tap.arrived >= 0:
            places[(_RAN, *tap.key, "source")] = Rows(tap.rows.accumulator, tap.arrived)
    before = rows_before_factors(sums, [one.site.residual for one in sums])
    for one, rows in zip(sums, before, strict=True):
        for term, place in zip(_TERMS, (one.skip, one.branch, one.sum, rows), strict=True):
            places[("sum", *_identity(one.site), term)] = place
    found: dict[Key, NDArray[np.float64]] = {}
    units: dict[Slot, UnitReading] = {}
    seen: dict[Key, tuple[int, int]] = {}
    for name, rows in places.items():
        here = drained.get(rows.accumulator)
        for what, row in (("forward", rows.forward), ("backward", rows.backward)):
            if here is None or not 0 <= row < len(here.rows) or not here.rows[row][[COUNT, NONFINITE]].any():
                continue
            key = (*name, what)
            found[key] = _neutral(here.rows[row])
            # Units are a layer's own; what it received has them under the layer that made it.
            for reading in here.units.get(row, ()) if name[0] == _RAN and not name[-1] else ():
                units[Slot(key, reading.sums.size, reading.positive is not None)] = reading
                seen[key] = here.samples.get(row, 0), here.positions.get(row, 0)
    table = np.stack(list(found.values())) if found else np.zeros((0, WIDTH))
    return Share(Catalogue(found, units), table, units=units, seen=seen)


def _neutral(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a row as it can be reduced: without a finite element it has no extremes."""
    if not row[COUNT]:
        row = row.copy()
        row[[MEAN, M2]] = 0.0
        row[LOW], row[HIGH] = np.inf, -np.inf
    return row


def _told(tap: Tap, *, alone: bool) -> RanTap:
    return RanTap(
        key=tap.key,
        is_module=tap.module is not None,
        alone=alone,
        owner=tap.owner,
        kind=tap.kind,
        own=tap.own,
        feeds=tuple(one.key for one in tap.feeds),
        direct=None if tap.direct is None else tap.direct.key,
        takes_input=tap.takes_input,
        takes_own=tap.takes_own,
        products=tap.products,
        dtype=tap.dtype,
        per_distribution=tap.per_distribution,
        one_value=tap.one_value,
        running=tap.running,
    )


def step_of_all(executed: Executed | None, hooks: LayerHooks, added: Mapping[str, ResidualTap]) -> Together:
    """Return the step of all processes as one.

    Args:
        executed: what they told, if they did not execute the same; else the step of this one has it all.
        hooks: have the taps of this one.
        added: the additions of this one.
    """
    if executed is None:
        return Together(list(hooks.order.values()), list(added.values()), {})
    executions: list[Execution] = [pickle.loads(told) for told in executed.told]  # noqa: S301 - from this training
    return put_together(executions, executed.outcome.together(), hooks.by_name, hooks.taps)


def put_together(
    executions: Sequence[Execution],
    merged: Numbers,
    modules: Mapping[str, nn.Module],
    known: Mapping[TapKey, Tap],
) -> Together:
    """Return the steps of all processes as one; the same on each of them.

    Args:
        executions: in the order of the processes.
        merged: the shares of all of them (:func:`share_of`), put together.
        modules: the watched modules of the model by name.
        known: the taps of this process; of what it never executed a tap is made.
    """
    rows = merged.catalogue.places
    # Rows belong to an accumulator; these came from no tensor of this process.
    place, numbers = accumulator_of(torch.device("cpu"), exact=True), Drained(merged.rows)
    for number, units in merged.units.items():
        numbers.units[number] = list(units)
        numbers.samples[number], numbers.positions[number] = int(merged.samples[number]), int(merged.positions[number])

    def at(*key: str | int) -> Rows:
        return Rows(place, *(rows.get((*key, what), NOWHERE) for what in ("forward", "backward")))

    ran: dict[TapKey, list[RanTap]] = {}
    for execution in executions:
        for one in execution.taps:
            ran.setdefault(one.key, []).append(one)
    order = in_one_order([one.key for one in execution.taps] for execution in executions)
    taps = {key: _tap(ran[key][0], at(_RAN, *key, ""), modules, known) for key in order}
    for key, tap in taps.items():
        source = at(_RAN, *key, "source")
        tap.source, tap.source_is_layer = (source if source.forward >= 0 else None), all(one.alone for one in ran[key])
        fed = {feed for one in ran[key] for feed in one.feeds}
        tap.feeds = [taps[feed] for feed in order if feed in fed]
        direct = {one.direct for one in ran[key]}
        tap.direct = taps.get(next(iter(direct))) if len(direct) == 1 else None  # type: ignore[arg-type]
        tap.takes_input = any(one.takes_input for one in ran[key])
        tap.takes_own = any(one.takes_own for one in ran[key])
        tap.products = max(one.products for one in ran[key])
    return Together(list(taps.values()), _sums(executions, taps, at), {place: numbers})


def _tap(one: RanTap, rows: Rows, modules: Mapping[str, nn.Module], known: Mapping[TapKey, Tap]) -> Tap:
    tap = known.get(one.key)
    if tap is None:
        module = modules.get(one.key.layer) if one.is_module else None
        tap = new_tap(Call(one.key, module, one.owner, one.kind, one.own), rows)
    return replace(
        tap,
        rows=rows,
        arrived=NOWHERE,
        dtype=one.dtype,
        per_distribution=one.per_distribution,
        one_value=one.one_value,
        running=one.running,
    )


def _identity(site: ResidualSite) -> tuple[str, str]:
    """Return what tells an addition from others: in a loop over blocks, the k-th is not that of the same block everywhere."""
    return site.name, site.branch


def _sums(executions: Sequence[Execution], taps: Mapping[TapKey, Tap], at: Callable[..., Rows]) -> list[ResidualTap]:
    place = {key: number for number, key in enumerate(taps)}
    found: dict[tuple[str, str], ResidualTap] = {}
    names: set[str] = set()
    for execution in executions:
        for one in execution.sums:
            identity = _identity(one.site)
            depth = 0 if one.after is None else place[one.after] + 1
            if identity in found:
                found[identity].depth = max(found[identity].depth, depth)
                continue
            skip, branch, total, before = (at("sum", *identity, term) for term in _TERMS)
            maker = None if one.maker is None else taps.get(one.maker)
            site = one.site._replace(skip_maker=maker, name=_free(one.site.name, names))
            names.add(site.name)
            found[identity] = ResidualTap(site, skip, branch, total, depth=depth, dtype=one.dtype, before=before)
    order = in_one_order([_identity(one.site) for one in execution.sums] for execution in executions)
    return [found[identity] for identity in order]


def _free(name: str, taken: set[str]) -> str:
    """Return a name, with the next ordinal that is free if it is taken."""
    call, _, ordinal = name.rpartition("#")
    number = int(ordinal)
    while name in taken:
        number += 1
        name = f"{call}#{number}"
    return name


def in_one_order(orders: Iterable[Sequence[Name]]) -> list[Name]:
    """Put several orders of some of the same things together: what follows something in any of them follows it here.

    Where that leaves a choice, or where they contradict each other, what was named first comes first.

    >>> in_one_order([["a", "b", "d"], ["a", "c", "d", "e"]])
    ['a', 'b', 'c', 'd', 'e']
    """
    before: dict[Name, set[Name]] = {}
    after: dict[Name, list[Name]] = {}
    for order in orders:
        for name, previous in zip(order, (None, *order), strict=False):
            waits = before.setdefault(name, set())
            if previous is not None and previous not in waits:
                waits.add(previous)
                after.setdefault(previous, []).append(name)
    number = {name: place for place, name in enumerate(before)}
    names = list(before)
    free = [place for place, name in enumerate(names) if not before[name]]
    found: dict[Name, None] = {}
    while len(found) < len(names):
        place = heapq.heappop(free) if free else next(number[name] for name in names if name not in found)
        name = names[place]
        if name in found:
            continue
        found[name] = None
        for follower in after.get(name, ()):
            before[follower].discard(name)
            if not before[follower]:
                heapq.heappush(free, number[follower])
    return list(found)
