"""The seed of everything random in a case: its own, or one of the further ones that ``--seeds`` asks for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

APART = 1000
"""Between the seeds of one repetition and the next: no case has a seed as large."""

_repetition = [0]


def seed(number: int) -> None:
    """Seed torch with a case's own number, or with that of the repetition that is being made."""
    torch.manual_seed(number + APART * _repetition[0])


@contextmanager
def repetition(number: int) -> Iterator[None]:
    """Let :func:`seed` give other numbers inside; in repetition 0 they are the cases' own."""
    before = _repetition[0]
    _repetition[0] = number
    try:
        yield
    finally:
        _repetition[0] = before
