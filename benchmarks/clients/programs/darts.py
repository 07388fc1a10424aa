"""TiDE forecasts with covariates; darts copies the Trainer's arguments, callbacks included, before each fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
from darts import TimeSeries
from darts.models import TiDEModel

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.clients.watching import Watching

LENGTH, BATCH, PAST, AHEAD = 400, 32, 24, 6


def train(watching: Watching) -> nn.Module:
    """Train TiDE with two encoders and two decoders and one covariate known in advance."""
    random = np.random.default_rng(1)
    time = np.arange(LENGTH)
    values = np.sin(time / 4) + 0.1 * random.standard_normal(LENGTH)
    target = TimeSeries.from_values(values.astype("float32"))
    covariate = TimeSeries.from_values(np.cos(np.arange(LENGTH + AHEAD) / 4).astype("float32"))
    model = TiDEModel(
        input_chunk_length=PAST,
        output_chunk_length=AHEAD,
        num_encoder_layers=2,
        num_decoder_layers=2,
        hidden_size=32,
        temporal_decoder_hidden=16,
        batch_size=BATCH,
        n_epochs=100,
        random_state=5,
        pl_trainer_kwargs={
            "max_steps": STEPS,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": watching.callbacks(pl),
        },
    )
    model.fit(target, future_covariates=covariate)
    return model.model


# models/forecasting/tide_model.py: a _ResidualBlock is Linear, ReLU, Linear, plus a Linear skip. There are six: the
# projection of the covariate, two encoders, two decoders, the temporal decoder; then lookback_skip: 6 x 3 + 1 = 19.
# Each block adds a projection skip, and the end adds lookback_skip(x) to what the whole network made of x: seven.
PROGRAM = Program(
    distribution="darts",
    kind="forecasting (TiDE)",
    loop="pytorch_lightning",
    train=train,
    expected=Expected(
        weights={"*.dense.0": 6, "*.dense.2": 6, "*.skip": 6, "lookback_skip": 1},
        residuals=7,
        others=("*.dense.1",),
        inputs={"lookback_skip": ("input",), "future_cov_projection.skip": ("input",)},
    ),
)
