"""The FT-Transformer of pytorch-tabular classifies a table of numbers and categories; the library makes the Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import FTTransformerConfig

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.clients.watching import Watching

ROWS, BATCH, BLOCKS = 1280, 64, 2
NUMBERS = ["a", "b", "c", "d"]


def table() -> pd.DataFrame:
    """Return rows whose class depends on two numbers and a category."""
    random = np.random.default_rng(1)
    found = pd.DataFrame(random.standard_normal((ROWS, 4)), columns=NUMBERS)
    found["kind"] = random.choice(["x", "y", "z"], ROWS)
    found["target"] = ((found["a"] * found["b"] > 0) ^ (found["kind"] == "x")).astype(int)
    return found


def train(watching: Watching) -> nn.Module:
    """Train two blocks of attention."""
    model = TabularModel(
        data_config=DataConfig(target=["target"], continuous_cols=NUMBERS, categorical_cols=["kind"]),
        model_config=FTTransformerConfig(
            task="classification", input_embed_dim=16, num_heads=2, num_attn_blocks=BLOCKS, learning_rate=3e-3
        ),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            max_epochs=STEPS * BATCH // ROWS,
            batch_size=BATCH,
            accelerator="cpu",
            early_stopping=None,
            checkpoints=None,
            load_best=False,
            progress_bar="none",
            trainer_kwargs={"enable_model_summary": False},
        ),
        verbose=False,
    )
    found = table()
    model.fit(train=found, validation=found[:BATCH], callbacks=watching.callbacks(pl), seed=5)
    return model.model


PROGRAM = Program(
    distribution="pytorch_tabular",
    kind="tables (FT-Transformer)",
    loop="pytorch_lightning",
    train=train,
    expected=Expected(weights={"*": 13}, residuals=4),
)
