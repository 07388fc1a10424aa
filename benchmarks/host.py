"""What the monitor's own Python costs per layer and measured step, by part, and how it grows with the layers.

Part of :mod:`benchmarks.cost`. A whole ``Trainer.fit`` on tensors so small that their arithmetic does not matter, every step
measured, with the default rules and sinks, in lockstep with the same fit unwatched. CPU time of one thread, so that a busy
machine does not matter much; medians over the steps after the first two.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.lockstep import in_turns
from init_monitor import InitMonitor
from init_monitor.capture.capture import Capture
from init_monitor.capture.forward_probe import ForwardProbe
from init_monitor.capture.hooks import LayerHooks
from init_monitor.capture.parameters import ParameterTaps
from init_monitor.rules.engine import Engine
from init_monitor.sinks.broadcast import Broadcast

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, BATCH, WARM = 4, 8, 2

PARTS: dict[str, list[tuple[type, str]]] = {
    "rules": [(Engine, "judge")],
    "record": [(Capture, "record")],
    "sinks": [(Broadcast, "emit")],
    "parameters": [(ParameterTaps, "before_step"), (ParameterTaps, "after_step")],
    "attach": [(LayerHooks, "attach"), (LayerHooks, "detach"), (ForwardProbe, "enter"), (ForwardProbe, "leave")],
    "merge": [(Capture, "end_backward"), (Capture, "close_step")],
}
"""Methods that are timed; the rest of a measured step is spent in the hooks and the probe."""


class Block(nn.Module):
    """Two layers and an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(WIDTH, WIDTH), nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x plus the layers' output for x."""
        output: torch.Tensor = x + self.act(self.linear(x))
        return output


class Clock(pl.Callback):
    """Takes the CPU time of every batch, and of the parts within it."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.parts: dict[str, float] = defaultdict(float)
        self._begin = 0.0

    def on_train_batch_start(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's arguments
        """Begin."""
        self.parts.clear()
        self._begin = time.thread_time()

    def finish(self) -> None:
        """End a step."""
        self.steps.append({"step": time.thread_time() - self._begin, **self.parts})


class Last(pl.Callback):
    """Runs last, after every other callback has ended the batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401
        """End."""
        self._clock.finish()


class Deep(pl.LightningModule):
    """A stack of blocks."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.net = nn.Sequential(*(Block() for _ in range(layers // 2)))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Regress."""
        loss: torch.Tensor = (self.net(batch[0]) - batch[1]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.001)


@contextlib.contextmanager
def timed(clock: Clock) -> Iterator[None]:
    """Take the time of every part; a method inside another of these counts for the inner one."""
    originals = {(owner, name): getattr(owner, name) for methods in PARTS.values() for owner, name in methods}
    inside: list[float] = []

    def wrapped(part: str, method: Any) -> Any:  # noqa: ANN401
        def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            begin = time.thread_time()
            inside.append(0.0)
            try:
                return method(*args, **kwargs)
            finally:
                spent = time.thread_time() - begin
                clock.parts[part] += spent - inside.pop()
                if inside:
                    inside[-1] += spent

        return run

    for part, methods in PARTS.items():
        for owner, name in methods:
            setattr(owner, name, wrapped(part, originals[owner, name]))
    try:
        yield
    finally:
        for (owner, name), method in originals.items():
            setattr(owner, name, method)


def train(layers: int, steps: int, clock: Clock, monitors: list[InitMonitor], first: pl.Callback) -> None:
    """Train once."""
    torch.manual_seed(0)
    data = TensorDataset(*(torch.randn(BATCH * steps, WIDTH) for _ in range(2)))
    with tempfile.TemporaryDirectory() as directory:
        trainer = pl.Trainer(
            max_steps=steps, accelerator="cpu", logger=TensorBoardLogger(directory), default_root_dir=directory,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=10**6,
            callbacks=[first, clock, *monitors, Last(clock)],
        )  # fmt: skip
        trainer.fit(Deep(layers), DataLoader(data, batch_size=BATCH))


SECOND = "all, in the second measured step"


def measured(layers: int, steps: int) -> dict[str, float]:
    """Return milliseconds per layer and measured step, by part."""
    plain, watched = Clock(), Clock()
    monitor = InitMonitor(dense_steps=steps, max_layers=max(512, layers))
    with timed(watched):
        in_turns(
            {
                "plain": partial(train, layers, steps, plain, []),
                "watched": partial(train, layers, steps, watched, [monitor]),
            }
        )
    unwatched = statistics.median(step["step"] for step in plain.steps[WARM:])
    seen = {part: statistics.median(step.get(part, 0.0) for step in watched.steps[WARM:]) for part in ("step", *PARTS)}
    total, scale = seen["step"] - unwatched, 1e3 / layers
    parts = {part: seen[part] * scale for part in PARTS}
    rest = total * scale - sum(parts.values())
    second = (watched.steps[1]["step"] - unwatched) * scale
    return {"all": total * scale, **parts, "hooks and probe": rest, SECOND: second}


def report(today: str, layers: dict[int, int]) -> str:
    """Run everything and return a Markdown page.

    Args:
        today: the date.
        layers: how many steps to take, by how many layers.
    """
    columns = {count: measured(count, steps) for count, steps in layers.items()}
    taken = ", ".join(str(steps - WARM) for steps in layers.values())
    lines = [
        "# Cost of a measured step on the host",
        "",
        f"{today}, torch {torch.__version__}: milliseconds of CPU time of one thread per layer and measured step, whole",
        f"`Trainer.fit` with the default rules and sinks, tiny tensors, medians of {taken} steps (`make bench`).",
        "",
        f"| part |{''.join(f' {count} layers |' for count in layers)}",
        f"|:--|{'--:|' * len(layers)}",
        *(
            f"| {part} |{''.join(f' {column[part]:.3f} |' for column in columns.values())}"
            for part in (*next(iter(columns.values())),)
        ),
    ]
    return "\n".join(lines) + "\n"
