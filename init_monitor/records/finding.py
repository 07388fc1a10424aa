"""What was found: a finding with its severity, and numbers that carry their unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from init_monitor.records.numbers import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

    from init_monitor.records.aim import Aim


class Severity(str, Enum):
    """How much a finding matters, by its consequence: ``info < warning < critical``.

    >>> Severity.INFO < Severity.CRITICAL, Severity.WARNING == "warning"
    (True, True)
    """

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for critical."""
        return ("info", "warning", "critical").index(self.value)

    def __lt__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank >= Severity(other).rank

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


class Figure(float):
    """A number with its unit, which still is a float.

    >>> growth = Figure(512.0, "× per layer")
    >>> growth * 2, str(growth)
    (1024.0, '512× per layer')
    """

    unit: str

    def __new__(cls, value: float, unit: str = "") -> Self:
        """Make a figure of ``value`` in ``unit`` (empty for a plain ratio)."""
        figure = super().__new__(cls, value)
        figure.unit = unit
        return figure

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        """Keep the unit through pickle and copy."""
        return float(self), self.unit

    def __str__(self) -> str:
        """The number as messages write it (:func:`~init_monitor.records.numbers.number`), and the unit."""
        return with_unit(float(self), self.unit)

    def __repr__(self) -> str:
        """Show value and unit."""
        return f"Figure({float(self)!r}, {self.unit!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Finding:
    """One thing that is wrong: what was measured, what should be, who is to blame, and what to change.

    Attributes:
        rule: name of the rule, for instance ``"exploding-activations"``.
        code: its stable code, for instance ``"IM101"``.
        severity: info, warning or critical.
        layers: qualified names of the layers (or parameters) at fault, in execution order.
        step: optimizer step of the record that showed it.
        message: the finding in one or two plain sentences.
        evidence: what was measured, by name, each with its unit.
        expected: what a healthy network shows for the same names.
        remedy: what to change, in a sentence; then, after a blank line, code to paste, where there is some.
        source: where the expectation comes from (paper, equation).
        aim: what the remedy brings about at step 0, as a number; ``None`` where its code does not change the network.
        places: ``layers`` as a person calls them (``"the ReLU called after `head`"``); empty where that is the same.
    """

    rule: str
    code: str
    severity: Severity
    layers: tuple[str, ...]
    step: int
    message: str
    evidence: Mapping[str, Figure] = field(default_factory=dict)
    expected: Mapping[str, Figure] = field(default_factory=dict)
    remedy: str = ""
    source: str = ""
    places: tuple[str, ...] = ()
    aim: Aim | None = None

    def __repr__(self) -> str:
        """Say what was found and where, in a line.

        >>> Finding("dead-relu", "IM301", Severity.WARNING, ("act.0", "act.1"), 3, "…")
        <IM301 dead-relu, warning at step 3 in act.0, act.1>
        """
        few = self.layers[:_FEW]
        where = ", ".join(few) + (f" and {len(self.layers) - len(few)} more" if len(self.layers) > len(few) else "")
        return f"<{self.code} {self.rule}, {self.severity} at step {self.step}{' in ' + where if few else ''}>"

    def _repr_html_(self) -> str:
        """Show the finding in a notebook."""
        from init_monitor.records.finding_html import finding_html  # noqa: PLC0415 - printing only

        return finding_html(self, styled=True)

    @property
    def shown_layers(self) -> tuple[str, ...]:
        """What a person calls the layers at fault."""
        return self.places or self.layers

    @property
    def remedy_sentence(self) -> str:
        """The remedy without its code."""
        return self.remedy.partition("\n\n")[0]

    @property
    def remedy_code(self) -> str:
        """The code to paste, or an empty string."""
        return self.remedy.partition("\n\n")[2]

    @property
    def takes_back(self) -> bool:
        """Whether it takes back a more severe finding of the same rule on the same layers: the run has left that behind."""
        return TAKEN_BACK in self.evidence


_FEW = 3
"""Layers that a ``repr`` names."""

TAKEN_BACK = "taken_back"
"""Evidence of a finding that takes an earlier one back: the step at which that was told."""


def settled(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without those that later ones took back, oldest first.

    >>> loud = Finding("saturation", "IM303", Severity.WARNING, ("net.0",), 0, "Saturated.")
    >>> back = Finding("saturation", "IM303", Severity.INFO, ("net.0",), 50, "Left behind.", {TAKEN_BACK: Figure(0)})
    >>> [finding.step for finding in settled([loud, back])]
    [50]
    """
    kept: list[Finding] = []
    for finding in findings:
        if finding.takes_back:
            kept = [one for one in kept if not (_same_case(one, finding) and one.severity > finding.severity)]
        kept.append(finding)
    return kept


def _same_case(one: Finding, other: Finding) -> bool:
    return one.code == other.code and set(one.layers) <= set(other.layers)
