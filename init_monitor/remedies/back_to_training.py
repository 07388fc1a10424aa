"""What to do first where normalisations run in eval mode while the network trains, and do not normalise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis import paths
from init_monitor.analysis.running_norms import unfit_running
from init_monitor.records import Severity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from init_monitor.records import Finding, History

NORMALISED = frozenset(
    {
        "IM101",
        "IM102",
        "IM201",
        "IM202",
        "IM301",
        "IM302",
        "IM303",
        "IM401",
        "IM502",
        "IM604",
        "IM702",
        "IM703",
        "IM801",
    }
)
"""Codes of what a normalisation prevents: a signal or a gradient that grows, fades or drowns, and a loss that stands by it."""

CODE = "model.train()  # before the training; Lightning keeps a mode that was set by eval()"


def with_training_mode(finding: Finding, history: History) -> Finding:
    """Return the finding with the normalisations that run in eval mode put first; as it is where they are not the cause."""
    if finding.severity is Severity.INFO or finding.code not in NORMALISED:
        return finding
    # What fitted at first and no longer does was led away by the training, which has a cause of its own.
    first, running = (unfit_running(record, history.structure) for record in (history.records[0], history.last))
    if first is None or running is None:
        return finding
    names = [layer.name for layer in running.layers]
    along = paths.behind(finding.layers, history.structure) | paths.before(finding.layers, history.structure)
    if finding.layers and not along.intersection(names):
        return finding
    count = phrases.count(len(names), "normalisation")
    sentence, _, _ = finding.remedy.partition("\n\n")
    begin = (
        f"Call model.train(): {count} ({running.worst.torch_kind}) of this network {'runs' if len(names) == 1 else 'run'} in eval mode and"
        f" {'goes' if len(names) == 1 else 'go'} by a running mean and variance that do not fit and are not updated. The output of"
        f" {running.worst.shown} has a variance of {phrases.number(running.variance)}, where its weight asks for"
        f" {phrases.number(running.scale)}. If they are to stay as they are: "
    )
    return replace(finding, remedy=snippets.advice(f"{begin}{sentence[:1].lower()}{sentence[1:]}", CODE))
