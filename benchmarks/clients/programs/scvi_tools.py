"""scVI, a variational autoencoder of counts, learns synthetic cells of two batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import lightning.pytorch as pl
import numpy as np
import scvi

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.clients.watching import Watching

CELLS, GENES, KINDS, BATCH = 640, 60, 4, 64


def cells() -> anndata.AnnData:
    """Return Poisson counts of cells of four kinds, measured in two batches."""
    random = np.random.default_rng(1)
    rates = random.gamma(2.0, 2.0, (KINDS, GENES))
    kind, batch = random.integers(0, KINDS, CELLS), random.integers(0, 2, CELLS)
    found = anndata.AnnData(random.poisson(rates[kind] * (1 + 0.5 * batch[:, None])).astype("float32"))
    found.obs["batch"] = batch.astype(str)
    return found


def train(watching: Watching) -> nn.Module:
    """Train scVI with two hidden layers on each side."""
    scvi.settings.seed = 5  # or it splits cells by the time of day
    found = cells()
    scvi.model.SCVI.setup_anndata(found, batch_key="batch")
    model = scvi.model.SCVI(found, n_hidden=64, n_latent=8, n_layers=2)
    model.train(
        max_epochs=STEPS * BATCH // CELLS,
        batch_size=BATCH,
        train_size=1.0,
        accelerator="cpu",
        enable_progress_bar=False,
        callbacks=watching.callbacks(pl),
    )
    return model.module


# module/_vae.py, with the library size observed and dispersion="gene": l_encoder and decoder.px_r_decoder are built but
# never called. z_encoder: FCLayers of two, each Linear, BatchNorm1d, ReLU; then mean_encoder and var_encoder, both from
# the second ReLU. decoder: px_decoder of two (the first takes z and the one-hot batch), px_scale_decoder (Linear and
# softmax), px_dropout_decoder. None adds its input to its output; mean + std * noise is a sample, no residual.
PROGRAM = Program(
    distribution="scvi-tools",
    kind="single cells (variational autoencoder)",
    loop="lightning.pytorch",
    train=train,
    expected=Expected(
        weights={
            "*z_encoder.encoder.fc_layers.Layer ?.0": 2,
            "*z_encoder.mean_encoder": 1,
            "*z_encoder.var_encoder": 1,
            "*decoder.px_decoder.fc_layers.Layer ?.0": 2,
            "*decoder.px_scale_decoder.0": 1,
            "*decoder.px_dropout_decoder": 1,
        },
        residuals=0,
        others=("*fc_layers.Layer ?.*", "*px_scale_decoder.1"),
        inputs={
            "module.z_encoder.encoder.fc_layers.Layer 0.0": ("input",),
            "module.decoder.px_dropout_decoder": ("module.decoder.px_decoder.fc_layers.Layer 1.3",),
        },
        justified={"IM602": "l_encoder and px_r_decoder are built and never called"},
    ),
)
