"""How several processes merge a step, as questions to whatever transports them.

Who runs it sends back the answers: torch.distributed in a training, a list of all processes in a test. Every process asks
the same questions in the same order, whatever happened on it, since what comes next follows from the answers. The
arrays are as long as the network has layers and units, however many processes there are.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from init_monitor.capture.catalogue import Catalogue, Sizes
from init_monitor.capture.share import (
    MOST_LOSSES,
    averaged,
    deviations,
    mean_of,
    nothing,
    packed,
    unpacked,
    with_losses,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from init_monitor.capture.share import Numbers, Share, Together
    from init_monitor.records import LossStretch


class How(Enum):
    """How the arrays of all processes are combined: into one of their size, or (gathered) all of them."""

    SUM = "sum"
    LARGEST = "largest"
    ANY_BIT = "any bit"
    ALL = "all"
    FROM_ONE = "from one"


class Question(NamedTuple):
    """An array, and how it is combined; ``source`` says whose counts, where it comes from one process."""

    how: How
    array: NDArray[Any]
    source: int = 0


Asking = Generator[Sequence[Question], Sequence[Any], Any]
"""Asks questions, several at once where they do not depend on one another; is sent the answers."""

NOBODY = -(1 << 62)
"""Smaller than whatever a process says in a maximum."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step put together.

    Attributes:
        judge: the first process that has something to tell: it judges for all. ``None`` if none has.
        catalogue: what is in the arrays; ``None`` where this process does not know.
        first, steps: the optimizer steps whose losses are in it.
        sums, squares, extremes, signs: of all processes.
        error: why this process could not take its part.
        alike: all processes that have something to tell executed the same.
    """

    judge: int | None
    catalogue: Catalogue | None
    first: int
    steps: int
    sums: Numbers
    squares: Numbers
    extremes: Numbers
    signs: NDArray[np.uint8]
    error: Exception | None = None
    alike: bool = True

    def losses(self) -> LossStretch:
        """Return the losses of the steps since the record before."""
        return averaged(self.sums, self.first, self.steps)

    def together(self) -> Together:
        """Return what was measured.

        Raises:
            Exception: what kept this process from taking its part.
        """
        if self.error is not None or self.catalogue is None:
            raise self.error or LookupError("what the processes measured is not known here")
        return unpacked(self.catalogue, self.sums, self.squares, self.extremes, self.signs)


class _Agreed(NamedTuple):
    """The first answers that all processes have.

    Attributes:
        judge: see :class:`Outcome`.
        same: all that have something to tell propose the same catalogue.
        alike: see :class:`Outcome`.
        sizes: of it.
        longest: bytes of the longest catalogue of a process, encoded.
        first, steps: the optimizer steps whose losses are known to any.
    """

    judge: int | None
    same: bool
    alike: bool
    sizes: Sizes
    longest: int
    first: int
    steps: int


def exchange(rank: int, known: Catalogue | None, share: Share | None, losses: LossStretch) -> Asking:
    """Put a step together.

    Args:
        rank: number of this process.
        known: the catalogue of the step before.
        share: what this process measured; ``None`` if it has nothing to tell. It takes part anyway.
        losses: of the optimizer steps since the record before, in this process.

    Returns:
        An :class:`Outcome`.
    """
    proposed = None
    if share is not None:
        # A known catalogue that covers everything is kept, so that layers that run only at times do not change it.
        proposed = known if known is not None and known.covers(share.catalogue) else share.catalogue
    (heard,) = yield [Question(How.LARGEST, _said(rank, proposed, share, losses))]
    agreed = _agreed(heard)
    catalogue, sizes = proposed, agreed.sizes
    if not agreed.same:
        own = b"" if share is None else share.catalogue.encoded
        letter = np.zeros(agreed.longest, np.uint8)
        letter[: len(own)] = np.frombuffer(own, np.uint8)
        (letters,) = yield [Question(How.ALL, letter)]
        catalogue = Catalogue.union([Catalogue.decoded(one.tobytes()) for one in letters if one.any()])
        sizes = catalogue.sizes
    parcel, error = nothing(sizes, 0), None
    if share is not None and catalogue is not None:
        try:
            parcel = packed(share, catalogue, rank)
        except Exception as raised:  # noqa: BLE001 - the others wait for it to go on, whatever happened here
            error = raised
    mine = with_losses(parcel.sums, losses, agreed.first, agreed.steps)
    answers = yield [
        Question(How.SUM, mine),
        Question(How.LARGEST, parcel.extremes),
        Question(How.ANY_BIT, parcel.signs),
    ]
    sums, extremes, signs = answers
    (squares,) = yield [Question(How.SUM, deviations(parcel, mean_of(sums, sizes.rows)))]
    return Outcome(
        agreed.judge, catalogue, agreed.first, agreed.steps, sums, squares, extremes, signs, error, agreed.alike
    )


def letters(own: bytes) -> Asking:
    """Return what every process wrote, in their order; nothing of one that has nothing to say."""
    (length,) = yield [Question(How.LARGEST, np.array([len(own)], np.int64))]
    letter = np.zeros(8 + int(length[0]), np.uint8)
    letter[: 8 + len(own)] = np.frombuffer(len(own).to_bytes(8, "little") + own, np.uint8)
    (heard,) = yield [Question(How.ALL, letter)]
    packed_ones = [one.tobytes() for one in heard]
    return [one[8 : 8 + int.from_bytes(one[:8], "little")] for one in packed_ones]


def verdict(judge: int, said: bytes) -> Asking:
    """Return what the process that judges says, as bytes; the others' ``said`` is not looked at."""
    (length,) = yield [Question(How.FROM_ONE, np.array([len(said)], np.int64), judge)]
    if not length[0]:
        return b""
    letter = np.zeros(int(length[0]), np.uint8)
    if len(said) == len(letter):
        letter[:] = np.frombuffer(said, np.uint8)
    (heard,) = yield [Question(How.FROM_ONE, letter, judge)]
    return heard.tobytes()


def _said(rank: int, proposed: Catalogue | None, share: Share | None, losses: LossStretch) -> NDArray[np.int64]:
    first, last = (-int(losses.steps[0]), int(losses.steps[-1])) if len(losses) else (NOBODY, NOBODY)
    if proposed is None or share is None:
        return np.array([*[NOBODY] * 5, *[0] * len(Sizes()), 0, first, last], np.int64)
    digests = proposed.digest, -proposed.digest, share.ties, -share.ties
    return np.array([-rank, *digests, *proposed.sizes, len(share.catalogue.encoded), first, last], np.int64)


def _agreed(heard: NDArray[np.int64]) -> _Agreed:
    judge, digest, opposite, ties, untied, *numbers = heard.tolist()
    *sizes, longest, first, last = numbers
    known = last > NOBODY
    steps = min(last + first + 1, MOST_LOSSES) if known else 0
    return _Agreed(
        judge=None if judge == NOBODY else -judge,
        same=judge == NOBODY or digest == -opposite,
        alike=judge == NOBODY or ties == -untied,
        sizes=Sizes(*sizes),
        longest=longest,
        first=last - steps + 1 if known else 0,
        steps=steps,
    )
