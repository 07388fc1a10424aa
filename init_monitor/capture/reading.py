"""From rows on the host to the columns of a record, and to the structure that was executed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.capture.taps import Rows
from init_monitor.measures import between_sample_share, finalise
from init_monitor.records import INPUT, PARAMETER, Layer, Role, Structure
from init_monitor.records.facts import Stream
from init_monitor.records.quantities import LAYER_QUANTITIES, PARAMETER_QUANTITIES, Quantity
from init_monitor.records.registry import moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.drained import Drained
    from init_monitor.capture.parameters import ParameterRows
    from init_monitor.capture.taps import Tap, TapKey
    from init_monitor.capture.unit_window import UnitWindow
    from init_monitor.records import Column

    Columns = dict[Quantity, Column]

_OUTPUT, _GRADIENT, _INPUT = (moments(stream) for stream in (Stream.OUTPUT, Stream.GRADIENT, Stream.INPUT))
_WEIGHT, _WEIGHT_GRADIENT = (moments(stream) for stream in (Stream.WEIGHT, Stream.WEIGHT_GRADIENT))
_NORM = "norm"
"""The moment that is not read but follows from two others."""


def tap_names(taps: Sequence[Tap]) -> tuple[str, ...]:
    """Name the taps of a step: the layer, ``#k`` if it was called several times, and the path in its output."""
    repeated = {tap.key.layer for tap in taps if tap.key.call > 0}
    return tuple(
        (tap.key.layer or "model") + (f"#{tap.key.call + 1}" if tap.key.layer in repeated else "") + tap.key.path
        for tap in taps
    )


class Reader:
    """Reads the drained rows of every device by accumulator and row number."""

    def __init__(self, drained: Mapping[Accumulator, Drained]) -> None:
        """Finalise all rows at once."""
        self._drained = drained
        self._columns = {accumulator: finalise(d.rows) for accumulator, d in drained.items()}

    def at(self, accumulator: Accumulator, row: int, name: str) -> float:
        """Return one finalised number; NaN for a row that does not exist or received nothing."""
        if row < 0 or not self.arrived(accumulator, row):
            return math.nan
        return float(self._columns[accumulator][name][row])

    def arrived(self, accumulator: Accumulator, row: int) -> bool:
        """Whether any element, finite or not, reached a row in this step."""
        columns = self._columns.get(accumulator)
        return (
            columns is not None
            and 0 <= row < len(columns["count"])
            and bool(columns["count"][row] + columns["nonfinite_count"][row] > 0)
        )

    def drained(self, accumulator: Accumulator) -> Drained:
        """Return the raw rows and units of one device."""
        return self._drained[accumulator]


def layer_columns(
    taps: Sequence[Tap], reader: Reader, windows: dict[TapKey, UnitWindow], longest: int, skips: Sequence[Rows]
) -> Columns:
    """Fill every layer quantity except the expected gains, which need the weights; update the unit windows."""
    from init_monitor.capture.unit_window import UnitWindow  # noqa: PLC0415 - keeps the type import one-way

    columns: Columns = {quantity: np.full(len(taps), np.nan) for quantity in LAYER_QUANTITIES}
    consumers = Counter([*(tap.source for tap in taps if tap.source is not None), *skips])
    for i, tap in enumerate(taps):
        accumulator = tap.rows.accumulator
        for by_moment, row in ((_OUTPUT, tap.rows.forward), (_GRADIENT, tap.rows.backward)):
            for moment, quantity in by_moment.items():
                columns[quantity][i] = reader.at(accumulator, row, moment)
        variance = columns[Quantity.VARIANCE][i]
        if tap.role is Role.WEIGHT:
            _local_gains(columns, i, tap, reader, consumers)
        nonlinearity = tap.nonlinearity
        if nonlinearity is not None and nonlinearity.knee is not None:
            saturated = reader.at(accumulator, tap.rows.forward, "saturated_fraction") * tap.per_distribution
            columns[Quantity.SATURATED_FRACTION][i] = saturated
        drained = reader.drained(accumulator)
        units = drained.units.get(tap.rows.forward)
        if not units:
            continue
        samples = drained.samples[tap.rows.forward]
        energy = columns[Quantity.MEAN_SQUARE][i] * columns[Quantity.COUNT][i]
        columns[Quantity.BETWEEN_SAMPLE_SHARE][i] = _share(
            [(u.sums, u.squares) for u in units], energy, samples, variance
        )
        signs = [(u.positive, u.nonpositive) for u in units if u.positive is not None and u.nonpositive is not None]
        # An output without a single number says nothing about what its units do.
        if signs and columns[Quantity.COUNT][i] > 0:
            window = windows.setdefault(tap.key, UnitWindow(longest))
            window.add(
                _any([positive for positive, _ in signs]),
                _any([nonpositive for _, nonpositive in signs]),
                drained.positions[tap.rows.forward],
            )
            categories = window.read()
            columns[Quantity.UNIT_COUNT][i] = categories.count
            columns[Quantity.UNIT_SAMPLES][i] = categories.samples
            columns[Quantity.DEAD_FRACTION][i] = categories.dead_fraction
            columns[Quantity.DEAD_AT_LEAST][i] = categories.dead_at_least
            columns[Quantity.ALL_POSITIVE_FRACTION][i] = categories.all_positive_fraction
    return columns


def _local_gains(columns: Columns, i: int, tap: Tap, reader: Reader, consumers: Counter[Rows]) -> None:
    source = tap.source or Rows(tap.rows.accumulator, tap.arrived)
    square = reader.at(source.accumulator, source.forward, "mean_square")
    for moment, quantity in _INPUT.items():
        columns[quantity][i] = reader.at(source.accumulator, source.forward, moment)
    columns[Quantity.GAIN][i] = _ratio(columns[Quantity.VARIANCE][i], square)
    # With a second consumer (or a skip) the gradient at the source is a sum, of which this layer made only a part.
    if tap.source_is_layer and consumers[source] == 1:
        arriving = reader.at(source.accumulator, source.backward, "variance")
        columns[Quantity.BACKWARD_GAIN][i] = _ratio(arriving, columns[Quantity.GRADIENT_MEAN_SQUARE][i])


def parameter_columns(rows: Mapping[str, ParameterRows], reader: Reader) -> tuple[tuple[str, ...], Columns]:
    """Return the names and quantities of the parameters that were measured in this step."""
    names = tuple(name for name, r in rows.items() if reader.arrived(r.accumulator, r.weight))
    columns: Columns = {quantity: np.full(len(names), np.nan) for quantity in PARAMETER_QUANTITIES}
    for i, name in enumerate(names):
        taps = rows[name]
        for by_moment, row in ((_WEIGHT, taps.weight), (_WEIGHT_GRADIENT, taps.gradient)):
            for moment, quantity in by_moment.items():
                is_norm = moment == _NORM
                columns[quantity][i] = (
                    _norm(reader, taps.accumulator, row) if is_norm else reader.at(taps.accumulator, row, moment)
                )
        moved, reference = (_norm(reader, taps.accumulator, row) for row in (taps.update, taps.reference))
        columns[Quantity.UPDATE_RATIO][i] = _ratio(moved, reference)
        columns[Quantity.TRAINABLE][i] = taps.trainable
        # Over fan_in · E[w²], of all units: ‖w‖² is units · fan_in · E[w²].
        spread = reader.at(taps.accumulator, taps.units, "variance") * taps.unit_count
        columns[Quantity.WEIGHT_UNIT_SPREAD][i] = _ratio(spread, columns[Quantity.WEIGHT_NORM][i] ** 2)
    return names, columns


def parameters_moved(rows: Mapping[str, ParameterRows], reader: Reader) -> bool:
    """Say whether the optimizer changed any parameter; True where that was not measured.

    Not by the update ratios: a parameter that is all zeros has none.
    """
    measured = [r for r in rows.values() if reader.arrived(r.accumulator, r.update)]
    # What an update made NaN was changed, too.
    return not measured or any(_norm(reader, r.accumulator, r.update) != 0 for r in measured)


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
    for i, (tap, layer) in enumerate(zip(taps, structure.layers, strict=True)):
        variance = weights.get(layer.weight, math.nan)
        fans = tap.fans
        if fans.forward:
            columns[Quantity.EXPECTED_GAIN][i] = fans.forward * variance
            columns[Quantity.EXPECTED_BACKWARD_GAIN][i] = fans.backward * variance


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else math.nan


def _norm(reader: Reader, accumulator: Accumulator, row: int) -> float:
    return math.sqrt(reader.at(accumulator, row, "count") * reader.at(accumulator, row, "mean_square"))


def _any(flags: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = np.logical_or.reduce([f for f in flags if f.size == flags[0].size])
    return result


def _share(units: Sequence[tuple[Column, float]], energy: float, samples: int, variance: float) -> float:
    same = [(sums, squares) for sums, squares in units if sums.size == units[0][0].size]
    squares = float(sum(squares for _, squares in same))
    # With one position per sample the mean signals are the elements themselves.
    squares = energy if math.isnan(squares) else squares
    return between_sample_share(np.asarray(np.sum([sums for sums, _ in same], axis=0)), squares, samples, variance)
