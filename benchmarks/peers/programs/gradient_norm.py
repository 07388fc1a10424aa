"""The callback that everybody writes, after Lightning's documentation."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import grad_norm

from benchmarks.peers.loops import lightning


class GradientNorms(pl.Callback):
    """Logs the norm of every parameter's gradient."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ANN401, ARG002
        """Compute and log them."""
        pl_module.log_dict(grad_norm(pl_module, norm_type=2))


def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:  # noqa: ARG001 - it has none
    """Train."""
    return lightning(network, steps, [GradientNorms()] if watched else [])
