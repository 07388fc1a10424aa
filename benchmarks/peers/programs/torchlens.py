"""torchlens: its monitor of trainings, with all the signals that it has for every module and parameter."""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING, Any

from torchlens.trackers import TensorBoardSink, watch

from benchmarks.peers.loops import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn, optim

SIGNALS = ("parameters", "gradients", "updates", "activations")


@contextlib.contextmanager
def tracked(model: nn.Module, optimizer: optim.Optimizer, batch: Tensor) -> Iterator[Callable[[int], Any]]:
    """Watch every step, and write to an event file."""
    everything = [name for name, _ in model.named_children()]
    with tempfile.TemporaryDirectory() as directory:
        session = watch(
            model, to=TensorBoardSink(directory), signals=SIGNALS, select=everything, optimizer=optimizer, every=1,
            example_input=batch,
        )  # fmt: skip
        with session:
            yield session.step


def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:  # noqa: ARG001 - it has none
    """Train."""
    return plain(network, steps, tracked) if watched else plain(network, steps)
