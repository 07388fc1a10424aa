"""Chemprop's message passing learns a property of small molecules written as SMILES."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning.pytorch as pl
from chemprop import data, featurizers, models, nn as blocks

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.clients.watching import Watching

DEPTH = 3


def molecules() -> data.MoleculeDataset:
    """Return chains and rings with one polar group each, and the share of heteroatoms as what is to be learned."""
    smiles = [f"{'C' * n}{group}" for n in range(1, 17) for group in ("O", "N", "F", "Cl", "C(=O)O", "c1ccccc1")]
    points = []
    for one in smiles:
        hetero = sum(one.count(letter) for letter in "ONF") + one.count("Cl")
        points.append(data.MoleculeDatapoint.from_smi(one, [hetero / len(one) * 10]))
    return data.MoleculeDataset(points, featurizers.SimpleMoleculeMolGraphFeaturizer())


def train(watching: Watching) -> nn.Module:
    """Train message passing along bonds, three deep."""
    found = molecules()
    found.normalize_targets()
    model = models.MPNN(
        blocks.BondMessagePassing(d_h=64, depth=DEPTH),
        blocks.MeanAggregation(),
        blocks.RegressionFFN(input_dim=64, hidden_dim=64),
        batch_norm=True,
    )
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=watching.callbacks(pl),
    )
    loader = data.build_dataloader(found, batch_size=32, seed=5)
    trainer.fit(model, loader)
    return model


# nn/message_passing/base.py: W_i once; per further step of depth the one W_h, whose result is added to W_i's (H_0) before
# the activation: two calls, two residual additions. W_o once on atoms and messages together. M_all - M_rev takes a bond's
# own message off a sum of messages: no layer in it, no residual. BatchNorm, then an MLP with one hidden layer: two.
PROGRAM = Program(
    distribution="chemprop",
    kind="molecules (message passing)",
    loop="lightning.pytorch, logger=False",
    train=train,
    expected=Expected(
        weights={
            "message_passing.W_i": 1,
            "message_passing.W_h": DEPTH - 1,
            "message_passing.W_o": 1,
            "predictor.ffn.0.0": 1,
            "predictor.ffn.1.2": 1,
        },
        residuals=DEPTH - 1,
        others=("message_passing.tau", "bn", "predictor.ffn.1.0", "agg"),
        inputs={
            "message_passing.W_i": ("input",),
            "predictor.ffn.0.0": ("bn",),
        },
    ),
)
