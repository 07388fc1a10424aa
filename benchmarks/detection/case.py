"""The types of the benchmark: a case is one seeded training with a label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytorch_lightning as pl
    from torch.utils.data import DataLoader


@dataclass(frozen=True, slots=True)
class Training:
    """What a case trains.

    Attributes:
        module: a LightningModule whose attribute ``losses`` is a list of the training loss of every batch so far.
        loader: its training data; a loop over it is shorter than the training or not.
        options: further arguments of the ``Trainer`` (``accumulate_grad_batches``, ``precision``, …).
    """

    module: pl.LightningModule
    loader: DataLoader[Any]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence, without the monitor, that a label is right.

    Attributes:
        holds: the label is verified.
        figure: what was measured, in words, with its numbers.
    """

    holds: bool
    figure: str


@dataclass(frozen=True, slots=True)
class Case:
    """One training with a label.

    Attributes:
        name: unique, ``architecture/fault`` or ``architecture/healthy-what``.
        architecture: what the tuning and the validation half are split by.
        make: makes the training, the same one at every call (it seeds itself).
        fault: what is wrong, empty for a healthy run.
        symptoms: codes of the rules that name this fault, fixed before the monitor is run on it.
        culprits: fnmatch patterns on the qualified names of the modules (or parameters, or residual additions) at
            fault; empty where the fault has no place (a learning rate).
        twin: name of the healthy case it differs from in one thing, empty for a healthy run.
        steps: batches to train for.
        pathology: measures the fault itself on a training that has just been run without the monitor; ``None`` where a
            loss worse than the twin's is the proof.
        seed: which repetition of the case it is; see :mod:`benchmarks.detection.variation`.
    """

    name: str
    architecture: str
    make: Callable[[], Training]
    fault: str = ""
    symptoms: frozenset[str] = frozenset()
    culprits: tuple[str, ...] = ()
    twin: str = ""
    steps: int = 120
    pathology: Callable[[Training], Evidence] | None = None
    seed: int = 0

    @property
    def healthy(self) -> bool:
        """Nothing is wrong with it."""
        return not self.fault
