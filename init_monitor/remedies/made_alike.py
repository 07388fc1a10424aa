"""The finding about an operation that gives every sample of a batch the same (IM702), and what to look for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.between_layers import passage_to
from init_monitor.records import Figure, Finding
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets
from init_monitor.remedies.faded_within import NOTHING
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from init_monitor.analysis.made_alike import MadeAlike
    from init_monitor.records import History, Severity

READ = "read_share"
"""Evidence of such a finding alone: what the layer before the place still tells apart."""


LOOK = """from init_monitor import check

record = check(model, batch).records[0]
for name, share in zip(record.names, record.column("between_sample_share")):
    print(f"{share:8.3g} of the variance lies between samples at {name}")
# in the forward, line by line, for what is handed over: print(x.float().flatten(1).std(0).max())"""
"""Shows where the samples become alike: 0 from there on."""


class _Rule(CitedRule, Protocol):
    @property
    def varies(self) -> float: ...


def finding(rule: _Rule, place: MadeAlike, severity: Severity, history: History) -> Finding:
    """Return the finding of ``rule`` about the place."""
    reads, layer, attention = place.reads.shown, place.layer.shown, place.attention
    mask = "an attention mask that hides all that differs (in key_padding_mask, True is a position to be ignored)"
    also, first = "", ""
    if attention is not None:
        also = f" {attention.shown} gives every sample the same, too, whatever it reads: it attends to nothing that differs."
        first = f"Look at the mask of {attention.shown}: {mask}. Else "
    passage = passage_to(place.layer, history.last)
    if passage is not None and passage.factor <= NOTHING:
        also += f" What {layer} receives is {phrases.number(math.sqrt(passage.factor))} of what {reads} gives: next to nothing."
        first += (
            "Look for an exponential of large negative numbers there (units that are far from every sample), and bring what it takes near 0,"
            " or divide by the sum over the units. Else "
        )
    if place.codebook is not None:
        codes = place.codebook.shown
        spread = math.sqrt(max(0.0, history.last.layer_table.at(place.reads.name, Quantity.VARIANCE)))
        also += f" {codes} gives the same entry for every sample, too."
        first += (
            f"Look at {codes}: one of its entries is the nearest for every sample. Initialise them within what they stand for"
            f" ({reads} gives a standard deviation of {phrases.number(spread)}), so that different samples find different ones. Else "
        )
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=severity,
        layers=(place.layer.name, *(() if place.codebook is None else (place.codebook.name,))),
        step=history.last.step,
        message=(
            f"Every sample of the batch gives the same output: {reads} still tells the samples apart"
            f" ({phrases.number(place.share)} of its variance lies between them), {layer}, which reads it, no longer does. No"
            f" weight does that so exactly: an operation between the two does.{also}"
        ),
        evidence={
            "between_sample_share": Figure(place.left, f"of the variance, at {layer}"),
            READ: Figure(place.share, f"of the variance, at {reads}"),
        },
        expected={"between_sample_share": Figure(rule.varies, "of the variance, or more")},
        remedy=snippets.advice(
            f"{first}{'look' if first else 'Look'} at what stands between {reads} and {layer}: a mean, a softmax or a normalisation"
            " over dimension 0, which is the batch (dim=1 is meant, as a rule); an index to a token or a time step that has not"
            f" seen the rest; {'' if first else mask + '; '}a factor of 0. The weights have no part in it.",
            LOOK,
        ),
        source=rule.source,
    )
