"""Where each measured tensor is kept in this process, by names that all processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.capture.catalogue import LAYER
from init_monitor.capture.directory import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.capture.catalogue import Key
    from init_monitor.capture.forward_probe import ForwardProbe
    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.capture.parameters import ParameterTaps


def addresses_of(hooks: LayerHooks, probe: ForwardProbe, parameters: ParameterTaps) -> dict[Key, Address]:
    """Return where every measured tensor is kept: of layers, additions, attentions and parameters."""
    addresses = dict(_of_the_probe(probe))
    for key, tap in hooks.taps.items():
        here = tap.rows.accumulator
        for what, row in (("", tap.rows.forward), ("gradient", tap.rows.backward), ("input", tap.arrived)):
            addresses[(LAYER, *key, what)] = Address(here, row)
    for name, at in parameters.rows.items():
        whole = parameters.whole(name)
        for what, row in at.by_name().items():
            copied = what in {"weight", "gradient"}
            addresses["parameter", name, what] = Address(at.accumulator, row, whole if copied else 0)
    return {key: address for key, address in addresses.items() if address.row >= 0}


def _of_the_probe(probe: ForwardProbe) -> Iterator[tuple[Key, Address]]:
    for name, addition in probe.residuals.known.items():
        for term, rows in addition.own.items():
            yield ("sum", name, term, ""), Address(rows.accumulator, rows.forward)
            yield ("sum", name, term, "gradient"), Address(rows.accumulator, rows.backward)
    for name, attention in probe.attentions.known.items():
        for place, row in enumerate(attention.rows):
            yield ("attention", name, place), Address(attention.accumulator, row)
    for tap, (accumulator, row) in probe.ends.logits.items():
        yield ("log Z", *tap), Address(accumulator, row)
    for name, (holder, own) in probe.ends.tables.items():
        for place, row in enumerate(own):
            yield ("table", name, place), Address(holder, row)
