"""From rows on the host to the columns of a record, and to the structure that was executed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.capture.reader import empty_columns, ratio
from init_monitor.capture.taps import Rows, sole_sources
from init_monitor.capture.unit_columns import unit_columns
from init_monitor.records import INPUT, PARAMETER, Layer, Role, Structure
from init_monitor.records.facts import Stream
from init_monitor.records.quantities import LAYER_QUANTITIES, PARAMETER_QUANTITIES, Quantity
from init_monitor.records.registry import moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.capture.parameters import ParameterRows
    from init_monitor.capture.reader import Reader
    from init_monitor.capture.taps import Tap, TapKey
    from init_monitor.capture.unit_window import UnitWindow
    from init_monitor.records import Column

    Columns = dict[Quantity, Column]

_OUTPUT, _GRADIENT, _INPUT = (moments(stream) for stream in (Stream.OUTPUT, Stream.GRADIENT, Stream.INPUT))
_WEIGHT, _WEIGHT_GRADIENT = (moments(stream) for stream in (Stream.WEIGHT, Stream.WEIGHT_GRADIENT))
_NORM = "norm"
"""The moment that is not read but computed from two others."""


def tap_names(taps: Sequence[Tap]) -> tuple[str, ...]:
    """Name the taps of a step: the layer, ``#k`` if it was called several times, and the path in its output."""
    repeated = {tap.key.layer for tap in taps if tap.key.call > 0}
    return tuple(
        (tap.key.layer or "model") + (f"#{tap.key.call + 1}" if tap.key.layer in repeated else "") + tap.key.path
        for tap in taps
    )


def layer_columns(
    taps: Sequence[Tap], reader: Reader, windows: dict[TapKey, UnitWindow], longest: int, skips: Sequence[Rows]
) -> Columns:
    """Fill every layer quantity except the expected gains, which need the weights; update the unit windows."""
    output = reader.index((tap.rows.accumulator, tap.rows.forward) for tap in taps)
    gradient = reader.index((tap.rows.accumulator, tap.rows.backward) for tap in taps)
    moments_of = {
        quantity: reader.column(index, moment)
        for by_moment, index in ((_OUTPUT, output), (_GRADIENT, gradient))
        for moment, quantity in by_moment.items()
    }
    columns = empty_columns(LAYER_QUANTITIES, len(taps), moments_of)
    _local_gains(columns, taps, reader, sole_sources(taps, skips))
    bent = [i for i, tap in enumerate(taps) if tap.nonlinearity is not None and tap.nonlinearity.knee is not None]
    shares = reader.column(output[bent], "saturated_fraction")
    columns[Quantity.SATURATED_FRACTION][bent] = shares * [taps[i].per_distribution for i in bent]
    unit_columns(columns, taps, reader, windows, longest)
    return columns


def _local_gains(columns: Columns, taps: Sequence[Tap], reader: Reader, sole: Sequence[bool]) -> None:
    mixing = [i for i, tap in enumerate(taps) if tap.role is Role.WEIGHT]
    sources = [taps[i].source or Rows(taps[i].rows.accumulator, taps[i].arrived) for i in mixing]
    received = reader.index((source.accumulator, source.forward) for source in sources)
    for moment, quantity in _INPUT.items():
        columns[quantity][mixing] = reader.column(received, moment)
    columns[Quantity.GAIN][mixing] = ratio(columns[Quantity.VARIANCE][mixing], reader.column(received, "mean_square"))
    alone = [(i, source) for i, source in zip(mixing, sources, strict=True) if sole[i]]
    places = [i for i, _ in alone]
    arriving = reader.column(reader.index((source.accumulator, source.backward) for _, source in alone), "variance")
    columns[Quantity.BACKWARD_GAIN][places] = ratio(arriving, columns[Quantity.GRADIENT_MEAN_SQUARE][places])


def parameter_columns(rows: Mapping[str, ParameterRows], reader: Reader) -> tuple[tuple[str, ...], Columns]:
    """Return the names and quantities of the parameters that were measured in this step."""
    arrived = reader.arrived(reader.index((r.accumulator, r.weight) for r in rows.values())).tolist()
    names = tuple(name for name, here in zip(rows, arrived, strict=True) if here)
    taps = [r for r, here in zip(rows.values(), arrived, strict=True) if here]
    weight = reader.index((r.accumulator, r.weight) for r in taps)
    gradient = reader.index((r.accumulator, r.gradient) for r in taps)
    columns = empty_columns(
        PARAMETER_QUANTITIES,
        len(names),
        {
            quantity: reader.norm(index) if moment == _NORM else reader.column(index, moment)
            for by_moment, index in ((_WEIGHT, weight), (_WEIGHT_GRADIENT, gradient))
            for moment, quantity in by_moment.items()
        },
    )
    moved = reader.norm(reader.index((r.accumulator, r.update) for r in taps))
    reference = reader.norm(reader.index((r.accumulator, r.reference) for r in taps))
    columns[Quantity.UPDATE_RATIO] = ratio(moved, reference)
    columns[Quantity.TRAINABLE] = np.array([r.trainable for r in taps], dtype=np.float64)
    # Over fan_in · E[w²], of all units: ‖w‖² is units · fan_in · E[w²].
    spread = reader.column(reader.index((r.accumulator, r.units) for r in taps), "variance")
    counts = np.array([r.unit_count for r in taps], dtype=np.float64)
    with np.errstate(over="ignore"):
        columns[Quantity.WEIGHT_UNIT_SPREAD] = ratio(spread * counts, columns[Quantity.WEIGHT_NORM] ** 2)
    return names, columns


def parameters_moved(rows: Mapping[str, ParameterRows], reader: Reader) -> bool:
    """Say whether the optimizer changed any parameter; True where that was not measured.

    Not by the update ratios: a parameter that is all zeros has none.
    """
    index = reader.index((r.accumulator, r.update) for r in rows.values())
    arrived = reader.arrived(index)
    # A parameter that an update turned into NaN was changed as well.
    return bool(not arrived.any() or (reader.norm(index[arrived]) != 0).any())


def structure_of(taps: Sequence[Tap], names: Sequence[str], parameter_names: Mapping[int, str]) -> Structure:
    """Describe what was executed.

    Args:
        taps: in execution order.
        names: their names.
        parameter_names: qualified name by ``id`` of the parameter.
    """
    name_of = {tap.key: name for tap, name in zip(taps, names, strict=True)}
    layers: dict[TapKey, Layer] = {}
    for depth, (tap, name) in enumerate(zip(taps, names, strict=True)):
        fans, nonlinearity = tap.fans, tap.nonlinearity
        weight, bias, parameters = _own(tap, parameter_names)
        layers[tap.key] = Layer(
            name=name,
            module=tap.owner,
            kind=tap.kind,
            role=tap.role,
            depth=depth,
            inputs=_inputs(tap, name_of),
            direct=tap.direct is not None or not tap.feeds,
            products=tap.products,
            fan_in=fans.fan_in,
            fan_out=fans.fan_out,
            weight=weight,
            bias=bias,
            parameters=parameters,
            dtype=tap.dtype,
            flat_below=nonlinearity is not None and nonlinearity.flat_below,
            piecewise_linear=nonlinearity is not None and nonlinearity.piecewise_linear,
            forward_terms=fans.forward,
            backward_terms=fans.backward,
            one_value=tap.one_value,
            running=tap.running,
            frequency=tap.frequency,
            compared=tap.compared,
            times="" if tap.times is None else name_of.get(tap.times.key, ""),
        )
    # Backwards, so that a layer before a normalisation learns the activation that follows the normalisation.
    for tap in reversed(taps):
        key = None if tap.direct is None else tap.direct.key
        if key in layers:
            if tap.role is Role.ACTIVATION:
                slope = None if tap.nonlinearity is None else tap.nonlinearity.negative_slope
                layers[key] = replace(layers[key], activation=tap.kind, activation_slope=slope)
            elif tap.role is Role.NORMALISATION:
                after = layers[tap.key]
                layers[key] = replace(
                    layers[key],
                    normalised=True,
                    activation=after.activation,
                    activation_slope=after.activation_slope,
                )
    return Structure(tuple(layers.values()))


def _inputs(tap: Tap, name_of: Mapping[TapKey, str]) -> tuple[str, ...]:
    known = (INPUT,) * tap.takes_input + tuple(name_of[one.key] for one in tap.feeds if one.key in name_of)
    return known or (PARAMETER,) * tap.takes_own


def _own(tap: Tap, parameter_names: Mapping[int, str]) -> tuple[str, str, tuple[str, ...]]:
    """Return the names of a layer's weight, of its bias, and of all its parameters."""
    if tap.own is not None:
        return tap.own.weight, tap.own.bias, tap.own.parameters
    if tap.module is None:
        return "", "", ()
    # Registered ones only: reading a parametrized weight computes it, and spectral norm changes at each reading.
    registered = tap.module._parameters  # noqa: SLF001 - named_parameters() leaves out tied ones
    weight, bias = (parameter_names.get(id(registered.get(kind)), "") for kind in ("weight", "bias"))
    owned = [parameter_names.get(id(p), "") for p in tap.module.parameters()]
    return weight, bias, tuple(name for name in owned if name)


def expected_gains(columns: Columns, taps: Sequence[Tap], structure: Structure, weights: Mapping[str, float]) -> None:
    """Fill in what zero-mean weights of the measured variance give: fan · Var(W), forward and backward.

    Source: Glorot & Bengio 2010, Eq. 5 and 6; He et al. 2015, Eq. 7 and 13.

    Args:
        columns: of the layers; changed in place.
        taps: in execution order.
        structure: of the same taps.
        weights: Var(W) by qualified parameter name.
    """
    variance = np.array([weights.get(layer.weight, math.nan) for layer in structure.layers], dtype=np.float64)
    for quantity, terms in (
        (Quantity.EXPECTED_GAIN, [tap.fans.forward for tap in taps]),
        (Quantity.EXPECTED_BACKWARD_GAIN, [tap.fans.backward for tap in taps]),
    ):
        # Without a weight that sums there is no expectation.
        columns[quantity] = np.where([bool(tap.fans.forward) for tap in taps], np.array(terms) * variance, np.nan)
