"""Where a layer stands in its network, and the initialiser that follows: asked by findings and by ``recommend`` alike."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.gains import gains_around
from init_monitor.analysis.initialiser import (
    RESCALED,
    Fans,
    Initialiser,
    activation_before,
    fans_of,
    initialiser_for,
    mirrored,
    recurrent,
    siren,
    small_embedding,
    transformer,
)
from init_monitor.analysis.mirrored_chains import mirrored_layers, slope_of
from init_monitor.analysis.recurrent import GATES
from init_monitor.analysis.residual_blocks import blocks_by_end, output_layer
from init_monitor.records import INPUT, Role
from init_monitor.records.plan import Place

if TYPE_CHECKING:
    from init_monitor.analysis.residual_blocks import Block
    from init_monitor.records import Layer, Structure

COORDINATES = 4
"""Inputs up to which they are taken for coordinates, of space and time: so few that the planes through the origin, at which all units of
a layer without biases have their kinks, cut them into few regions. Over one input such a network of rectifiers is two straight lines,
whatever its depth and width."""

OWN_FACTOR = (
    "The forward multiplies its branch by a tensor (LayerScale, ReZero), which starts the block small; two zeros in a row"
    " would get no gradient."
)


def place_of(layer: Layer, structure: Structure) -> Place:
    """Return where a layer stands in its network."""
    if layer.module in blocks_by_end(structure):
        return Place.RESIDUAL_END
    if layer.is_embedding:
        return Place.EMBEDDING
    if layer.role is Role.NORMALISATION:
        return Place.NORMALISATION
    if layer.torch_kind in GATES:
        return Place.RECURRENT
    output = output_layer(structure)
    return Place.OUTPUT if output is not None and layer.module == output.module else Place.HIDDEN


def choice_for(
    layer: Layer,
    structure: Structure,
    *,
    place: Place | None = None,
    fans: Fans | None = None,
    zero: bool = False,
) -> Initialiser:
    """Return the initialiser that a layer of a network needs, by what follows it and by where it stands.

    Args:
        layer: as it was executed.
        structure: the network that it is a layer of.
        place: where it stands, if that is known better than the structure shows (a class of its own).
        fans: of the weight, if they are known better than the layer itself says.
        zero: its weight is zero now.
    """
    fans = fans or fans_of(layer)
    place = place or place_of(layer, structure)
    if (frequency := _frequency(layer, structure, place)) and layer.role is Role.WEIGHT:
        return siren(frequency, fans, first=set(layer.inputs) <= {INPUT} and bool(layer.frequency))
    if place is Place.RESIDUAL_END:
        return _end(blocks_by_end(structure)[layer.module], layer, structure, fans, zero=zero)
    if place is Place.HIDDEN and layer.transformer:
        return transformer("It lies in a transformer block", fans)
    if place is Place.EMBEDDING:
        return _embedding(layer, structure)
    if place is Place.RECURRENT:
        return recurrent(layer.torch_kind, fans)
    return _plain(layer, structure, place, fans)


def _frequency(layer: Layer, structure: Structure, place: Place) -> float:
    """Return what the output of a layer is multiplied by before a sine; of the output layer, what its input was; else 0."""
    if layer.frequency or place is not Place.OUTPUT:
        return layer.frequency
    known = structure.by_name()
    return max((known[name].frequency for name in layer.inputs if name in known), default=0.0)


def _plain(layer: Layer, structure: Structure, place: Place, fans: Fans) -> Initialiser:
    if place is Place.HIDDEN and (first := mirrored_layers(structure).get(layer.module)) is not None:
        return mirrored(layer, fans, slope_of(layer), first=first)
    chosen = initialiser_for(layer, place=place, before=activation_before(layer, structure.by_name()), fans=fans)
    return _spread(chosen, fans) if _reads_coordinates(layer, fans) else chosen


def _reads_coordinates(layer: Layer, fans: Fans) -> bool:
    """Say whether a layer makes features of a few numbers that the network is given, with biases of its own."""
    shifted = layer.torch_kind == "Linear" and bool(layer.bias) and not layer.normalised
    return shifted and layer.activation is not None and 0 < fans.forward <= COORDINATES and set(layer.inputs) == {INPUT}


def _spread(chosen: Initialiser, fans: Fans) -> Initialiser:
    """Return the initialiser with biases as torch draws them, which spread the kinks of the units over the inputs."""
    reason = f"{chosen.reason} It reads {fans.forward:g} number{'s' * (fans.forward > 1)}: biases of 0 would bend all units at the origin."
    return replace(chosen, bias=1 / math.sqrt(fans.forward), reason=reason)


def _embedding(layer: Layer, structure: Structure) -> Initialiser:
    tied = [x for x in structure.layers if layer.weight and x.weight == layer.weight and x.module != layer.module]
    if tied:
        reason = "It is tied to another layer: N(0, 1) would make the logits as large as sqrt(dimension)."
        return small_embedding(reason, max(x.fan_in for x in tied))
    reading = [x for x in structure.layers if x.transformer and x.fan_in]
    if structure.residuals and reading:
        # The first layer of the first block reads the stream that the embedding feeds.
        return small_embedding("It feeds the residual stream of a transformer.", reading[0].fan_in)
    return initialiser_for(layer, place=Place.EMBEDDING)


def _end(block: Block, layer: Layer, structure: Structure, fans: Fans, *, zero: bool) -> Initialiser:
    """Return the initialiser of the layer at the end of a residual branch."""
    if layer.transformer:
        reason = f"It writes into a stream of {block.blocks} additions, whose variances add up"
        if block.blocks == 1:
            reason = "It lies in a transformer block"
        return transformer(reason, fans, block.blocks)
    mixes = layer.role is Role.WEIGHT
    if mixes and block.scaled:
        fed_by = input_activation(layer, structure)
        gains = gains_around(fed_by)
        reason = "The forward scales the addition itself: the branch should have the variance of the skip."
        variance = math.nan if gains is None or not fans.forward else gains.forward / fans.forward
        return Initialiser("he_normal_", {"nonlinearity": fed_by}, variance, reason, RESCALED)
    if block.has_own_factor:
        # Where it starts at zero it stays so: that was chosen together with the factor.
        if zero:
            return Initialiser("", reason=OWN_FACTOR)
        place = Place.HIDDEN if mixes else Place.NORMALISATION
        return replace(_plain(layer, structure, place, fans), reason=OWN_FACTOR)
    chosen = initialiser_for(layer, place=Place.RESIDUAL_END)
    # The weight of a normalisation is a scale; its variance says nothing.
    return chosen if mixes else replace(chosen, variance=math.nan)


def input_activation(layer: Layer, structure: Structure) -> str:
    """Return the activation that a layer's input comes out of, ``"linear"`` if it comes out of none that is known."""
    known = structure.by_name()
    feeding = [known[name] for name in layer.inputs if name in known]
    if (
        len(feeding) != 1
        or not layer.direct
        or feeding[0].role is not Role.ACTIVATION
        or gains_around(feeding[0].kind) is None
    ):
        return "linear"
    return feeding[0].kind
