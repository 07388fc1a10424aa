"""``init-monitor demo``: one deep ReLU network, trained twice; only the initialisation differs.

The first run takes Xavier's initialisation, which suits tanh: in a ReLU network it halves the signal's variance in
every layer (2^-29 over 29 hidden layers), and nothing is learned. Before the second the code of the monitor's first finding
is run as it was printed, and the network learns to read digits.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.warnings import PossibleUserWarning
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console
from rich.markup import escape
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from init_monitor.errors import InitMonitorError
from init_monitor.integrations.lightning import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Finding

    Batches = DataLoader[tuple[Tensor, ...]]

SEED = 0
LAYERS = 30
"""Linear layers: deep enough that a factor of ½ per layer leaves a billionth of the signal's variance."""
WIDTH = 128
EPOCHS = 15
FAST_EPOCHS = 4
"""Enough to see which of the two learns."""
BATCH = 32
LEARNING_RATE = 0.003
"""A usual rate, at which He's initialisation learns as well, only later."""
MOMENTUM = 0.9
HELD_OUT = 360
"""Every fifth of the 1,797 digits is kept to measure accuracy."""
PIXELS, CLASSES = 64, 10
BAR = 24
"""Width of the accuracy bar in characters."""
CONSOLE_WIDTH = 100
"""Columns where no terminal says how many it has; the same as the monitor's table."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one of the two trainings ended.

    Attributes:
        name: what the weights were made by, in a word.
        accuracy: share of the held-out digits read right, in [0, 1].
        findings: what the monitor found.
        directory: where TensorBoard finds the run.
    """

    name: str
    accuracy: float
    findings: tuple[Finding, ...]
    directory: Path


class Reader(pl.LightningModule):
    """Reads an 8×8 digit through 29 hidden ReLU layers, with Xavier's initialisation."""

    def __init__(self) -> None:
        super().__init__()
        widths = [PIXELS, *[WIDTH] * (LAYERS - 1)]
        hidden = [layer for fan_in, fan_out in pairwise(widths) for layer in (nn.Linear(fan_in, fan_out), nn.ReLU())]
        self.net = nn.Sequential(*hidden, nn.Linear(WIDTH, CLASSES))
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return one number per class."""
        scores: Tensor = self.net(images)
        return scores

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the cross-entropy of a batch."""
        images, digits = batch
        loss = nn.functional.cross_entropy(self(images), digits)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Log the share of digits read right."""
        images, digits = batch
        self.log("accuracy", (self(images).argmax(dim=1) == digits).float().mean())

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        """Use SGD with momentum, its rate falling to 0: Adam would hide part of what a vanished gradient does."""
        optimizer = torch.optim.SGD(self.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        epochs = self.trainer.max_epochs or EPOCHS
        return {
            "optimizer": optimizer,
            "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        }


class LearningCurve(pl.Callback):
    """Prints a line with a bar per epoch: at the end the lines are a learning curve."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Print the share of held-out digits classified correctly so far."""
        if not trainer.sanity_checking:
            accuracy = float(trainer.callback_metrics["accuracy"])
            self.console.print(
                f"  epoch {trainer.current_epoch + 1:>2} of {trainer.max_epochs}  "
                f"{_bar(accuracy, plain=_plain(self.console))}  {accuracy:4.0%} of the digits right"
            )


def main(log_dir: Path, *, fast: bool = False) -> int:
    """Train twice and explain. Returns 0.

    Args:
        log_dir: where both runs are written; made if it does not exist.
        fast: few epochs, less to see.

    Raises:
        InitMonitorError: scikit-learn is missing, or ``log_dir`` cannot be written.
    """
    console = Console(width=None if sys.stdout.isatty() else CONSOLE_WIDTH, highlight=False)
    training, held_out = _digits()
    _make(log_dir)
    epochs = FAST_EPOCHS if fast else EPOCHS
    console.print(
        f"A network of {LAYERS} layers learns to read {len(training) + len(held_out):,} handwritten digits, twice."
        "\nBoth trainings are the same except for one thing: how the weights are initialised."
    )
    run = partial(_train, training=training, held_out=held_out, log_dir=log_dir, epochs=epochs, console=console)
    bad = run("Xavier", "Xavier's initialisation", "")
    code = next((finding.remedy_code for finding in bad.findings if finding.remedy_code), "")
    good = run("Remedy", "The same, after the code that was printed above", code)
    _explain(bad, good, code, log_dir, console)
    return 0


def _digits() -> tuple[TensorDataset, TensorDataset]:
    """Return scikit-learn's digits for training and held out, standardised by the training share."""
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra: its absence has a sentence of its own
    except ModuleNotFoundError as error:
        message = "the demo needs scikit-learn for its digits: pip install 'init-monitor[demo]'."
        raise InitMonitorError(message) from error
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(SEED))
    images = torch.tensor(digits.data, dtype=torch.float32)[order]
    targets = torch.tensor(digits.target, dtype=torch.long)[order]
    images = (images - images[HELD_OUT:].mean()) / images[HELD_OUT:].std()
    return (
        TensorDataset(images[HELD_OUT:], targets[HELD_OUT:]),
        TensorDataset(images[:HELD_OUT], targets[:HELD_OUT]),
    )


def _make(log_dir: Path) -> None:
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = (
            f"cannot write to --log-dir {log_dir}: {error.strerror or error}. Give a directory that can be written."
        )
        raise InitMonitorError(message) from error
    if not os.access(log_dir, os.W_OK):
        message = f"cannot write to --log-dir {log_dir}: permission denied. Give a directory that can be written."
        raise InitMonitorError(message)


def _train(  # noqa: PLR0913 - one call site
    name: str,
    title: str,
    code: str,
    *,
    training: TensorDataset,
    held_out: TensorDataset,
    log_dir: Path,
    epochs: int,
    console: Console,
) -> Outcome:
    """Train once, after running a remedy's ``code`` on the new network as a person would paste it."""
    console.print()
    console.rule(f"[bold]{title}", characters="-" if _plain(console) else "─")
    with torch.random.fork_rng(devices=[]), _one_thread(), _quiet_lightning():
        torch.manual_seed(SEED)
        model = Reader()
        exec(compile(code, "the printed code", "exec"), {"model": model})  # noqa: S102 - our own, and the point of the demo
        torch.manual_seed(SEED)  # the same batches for both
        monitor = InitMonitor()
        logger = TensorBoardLogger(log_dir, name=name.lower())
        trainer = pl.Trainer(
            callbacks=[monitor, LearningCurve(console)],
            logger=logger,
            max_epochs=epochs,
            accelerator="cpu",
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        batches: Batches = DataLoader(training, batch_size=BATCH, shuffle=True)
        trainer.fit(model, batches, DataLoader(held_out, batch_size=HELD_OUT))
    return Outcome(
        name=name,
        accuracy=float(trainer.callback_metrics["accuracy"]),
        findings=tuple(monitor.findings),
        directory=Path(logger.log_dir),
    )


def _explain(bad: Outcome, good: Outcome, code: str, log_dir: Path, console: Console) -> None:
    plain = _plain(console)
    console.print()
    console.rule("[bold]What happened", characters="-" if plain else "─")
    for outcome, style in ((bad, "red"), (good, "green")):
        console.print(
            f"  {outcome.name:<7} [{style}]{_bar(outcome.accuracy, plain=plain)}[/]  "
            f"{outcome.accuracy:4.0%} of the digits right; the monitor: {_counted(outcome.findings)}"
        )
    console.print(f"  (guessing gets {1 / CLASSES:.0%})\n")
    if bad.findings:
        first = max(bad.findings, key=lambda finding: finding.severity.rank)
        console.print(
            f"The monitor said so at step {first.step}, before any epoch was over:\n"
            f"[bold]{first.code} {first.rule}[/] ({first.severity}).\n{escape(first.message)}\n"
        )
    console.print("What was done before the second run is what the monitor printed:")
    console.print("".join(f"  [green]+ {escape(line)}[/]\n" for line in code.splitlines() if line))
    console.print("Look at both runs side by side in TensorBoard, then open the address it prints:")
    console.print(f"  {escape(_tensorboard_command(log_dir))}\n", soft_wrap=True)
    console.print("In your own training it is one line:")
    console.print("  Trainer(callbacks=[InitMonitor()])", markup=False)


def _counted(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return "no findings"
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"


def _tensorboard_command(log_dir: Path) -> str:
    program = "tensorboard" if shutil.which("tensorboard") else f"{shlex.quote(sys.executable)} -m tensorboard.main"
    return f"{program} --logdir {shlex.quote(str(log_dir))}"


def _bar(share: float, *, plain: bool) -> str:
    filled = round(share * BAR)
    return ("#" if plain else "█") * filled + ("." if plain else "░") * (BAR - filled)


def _plain(console: Console) -> bool:
    return not console.is_terminal or not (console.encoding or "").lower().startswith("utf")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: matrices this small are done before a second thread starts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's banners, tips and advice out of the demo; warnings of the monitor still show."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        # Lightning itself uses what newer torch versions deprecate.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
