"""What a user does first with an installed package, from an empty directory: every answer is looked at.

``python tried.py KERNEL``, with ``native`` or ``eager`` for the kernel that reads the CPU here. Runs in the environments
that ``make build`` makes, where neither the checkout nor a test tool is; ends with one line of JSON, or fails.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import logging
import os
import platform
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard import default, program
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import init_monitor
from init_monitor.measures import native
from init_monitor.store import read_run

COMMAND = Path(sys.executable).with_name("init-monitor")
STEPS = 14
DEPTH, WIDTH = 12, 64
FAINT = 0.3
"""Gain of a ReLU network's weights at which the gradient loses 95 % of its variance in each layer."""

FACTORY = """
import torch
from torch import nn


def faint():
    layers = [layer for _ in range(12) for layer in (nn.Linear(32, 32, bias=False), nn.ReLU())]
    for layer in layers[::2]:
        nn.init.normal_(layer.weight, std=0.01)
    return nn.Sequential(*layers, nn.Linear(32, 4)), torch.randn(64, 32)
"""


class Learner(pl.LightningModule):
    """A deep ReLU network whose weights are far too small."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        self.net = nn.Sequential(*layers, nn.Linear(WIDTH, 4))
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=FAINT * (2 / WIDTH) ** 0.5)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Classify."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def batches() -> DataLoader[tuple[torch.Tensor, ...]]:
    """Give ``STEPS`` batches of 32 of four classes."""
    inputs = torch.randn(32 * STEPS, WIDTH)
    return DataLoader(TensorDataset(inputs, inputs[:, :4].argmax(dim=1)), batch_size=32)


def ensure(condition: object, *said: object) -> None:
    """Fail with what was found.

    Raises:
        SystemExit: if the condition does not hold.
    """
    if not condition:
        raise SystemExit("\n".join(map(str, said)))


def command(*words: str, status: int = 0) -> str:
    """Run ``init-monitor`` as it is installed here, and return what it printed."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    ensure(done.returncode == status, f"init-monitor {words} gave {done.returncode}", done.stdout, done.stderr)
    return done.stdout


def losses_unwatched() -> list[float]:
    """Train without the monitor."""
    kept: list[float] = []

    class Keeper(pl.Callback):
        def on_train_batch_end(self, _trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
            kept.append(float(outputs["loss"]))

    torch.manual_seed(0)
    trainer = pl.Trainer(
        max_steps=STEPS, accelerator="cpu", logger=False, callbacks=[Keeper()], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Learner(), batches())
    return kept


def trained() -> None:
    """A training as in the README; the finding is on the console, in the event file, in the run store and in the report."""
    torch.manual_seed(0)
    monitor = init_monitor.InitMonitor()
    printed = io.StringIO()
    trainer = pl.Trainer(
        max_steps=STEPS, accelerator="cpu", logger=TensorBoardLogger("logs", name="", version="run"), callbacks=[monitor],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error", init_monitor.InitMonitorWarning)
        trainer.fit(Learner(), batches())
    ensure(list(monitor.losses) == losses_unwatched(), "the losses are not those of an unwatched training")
    codes = {found.code for found in monitor.findings}
    ensure("IM202" in codes, "no vanishing gradients found, but:", codes)
    ensure(monitor.notices == [], monitor.notices)
    ensure("IM202 vanishing-gradients" in printed.getvalue(), printed.getvalue())

    events = EventAccumulator("logs/run", size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    stored = events.Tensors("init_monitor/findings")[-1].tensor_proto.string_val[0].decode()
    ensure(all(code in stored for code in codes), stored)
    vectors = events.Tensors("init_monitor/variance")
    ensure([one.step for one in vectors] == [record.step for record in monitor.records], vectors)

    run = read_run(Path("logs/run"))
    ensure([one.code for one in run.findings] == [one.code for one in monitor.findings], run.findings)
    ensure("IM202" in command("report", "logs/run"))
    page = Path("page.html")
    command("report", "logs/run", "--html", str(page))
    ensure("vanishing-gradients" in page.read_text(encoding="utf-8"))


def asked_for() -> None:
    """Lightning finds the monitor by its entry point, where the environment asks for it."""
    os.environ["INIT_MONITOR"] = "1"
    callbacks = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).callbacks  # type: ignore[attr-defined]
    ensure([one for one in callbacks if isinstance(one, init_monitor.InitMonitor)], callbacks)
    del os.environ["INIT_MONITOR"]
    ensure(
        "init_monitor"
        in {one.name for one in importlib.metadata.entry_points(group="lightning.pytorch.callbacks_factory")}
    )


def served() -> None:
    """TensorBoard finds the tab by its entry point, and serves it."""
    board = program.TensorBoard(plugins=default.get_plugins())
    board.configure(argv=["tensorboard", "--logdir", "logs", "--port", "0", "--load_fast", "false"])
    address = board.launch()
    with urllib.request.urlopen(f"{address}data/plugins_listing") as answer:  # noqa: S310 - on this machine
        ensure("init_monitor" in json.load(answer))
    with urllib.request.urlopen(f"{address}data/plugin/init_monitor/static/index.js") as answer:  # noqa: S310
        ensure(answer.status == 200)


def commanded() -> None:
    """The command line; one command trains."""
    ensure("dead-relu" in command("explain", "IM301"))
    Path("factory.py").write_text(FACTORY)
    ensure("IM1" in command("check", "factory:faint", status=1))
    ensure("He" in command("demo", "--fast"))


def looped() -> None:
    """A loop of one's own around a compiled model, and a better start."""
    net = nn.Sequential(*[nn.Linear(32, 32) for _ in range(8)])
    before = init_monitor.check(net, torch.randn(16, 32)).to_markdown()
    ensure("| 0 |" in before or "`0`" in before, before)
    init_monitor.recommend(net, torch.randn(16, 32)).apply_()
    model: Any = torch.compile(net, backend="eager")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
        for _ in range(3):
            with monitor.step() as step:
                loss = model(torch.randn(16, 32)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step.loss = loss
    ensure([record.step for record in monitor.records] == [0, 1, 2], monitor.records)
    ensure(list(monitor.records[-1].names) == [str(i) for i in range(8)], monitor.records[-1].names)
    ensure(monitor.notices == [], monitor.notices)


def main(kernel: str) -> None:
    """Do all of it."""
    where = Path(init_monitor.__file__)
    ensure(where.is_relative_to(sys.prefix), f"{where} is not below {sys.prefix}")
    ensure(native.in_use() == kernel, f"the CPU is read by the {native.in_use()} kernel, not by the {kernel} one")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    trained()
    asked_for()
    served()
    commanded()
    looped()
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "pytorch-lightning", "numpy", "tensorboard")
    }
    sys.stdout.write(json.dumps({"python": platform.python_version(), "kernel": kernel, **versions}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
