"""Whether a forward that runs now is part of the training."""

from __future__ import annotations

import sys

import torch
from torch.utils.checkpoint import CheckpointFunction

_CHECKPOINTED = CheckpointFunction.forward.__code__


def is_training_signal() -> bool:
    """Return False for what runs without gradients (a teacher, a target network), but for a checkpoint's first pass.

    A reentrant activation checkpoint runs its forward without gradients first and again during backward. That first
    pass is the forward of the training; nothing but the calling frames tells it from the others.
    """
    if torch.is_grad_enabled():
        return True
    frame = sys._getframe(1)  # noqa: SLF001 - the stack has no other door
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is _CHECKPOINTED:
            return True
    return False
