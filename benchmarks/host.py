"""What the monitor's own Python costs per layer and measured step, by part.

``python benchmarks/host.py [--layers 40 160 480 2000 5000] [--steps 12] [--out FILE]``

A whole ``Trainer.fit`` on tensors so small that their arithmetic does not matter, every step measured, with the default
rules and sinks. CPU time of one thread, so that a busy machine does not matter; medians over the steps after the first two.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import logging
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

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


def fitted(layers: int, steps: int, *, watched: bool) -> dict[str, float]:
    """Return the median CPU seconds of a step, and of its parts."""
    torch.manual_seed(0)
    clock = Clock()
    data = TensorDataset(*(torch.randn(BATCH * steps, WIDTH) for _ in range(2)))
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()), timed(clock):
        trainer = pl.Trainer(
            max_steps=steps, accelerator="cpu", logger=TensorBoardLogger(directory), default_root_dir=directory,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=10**6,
            callbacks=[clock, *([InitMonitor(dense_steps=steps, max_layers=max(512, layers))] if watched else []), Last(clock)],
        )  # fmt: skip
        trainer.fit(Deep(layers), DataLoader(data, batch_size=BATCH))
    seen = clock.steps[WARM:]
    return {part: statistics.median(step.get(part, 0.0) for step in seen) for part in ("step", *PARTS)}


def measured(layers: int, steps: int) -> dict[str, float]:
    """Return milliseconds per layer and measured step, by part."""
    plain, watched = fitted(layers, steps, watched=False), fitted(layers, steps, watched=True)
    extra = {part: watched[part] * 1e3 / layers for part in PARTS}
    total = (watched["step"] - plain["step"]) * 1e3 / layers
    return {"all": total, **extra, "hooks and probe": total - sum(extra.values())}


def report(layers: list[int], steps: int) -> str:
    """Run everything and return a Markdown page."""
    today = f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}"
    columns = {count: measured(count, steps) for count in layers}
    lines = [
        "# Cost of a measured step on the host",
        "",
        f"{today}, torch {torch.__version__}: milliseconds of CPU time of one thread per layer and measured step, whole",
        f"`Trainer.fit` with the default rules and sinks, tiny tensors, medians of {steps - WARM} steps.",
        "",
        f"| part |{''.join(f' {count} layers |' for count in layers)}",
        f"|:--|{'--:|' * len(layers)}",
        *(f"| {part} |{''.join(f' {columns[count][part]:.3f} |' for count in layers)}" for part in columns[layers[0]]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[40, 160, 480, 2000, 5000])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    page = report(arguments.layers, arguments.steps)
    print(page)
    if arguments.out is not None:
        arguments.out.write_text(page, encoding="utf-8")
