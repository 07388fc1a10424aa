"""Networks of sines whose weights turn the phase through whole periods: what the next layer gets is noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.odd_weights import Odd
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Layer, StepRecord, Structure

LARGEST = 10.0
"""Variance of the phase between two sines from which it is far too large: its standard deviation is then π, half a period, so that
neighbours may come out as anything. SIREN's is 1 (Sitzmann et al. 2020, Section 3.2); torch's own weights before sin(30 · x) give 150."""


def odd_sines(first: StepRecord, structure: Structure) -> list[Odd]:
    """Return the layers between two sines whose weights make the phase of the second far too large, by what was drawn and what came out.

    A layer that reads the coordinates is not judged: its frequencies are those of the picture.
    """
    known = structure.by_name()
    found = []
    for layer in structure.layers:
        if layer.role is not Role.WEIGHT or not layer.frequency or not _behind_a_sine(layer, known):
            continue
        table, squared = first.layer_table, layer.frequency**2
        # A sine of many phases has a mean square of 1/2.
        given = squared * table.at(layer.name, Quantity.EXPECTED_GAIN) / 2
        if given >= LARGEST <= squared * table.at(layer.name, Quantity.VARIANCE):
            found.append(Odd(layer, given, 1.0))
    return found


def network_of(layer: Layer, structure: Structure) -> list[Layer]:
    """Return all layers before sines and those that read one, if a layer is one of them; else none."""
    if not layer.frequency:
        return []
    known = structure.by_name()
    return [x for x in structure.layers if x.role is Role.WEIGHT and (x.frequency or _behind_a_sine(x, known))]


def _behind_a_sine(layer: Layer, known: Mapping[str, Layer]) -> bool:
    """Say whether a layer reads what a sine made of another layer's output."""
    direct = [known[name] for name in layer.inputs if name in known]
    through = [known[name] for x in direct if x.role is not Role.WEIGHT for name in x.inputs if name in known]
    return any(x.frequency for x in (*direct, *through))
