"""Where the samples of a batch become exactly alike, although what is read there differs between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.lost_samples import ends_of
from init_monitor.analysis.sample_shares import SAME
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure


DROWNED = 100.0
"""What the weights alone leave of the differences, over :data:`SAME`, below which the biases may have drowned them by themselves."""


class MadeAlike(NamedTuple):
    """A place between two layers that leaves nothing of the differences between samples.

    Attributes:
        layer: the first layer whose output is the same for every sample.
        reads: the layer before it, whose output is not.
        share: of the variance of what ``reads`` gives that lies between samples.
        left: the same of ``layer``.
        attention: an attention that gives every sample the same, too, though what it reads differs; ``None`` if there is none.
        codebook: an embedding that gives the same, too, and that no layer is seen to read: its entries are put in the place of what
            ``reads`` gives, past the graph (a straight-through estimate).
    """

    layer: Layer
    reads: Layer
    share: float
    left: float
    attention: Layer | None = None
    codebook: Layer | None = None


def made_alike(record: StepRecord, structure: Structure, varies: float) -> MadeAlike | None:
    """Return the place that makes all outputs of the network the same for every sample; ``None`` if there is no one place.

    A weight that is too small lessens the differences and a bias drowns them; both leave more than rounding. What leaves none
    is no weight: a mean over the batch, an index to what has not seen the sample, a mask that hides all that differs.

    Args:
        record: what was measured.
        structure: the network.
        varies: share of the variance from which what is read differs between samples.
    """
    shares = record.layer_table.by_name(Quantity.BETWEEN_SAMPLE_SHARE)
    ends = [layer for layer in ends_of(structure) if layer.weight]
    if not ends or not all(shares.get(layer.name, 1.0) <= SAME for layer in ends):
        return None
    first = _place(ends[-1], record, structure, varies)
    if first is None:
        return None
    # What ran before the place does not come behind it: entries of a codebook that are looked up.
    before = [layer for layer in ends if layer.depth < first.layer.depth]
    places = [_place(layer, record, structure, varies) for layer in ends if layer not in before]
    if not all(place is not None and place.reads is first.reads for place in places):
        return None
    if any("Embedding" not in layer.kind for layer in before):
        return None
    blind = (one for one in structure.layers if "Attention" in one.kind and shares.get(one.name, 1.0) <= SAME)
    reading = (one for one in blind if any(shares.get(name, 0.0) >= varies for name in one.inputs))
    return first._replace(attention=next(reading, None), codebook=next(iter(before), None))


def _place(end: Layer, record: StepRecord, structure: Structure, varies: float) -> MadeAlike | None:
    """Follow an output back to the first layer that reads what still differs between samples."""
    shares = record.layer_table.by_name(Quantity.BETWEEN_SAMPLE_SHARE)
    known, seen, waiting = structure.by_name(), {end.name}, [end]
    while waiting:
        layer = waiting.pop()
        for before in (known[name] for name in layer.inputs if name in known and name not in seen):
            seen.add(before.name)
            share = shares.get(before.name, 0.0)
            if share >= varies:
                place = MadeAlike(layer, before, share, shares.get(layer.name, 0.0))
                return None if _drowns(place, record) else place
            if share <= SAME:
                waiting.append(before)
    return None


def _drowns(place: MadeAlike, record: StepRecord) -> bool:
    """Say whether what is read has faded so far that a bias leaves nothing of it: then a weight does that, too."""
    table, name = record.layer_table, place.layer.name
    differs = place.share * table.at(place.reads.name, Quantity.VARIANCE) * table.at(name, Quantity.EXPECTED_GAIN)
    return differs < DROWNED * SAME * table.at(name, Quantity.MEAN_SQUARE)
