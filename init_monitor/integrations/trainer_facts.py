"""What the callback reads from a Trainer, by its attributes and not by its class."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from pytorch_lightning import Trainer


def optimizer_step(trainer: Trainer) -> int:
    """Return the optimizer step on the axis the Trainer's own loggers use (one per batch that stepped, from 0)."""
    loop = trainer.fit_loop.epoch_loop
    return int(getattr(loop, "_batches_that_stepped", trainer.global_step))


def loss_scale(trainer: Trainer) -> torch.Tensor | None:
    """Return the gradient scaler's current scale on its device, or ``None`` without one."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    scale = getattr(scaler, "_scale", None)  # get_scale() would wait for the device
    return None if scale is None else scale.double()


def write_above_the_bar(trainer: Trainer, text: str) -> None:
    """Print above the Trainer's progress bar without tearing it."""
    bar = trainer.progress_bar_callback
    progress = getattr(bar, "progress", None)
    if progress is not None and getattr(progress, "console", None) is not None:
        from rich.text import Text  # noqa: PLC0415 - only where Lightning shows a rich progress bar

        progress.console.print(Text.from_ansi(text), soft_wrap=True)
    elif bar is not None and hasattr(bar, "train_progress_bar"):
        from tqdm import tqdm  # noqa: PLC0415 - only where Lightning shows a tqdm progress bar

        tqdm.write(text, file=sys.stdout)
    else:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
