"""torch-audit, as its page shows it for a loop: ``autopatch``, with its reporter."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from torch_audit import autopatch
from torch_audit.reporters.console import ConsoleReporter

from benchmarks.peers.loops import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor, nn, optim


@contextlib.contextmanager
def audited(
    model: nn.Module, optimizer: optim.Optimizer, _: Tensor
) -> Iterator[Callable[[int], AbstractContextManager[None]]]:
    """Audit every step."""
    with contextlib.redirect_stdout(io.StringIO()):
        auditor = autopatch(model, optimizer=optimizer, every_n_steps=1, reporters=[ConsoleReporter()])
        yield lambda _step: contextlib.nullcontext()
        auditor.finish(report=True)
        auditor.unpatch()


def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:  # noqa: ARG001 - it has none
    """Train."""
    return plain(network, steps, audited) if watched else plain(network, steps)
