"""A step as all processes of a training tell it: once what each measured, and once more where they executed other things."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from init_monitor.capture.heard import Executed, Heard
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from init_monitor.capture.capture import Capture
    from init_monitor.capture.measured import Measured
    from init_monitor.capture.ranks import Ranks
    from init_monitor.capture.share import Share
    from init_monitor.records import LossStretch


def hear(
    ranks: Ranks,
    share: Share | None,
    losses: LossStretch,
    own: tuple[Capture | None, Measured | None],
    guard: Callable[[str], AbstractContextManager[object]],
) -> Heard | None:
    """Exchange a step with the other processes; ``None`` if there are none.

    Unconditional: all processes come here at the same steps, and do the same in here, whatever happened on each.

    Args:
        ranks: the processes.
        share: what this one measured; ``None`` if it has nothing to tell.
        losses: of the optimizer steps since the record before.
        own: what this one measured with, and what.
        guard: keeps what fails in here from the training.
    """
    outcome = ranks.put_together(share, losses)
    if outcome is None or outcome.alike:
        return None if outcome is None else Heard(outcome)
    capture, measured = own
    told, resolved = b"", None
    if capture is not None and measured is not None and share is not None:
        with guard("telling what ran"), unseen():
            execution, resolved = capture.executed(measured)
            told = pickle.dumps(execution)
    found = ranks.put_executions_together(resolved, told)
    return Heard(outcome, None if found is None else Executed([one for one in found[1] if one], found[0]))
