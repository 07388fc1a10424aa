"""A finding whose sentences name layers as a person does: "the ReLU called after `head`", not "/relu#1"."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from init_monitor.analysis.activations import key_of
from init_monitor.records import Figure
from init_monitor.records.once import once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Finding, Structure

_CALL = re.compile(
    r"(?P<article>\b[Tt]he )?"
    r"(?P<name>[^\s,;:()`'\"]*/(?P<function>\w+)(?:#\d+)?(?:\[[^\]]*\])*)"
    r"(?P<kind> \((?P<class>\w+)\))?"
)
"""The tap name of a function (``decoder/leaky_relu#2``) in a sentence, and the class that some messages put behind it."""


def spoken(finding: Finding, structure: Structure) -> Finding:
    """Return the finding with readable layer names in its sentences, its ``layers`` as they are; the same one if none change."""
    called = _called(structure)
    if not called:
        return finding
    sentence, blank, code = finding.remedy.partition("\n\n")
    places = tuple(called.get(name, name) for name in finding.layers)
    return replace(
        finding,
        message=_in_words(finding.message, called),
        evidence=_figures(finding.evidence, called),
        expected=_figures(finding.expected, called),
        remedy=_in_words(sentence, called) + blank + code,
        places=() if places == finding.layers else places,
    )


@once
def _called(structure: Structure) -> Mapping[str, str]:
    """Return readable names for those layers whose tap names are not."""
    return MappingProxyType({layer.name: layer.shown for layer in structure.layers if layer.shown != layer.name})


def _in_words(text: str, called: Mapping[str, str]) -> str:
    def words(found: re.Match[str]) -> str:
        shown = called.get(found["name"])
        if shown is None:
            return found[0]
        begins = not found.start() or text[: found.start()].endswith((". ", "\n"))
        kind = found["kind"] or ""
        # "the ReLU called after `head` (ReLU)" says it twice.
        kind = "" if key_of(found["class"] or "") == key_of(found["function"]) else kind
        return (shown[:1].upper() + shown[1:] if begins else shown) + kind

    return _CALL.sub(words, text) if "/" in text else text


def _figures(figures: Mapping[str, Figure], called: Mapping[str, str]) -> Mapping[str, Figure]:
    # A custom rule may give plain numbers.
    return {name: Figure(figure, _in_words(getattr(figure, "unit", ""), called)) for name, figure in figures.items()}
