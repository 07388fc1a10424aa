"""What the targets of a batch are: classes, numbers, or not known."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from torch import Tensor


class Targets(Enum):
    """Kind of what a network is to answer."""

    CLASSES = "classes"
    NUMBERS = "numbers"
    UNKNOWN = "unknown"


def targets_of(batch: object) -> Targets:
    """Return the kind of the targets of a batch as ``recommend`` takes it.

    Whole numbers are classes, and so are floating targets that are all 0 or 1, as a binary cross-entropy takes them.

    >>> import torch
    >>> targets_of((torch.zeros(2, 3), torch.tensor([0, 4])))
    <Targets.CLASSES: 'classes'>
    >>> targets_of((torch.zeros(2, 3), torch.tensor([0.5, 4.0])))
    <Targets.NUMBERS: 'numbers'>
    >>> targets_of(torch.zeros(2, 3))
    <Targets.UNKNOWN: 'unknown'>
    """
    if isinstance(batch, Mapping):
        targets = batch.get("labels")
    else:
        targets = batch[1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None
    if not isinstance(targets, Tensor) or targets.is_complex():
        return Targets.UNKNOWN
    whole = not targets.is_floating_point() or bool(((targets == 0) | (targets == 1)).all())
    return Targets.CLASSES if whole else Targets.NUMBERS
