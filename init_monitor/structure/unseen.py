"""Measuring out of sight: no mode of the user's may count, keep or change what is computed in here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.utils._python_dispatch import _disable_current_modes

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def unseen() -> Iterator[None]:
    """Compute without gradients and out of sight of every mode that is on, of torch functions and of dispatch.

    A selective activation checkpoint keeps the results of operations in the order in which they ran, and hands them out
    in that order when it recomputes: one operation too many, and each later one gets the result of another.
    """
    # The public way to switch torch functions off leaves modes on; and they would see gradients being switched off.
    with torch._C.DisableTorchFunction(), torch.no_grad():  # noqa: SLF001
        if not torch._C._len_torch_dispatch_stack():  # noqa: SLF001 - asked first, as it is quicker than to switch none off
            yield
            return
        with _disable_current_modes():
            yield
