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


# Embedding2dLayer: one table for the numbers, one for the category. A block is to_qkv and to_out, then layer1, linear_v
# (the gate) and layer2: five. The head is one Linear: 13. A class token is appended by a vector, which mixes nothing.
# AddNorm adds twice per block: the attention to the block's input, and the feed-forward (of the attention's output) to
# the normalised sum of both: four residual additions. The sum of the attention weights of all blocks, kept as feature
# importance, is none. The softmax at the end is the metric's.
PROGRAM = Program(
    distribution="pytorch_tabular",
    kind="tables (FT-Transformer)",
    loop="pytorch_lightning",
    train=train,
    expected=Expected(
        weights={
            "_embedding_layer.cont_embedding_layer": 1,
            "_embedding_layer.cat_embedding_layers.0.embed": 1,
            "*.mha.to_*": 2 * BLOCKS,
            "*.pos_wise_ff.ffn.layer?": 2 * BLOCKS,
            "*.pos_wise_ff.ffn.linear_v": BLOCKS,
            "_head.layers.0": 1,
        },
        residuals=2 * BLOCKS,
        others=("_embedding_layer.*", "_backbone.*"),
        inputs={
            "_backbone.transformer_blocks.mha_block_0.mha.to_qkv": ("_backbone.add_cls",),
            "_head.layers.0": ("_backbone.transformer_blocks.mha_block_1.ff_add_norm.ln",),
        },
    ),
)
