"""The temporal fusion transformer forecasts sales-like series; its modules pass dicts of variables on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning.pytorch as pl
import numpy as np
import pandas as pd
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.metrics import QuantileLoss

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.clients.watching import Watching

SERIES, LENGTH, HEADS = 6, 80, 2


def series() -> TimeSeriesDataSet:
    """Return noisy seasonal series of several shops."""
    random = np.random.default_rng(1)
    time = np.arange(LENGTH)
    parts = [
        pd.DataFrame(
            {
                "time": time,
                "shop": str(k),
                "price": np.cos(time / 5 + k),
                "sold": 2 + k / 5 + np.sin(time / 4) + 0.1 * random.standard_normal(LENGTH),
            }
        )
        for k in range(SERIES)
    ]
    return TimeSeriesDataSet(
        pd.concat(parts, ignore_index=True),
        time_idx="time",
        target="sold",
        group_ids=["shop"],
        max_encoder_length=16,
        max_prediction_length=4,
        static_categoricals=["shop"],
        time_varying_known_reals=["time", "price"],
        time_varying_unknown_reals=["sold"],
    )


def train(watching: Watching) -> nn.Module:
    """Train a temporal fusion transformer with two heads."""
    found = series()
    model = TemporalFusionTransformer.from_dataset(
        found,
        learning_rate=0.01,
        hidden_size=16,
        attention_head_size=HEADS,
        hidden_continuous_size=8,
        loss=QuantileLoss(),
        dropout=0.1,
        log_interval=-1,
    )
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=watching.callbacks(pl),
    )
    trainer.fit(model, found.to_dataloader(train=True, batch_size=32, num_workers=0))
    return model


# A GatedResidualNetwork is fc1, ELU, fc2 and a GateAddNorm (glu.fc and the addition of its input). There are 13: one per
# variable of the encoder (time, price, sold) and of the decoder (time, price), one flattened for each side, four static
# contexts, static_enrichment, pos_wise_ff; three of them (both flattened, static_enrichment) have a context layer. Beside
# them: an embedding, prescalers (five calls), two LSTMs (each gives a sequence and two states), one post_lstm_gate (shared,
# two calls), post_attn_gate_norm and pre_output_gate_norm (a glu.fc each), attention (v, two q, two k, w_h), output_layer.
# Residual additions: 13 + 2 (over the LSTMs) + post_attn + pre_output = 17. Seven of the 13 widen their input on the skip
# (interpolation, learned gate, LayerNorm). The relu at the end belongs to the scaling of the target.
PROGRAM = Program(
    distribution="pytorch-forecasting",
    kind="forecasting (temporal fusion transformer)",
    loop="lightning.pytorch",
    train=train,
    expected=Expected(
        weights={
            "input_embeddings.embeddings.shop": 1,
            "prescalers.*": 5,
            "*.fc1": 13,
            "*.fc2": 13,
            "*.glu.fc": 15,
            "*.context": 3,
            "lstm_encoder": 3,
            "lstm_decoder": 3,
            "post_lstm_gate_encoder.fc": 2,
            "multihead_attn.?_layer*": 5,
            "multihead_attn.w_h": 1,
            "output_layer": 1,
        },
        residuals=17,
        others=(
            "*.elu",
            "*.glu",
            "*.norm",
            "*.gate",
            "*.resample",
            "*.softmax",
            "post_lstm_gate_encoder",
            "",  # the target's own scale, in the network's forward
        ),
        inputs={
            "lstm_decoder[0]": ("lstm_encoder[1][0]", "decoder_variable_selection.softmax"),
            "multihead_attn.q_layers.0": ("static_enrichment.gate_norm.add_norm.norm",),
            "output_layer": ("pre_output_gate_norm.add_norm.norm",),
        },
    ),
)
