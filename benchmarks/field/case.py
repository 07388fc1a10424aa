"""What a case is: a program with a mistake, the same program without it, and the right answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytorch_lightning as pl

    from benchmarks.field.remedy import Remedy

    Score = Callable[[pl.LightningModule, Iterable[Any]], float]

SEVERITIES = ("info", "warning", "critical")

CODES = frozenset(
    {
        "IM101", "IM102", "IM201", "IM202", "IM301", "IM302", "IM303", "IM304", "IM401", "IM402", "IM501", "IM502",
        "IM503", "IM601", "IM602", "IM603", "IM604", "IM701", "IM702", "IM703", "IM704", "IM801", "IM802",
    }
)  # fmt: skip
"""All codes that a rule has or will have."""

ABOUT_THE_LOSS = frozenset({"IM801", "IM802"})
"""That the loss stays or rises is true of a faulty run, so it may always be said along with the right answer."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a Trainer gets.

    Attributes:
        module: the LightningModule.
        loader: its training batches.
        options: of the Trainer, such as ``gradient_clip_val``.
    """

    module: pl.LightningModule
    loader: Iterable[Any]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The right answer to a program with a mistake; without codes it is silence.

    Attributes:
        codes: any of these names the fault.
        by: the latest step at which it must be said: an optimizer step, or a batch in manual optimisation.
        remedies: any of these kinds of remedy fixes it.
        severity: the lowest that is right.
        tolerated: codes that may be reported as severely, because they are true as well.
        layers: patterns of the layers at fault; empty where the fault has no place.
    """

    codes: frozenset[str] = frozenset()
    by: int = 0
    remedies: frozenset[Remedy] = frozenset()
    severity: str = "warning"
    tolerated: frozenset[str] = frozenset()
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = (self.codes | self.tolerated) - CODES
        if unknown:
            message = f"codes must be those of the rules, but these are not: {sorted(unknown)}."
            raise ValueError(message)
        if self.codes and not (self.remedies and self.by > 0 and self.severity in SEVERITIES[1:]):
            message = f"an answer of {sorted(self.codes)} needs remedies, a step (by) and a severity above info."
            raise ValueError(message)

    @property
    def silence(self) -> bool:
        """Nothing of the signal is wrong, so no warning is right."""
        return not self.codes


SILENCE = Answer()


@dataclass(frozen=True, slots=True)
class Case:
    """A program to be judged.

    Attributes:
        name: in lower case with underscores; unique.
        about: what the user did and saw, in a sentence or two.
        faulty: makes the program with the mistake, or the only one where nothing is wrong.
        fixed: makes it without the mistake; ``None`` where there is none.
        answer: the right answer to ``faulty``; ``None`` if it is not known here.
        steps: optimizer steps to train.
        seed: of everything random.
        score: how wrong the trained program is, lower is better; the loss at the end if ``None``.
        measured: that number of ``faulty`` and of ``fixed``, as it came out when the case was made.
    """

    name: str
    about: str
    faulty: Callable[[], Program]
    fixed: Callable[[], Program] | None = None
    answer: Answer | None = SILENCE
    steps: int = 150
    seed: int = 0
    score: Score | None = None
    measured: tuple[float, float] | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """All programs."""
        return ("faulty",) if self.fixed is None else ("faulty", "fixed")

    def make(self, version: str) -> Program:
        """Make one of the programs.

        Raises:
            ValueError: there is no such version.
        """
        if version not in self.versions:
            message = f"{self.name} has {' and '.join(self.versions)}, but not {version!r}."
            raise ValueError(message)
        return self.fixed() if version == "fixed" and self.fixed is not None else self.faulty()


def answer(
    codes: str,
    *remedies: Remedy,
    by: int,
    beside: str = "",
    severity: str = "warning",
    layers: tuple[str, ...] = (),
) -> Answer:
    """Write an answer down.

    Args:
        codes: of the findings that name the fault, separated by blanks.
        remedies: kinds that fix it.
        by: step at the latest.
        beside: codes that may be reported as well, separated by blanks; those about the loss always may.
        severity: the least.
        layers: patterns of the layers at fault.
    """
    wanted = frozenset(codes.split())
    return Answer(wanted, by, frozenset(remedies), severity, frozenset(beside.split()) | ABOUT_THE_LOSS, layers)
