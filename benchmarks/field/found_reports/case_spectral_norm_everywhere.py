"""Spectral norm, meant for a discriminator, around all sixteen layers of a generator-like regressor: each layer's largest factor is 1, its usual one about a half, so that nothing of the input arrives at the end.
Answer: no spectral norm here, or a normalisation between the layers.
Should I apply only to the discriminator? -- https://github.com/christiancosgrove/pytorch-spectral-normalization-gan/issues/4, Spectral norm causes gradient signal to be lost -- https://github.com/jhjacobsen/invertible-resnet/issues/4
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM102 IM202 IM702",
    "remedies": ("NORMALISE", "RESIDUAL", "INITIALISE"),
    "by": 150,
    "beside": "IM102 IM202 IM702 IM603 IM302 IM301",
    "layers": (),
}
MEASURED = (0.8395, 0.2455)


def waves():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 8, generator=g)
    y = torch.sin(0.4 * x @ torch.randn(8, 16, generator=g))
    return DataLoader(TensorDataset(x, (y - y.mean(0)) / y.std(0)), batch_size=64, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, wrap):
        super().__init__()
        sizes = (8, *[64] * 15)
        self.net = nn.Sequential(
            *(part for a, b in zip(sizes, sizes[1:]) for part in (wrap(nn.Linear(a, b)), nn.LeakyReLU(0.2))),
            wrap(nn.Linear(64, 16)),
        )

    def training_step(self, batch, _):
        return F.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def he(layer):
    nn.init.kaiming_normal_(layer.weight, a=0.2)
    nn.init.zeros_(layer.bias)
    return layer


def faulty():
    return Net(nn.utils.parametrizations.spectral_norm), waves()


def fixed():
    return Net(he), waves()
