"""Compares what two trainings of a program gave, and what the monitor saw with what was counted by hand."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.clients.program import Expected

ENDS = 5
"""Steps at each end of a run whose median loss is compared."""


@dataclass(frozen=True)
class Verdict:
    """What is known about one program after its trainings.

    Attributes:
        losses, parameters: equal to the bit with and without the monitor.
        random: sources of random numbers whose state differs.
        repeatable: two trainings without the monitor are equal; else nothing follows from a difference.
        weights: rows of weight layers: found, counted by hand.
        missed, surplus: per pattern, how many rows are missing; rows of weight layers that were not counted.
        unknown: weight layers whose input is not known.
        wrong: hand-checked inputs that are not what the monitor says.
        residuals: found, counted by hand.
        foreign: rows that are not the network's.
        rows: all rows of the table.
        findings, unjustified: all findings; those of severity warning or critical without a reason in the program.
        fell: the loss at the end is below that at the start (medians).
        cost: CPU time with the monitor over CPU time without it.
        reachable: the user's own monitor has the findings that were shown.
        files, notices: what was stored, what the monitor said about itself.
    """

    losses: bool
    parameters: bool
    random: tuple[str, ...]
    repeatable: bool
    weights: tuple[int, int]
    missed: tuple[str, ...]
    surplus: tuple[str, ...]
    unknown: tuple[str, ...]
    wrong: tuple[str, ...]
    residuals: tuple[int, int]
    foreign: tuple[str, ...]
    rows: int
    findings: tuple[str, ...]
    unjustified: tuple[str, ...]
    fell: bool
    cost: float
    reachable: bool
    files: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def neutral(self) -> bool:
        """The monitor changed nothing."""
        return self.losses and self.parameters and not self.random

    @property
    def right(self) -> bool:
        """The structure is the one counted by hand."""
        counts = self.weights[0] == self.weights[1] and self.residuals[0] == self.residuals[1]
        return counts and not (self.missed or self.surplus or self.unknown or self.wrong or self.foreign)


def judge(
    plain: Mapping[str, Any], watched: Mapping[str, Any], again: Mapping[str, Any], expected: Expected
) -> Verdict:
    """Judge a program by a training without the monitor, one with it, and a second without (or the first once more)."""
    layers = watched["layers"]
    weights = [layer for layer in layers if layer["role"] == "weight"]
    claimed = Counter(_pattern(layer["module"], expected.weights) for layer in weights)
    missed = [
        f"{pattern}: {claimed[pattern]} of {count}"
        for pattern, count in expected.weights.items()
        if claimed[pattern] != count
    ]
    foreign = [
        layer["name"]
        for layer in layers
        if not _pattern(layer["module"], expected.weights)
        and all(_pattern(layer[key], expected.others) is None for key in ("module", "name"))
    ]
    inputs = {layer["name"]: tuple(layer["inputs"]) for layer in layers}
    wrong = [
        f"{name}: {', '.join(inputs[name]) or 'unknown'}, not {' or '.join(origins)}"
        for name, origins in expected.inputs.items()
        if name in inputs and not set(inputs[name]) & set(origins)
    ]
    losses = [float.fromhex(loss) for loss in watched["losses"]]
    findings = [
        f"{found['severity']} {found['code']} (step {found['step']}: {_several(found['layers'])})"
        for found in watched["findings"]
    ]
    return Verdict(
        losses=plain["losses"] == watched["losses"],
        parameters=plain["parameters"] == watched["parameters"],
        random=tuple(name for name, state in plain["random"].items() if watched["random"][name] != state),
        repeatable=same(plain, again),
        weights=(len(weights), sum(expected.weights.values())),
        missed=tuple(missed),
        surplus=tuple(layer["name"] for layer in weights if not _pattern(layer["module"], expected.weights)),
        unknown=tuple(layer["name"] for layer in weights if not layer["inputs"]),
        wrong=tuple(wrong),
        residuals=(len(watched["residuals"]), expected.residuals),
        foreign=tuple(foreign),
        rows=len(layers),
        findings=tuple(findings),
        unjustified=tuple(
            text
            for text, found in zip(findings, watched["findings"], strict=True)
            if found["severity"] != "info" and found["code"] not in expected.justified
        ),
        fell=statistics.median(losses[-ENDS:]) < statistics.median(losses[:ENDS]),
        cost=watched["seconds"] / min(plain["seconds"], again["seconds"]),
        reachable=watched["reachable"],
        files=tuple(watched["files"]),
        notices=tuple(watched["notices"]),
    )


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Say whether two trainings are equal to the bit."""
    return all(first[key] == second[key] for key in ("losses", "parameters", "random"))


def _pattern(module: str, patterns: Mapping[str, object] | tuple[str, ...]) -> str | None:
    """Return the first pattern that ``module`` matches; the empty pattern is the model itself."""
    return next((pattern for pattern in patterns if fnmatchcase(module, pattern.replace("[", "[[]"))), None)


def _several(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") if names else "no layer"
