"""Which steps are measured: every step of the dense start, then one in ``every_n_steps``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which optimizer steps are sampled.

    Attributes:
        dense_steps: the first steps are all sampled, because initialisation shows there.
        every_n_steps: after them, one step in this many.

    >>> schedule = Schedule(dense_steps=2, every_n_steps=10)
    >>> [step for step in range(25) if schedule.is_due(step, previous=step - 1)]
    [0, 1, 10, 20]
    """

    dense_steps: int
    every_n_steps: int

    def is_due(self, step: int, previous: int) -> bool:
        """Say whether ``step`` is sampled.

        The axis may skip a multiple of ``every_n_steps`` (several batches per optimizer step, a resumed run),
        so the question is whether one lies in ``(previous, step]``.

        Args:
            step: the step about to run, from 0.
            previous: the step that ran before it; -1 if none did.
        """
        return step < self.dense_steps or step // self.every_n_steps > previous // self.every_n_steps


LONGEST_STEP = 256
"""Batches that one optimizer step may take in manual optimisation. Without a limit, a program that never steps, or
steps an optimizer that the Trainer does not know, would be measured at every batch, because no step ever ends."""


class Patience:
    """Counts the batches of a sampled step that ended without a step of an optimizer.

    Attributes:
        batches: so many so far.
    """

    NOTICE = (
        f"{LONGEST_STEP} batches passed without a step of an optimizer that the Trainer knows, so they are not measured."
        " Return the optimizer from configure_optimizers, and step the one from self.optimizers()."
    )

    def __init__(self) -> None:
        self.batches = 0

    def renew(self) -> None:
        """Start counting again, at the beginning of a sampled step."""
        self.batches = 0

    def ends(self) -> bool:
        """Count one more, and say whether there are too many."""
        self.batches += 1
        return self.batches >= LONGEST_STEP

    @property
    def is_half_way(self) -> bool:
        """Whether half of them have passed: more than gradients are accumulated over."""
        return self.batches == LONGEST_STEP // 2
