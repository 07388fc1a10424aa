"""What a finding about initial weights says of a network that was trained before: nothing that would draw them anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.running_norms import unfit_running
from init_monitor.analysis.trained_before import trained_layers, was_trained
from init_monitor.records import Severity

if TYPE_CHECKING:
    from init_monitor.records import Finding, History

DRAWS = ("nn.init.", "recipes.")
"""What code that writes new weights calls."""

MOST = 0.5
"""Part of the layers that a finding names which have to be trained ones."""

REMEDY = (
    "Keep these weights: the scales and shifts of the normalisations show that the network was trained before, and drawing them anew would"
    " lose that. If they should be new, load no checkpoint."
)


def kept_as_trained(finding: Finding, history: History) -> Finding:
    """Return a finding whose remedy would draw weights anew as information, where these were trained before; any other as it is.

    Not where most of the layers it names are new, as a head is; nor where normalisations run with statistics that do not fit:
    that is a cause of its own, whatever the weights.
    """
    code = finding.remedy.partition("\n\n")[2]
    if finding.severity is Severity.INFO or not any(one in code for one in DRAWS):
        return finding
    first = history.records[0]
    if (
        first.step > 0
        or not was_trained(first, history.structure)
        or unfit_running(history.last, history.structure) is not None
    ):
        return finding
    if trained_layers(finding.layers, first, history.structure) < MOST:
        return finding
    return replace(finding, severity=Severity.INFO, remedy=REMEDY, aim=None)
