"""A sparse autoencoder: of 256 units each sample keeps its 12 largest, the others are set to 0, so that 95 % of the activations are 0 and get no gradient. Every unit is used by some samples.
Weights of the decoder start as the encoder's transposed. It is right.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None
MEASURED = None


def vectors():
    """Sums of a few of 100 directions in 32 dimensions."""
    g = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(100, 32, generator=g), dim=1)
    share = torch.rand(8192, 100, generator=g) * (torch.rand(8192, 100, generator=g) < 0.05)
    return DataLoader(TensorDataset(share @ directions), batch_size=512, shuffle=True)


class Sparse(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(32, 256), nn.Linear(256, 32)
        with torch.no_grad():
            self.decoder.weight.copy_(F.normalize(self.encoder.weight, dim=1).T)
            self.encoder.bias.zero_()

    def training_step(self, batch, _):
        h = self.encoder(batch[0])
        top = h.topk(12, dim=1)
        kept = torch.zeros_like(h).scatter(1, top.indices, F.relu(top.values))
        return F.mse_loss(self.decoder(kept), batch[0]) / batch[0].var()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Sparse(), vectors()
