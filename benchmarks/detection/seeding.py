"""The seed of everything random in a case: its own, or one of the further ones that ``--seeds`` asks for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

APART = 1000
"""Between the seeds of one repetition and the next: no case has a seed as large."""

DRAWN_APART = 100 * APART
"""Between the seeds of one draw of a start and the next: no repetition has a seed as large."""

_repetition = [0]
_draw = [0]


def seed(number: int) -> None:
    """Seed torch with a case's own number, or with that of the repetition, and of the draw, that is being made."""
    torch.manual_seed(number + APART * _repetition[0] + DRAWN_APART * _draw[0])


def repetition(number: int) -> AbstractContextManager[None]:
    """Let :func:`seed` give other numbers inside; in repetition 0 they are the cases' own."""
    return _set(_repetition, number)


def drawn(number: int) -> AbstractContextManager[None]:
    """Let networks begin from other random numbers inside, on the same batches; draw 0 is the case itself."""
    return _set(_draw, number)


@contextmanager
def _set(place: list[int], number: int) -> Iterator[None]:
    before = place[0]
    place[0] = number
    try:
        yield
    finally:
        place[0] = before
