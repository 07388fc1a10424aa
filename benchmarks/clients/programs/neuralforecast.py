"""N-HiTS forecasts seasonal series; the library makes a Trainer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.clients.watching import Watching

SERIES, LENGTH, BLOCKS, UNITS = 8, 200, 3, 32


def series() -> pd.DataFrame:
    """Return noisy sines of several phases, each standardised as it comes."""
    random = np.random.default_rng(1)
    time = np.arange(LENGTH)
    parts = [
        pd.DataFrame(
            {"unique_id": str(k), "ds": time, "y": np.sin(time / 4 + k) + 0.1 * random.standard_normal(LENGTH)}
        )
        for k in range(SERIES)
    ]
    return pd.concat(parts)


def train(watching: Watching) -> nn.Module:
    """Train N-HiTS with three blocks of three hidden layers."""
    model = NHITS(
        h=6,
        input_size=24,
        n_blocks=[1] * BLOCKS,
        mlp_units=[[UNITS, UNITS]] * BLOCKS,
        max_steps=STEPS,
        windows_batch_size=64,
        random_seed=5,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=watching.callbacks(pl),
    )
    forecast = NeuralForecast(models=[model], freq=1)
    forecast.fit(series())
    return forecast.models[0]


# models/nhits.py: each block is Linear, then one (Linear, ReLU) per entry of mlp_units (three; the ReLU is one module that
# is called each time), then a Linear: five. Per block x - F(x) (the backcast is taken off the input) is a residual.
# forecast + block_forecast puts parallel branches together: none.
PROGRAM = Program(
    distribution="neuralforecast",
    kind="forecasting (N-HiTS)",
    loop="pytorch_lightning",
    train=train,
    expected=Expected(
        weights={f"blocks.?.layers.{k}": BLOCKS for k in (0, 1, 3, 5, 7)},
        residuals=BLOCKS,
        others=("blocks.?.layers.*", "blocks.?.basis"),
        inputs={"blocks.0.layers.0": ("input",), "blocks.0.layers.1": ("blocks.0.layers.0",)},
    ),
)
