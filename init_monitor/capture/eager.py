"""Eager mode for sampled steps: a compiled graph would skip the hooks in silence."""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakSet

import torch


class EagerMode:
    """Keeps compiled graphs from running while anybody asks for it; the process has one setting for all.

    Several monitors may share a training, and their steps do not end in the reverse order of their begins: each that
    restored what it had found would leave behind what another had set. What the user sets in between stays, too.
    """

    def __init__(self) -> None:
        """Leave things as they are."""
        self._holders: WeakSet[object] = WeakSet()
        self._stance: Any = None

    def hold(self, holder: object) -> None:
        """Switch to eager mode, until every holder has released it."""
        # Nothing can be compiled before dynamo is imported.
        if "torch._dynamo" not in sys.modules:
            return
        self._holders.add(holder)
        stance = torch.compiler.set_stance("force_eager")
        if self._stance is not None and stance.prev is self._stance.stance:
            stance.__exit__(None, None, None)
        else:
            self._stance = stance

    def release(self, holder: object) -> None:
        """Go back to what was before, if no other holder is left."""
        self._holders.discard(holder)
        if self._holders or self._stance is None:
            return
        ours, self._stance = self._stance, None
        found = torch.compiler.set_stance("force_eager")
        last = ours if found.prev is ours.stance else found
        last.__exit__(None, None, None)


EAGER = EagerMode()
"""That of this process."""
