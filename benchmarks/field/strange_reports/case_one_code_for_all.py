"""A vector-quantised autoencoder whose codebook is drawn with a standard deviation of 5 while the encoder's output is within 0.3: the one code that is nearest to 0 is
everybody's, and the decoder gets the same for every picture. Asked there: the perplexity stays at 1 / never comes near the size of the codebook. Answer: start the codes within the encoder's outputs.
Codebook perplexity -- https://github.com/bshall/VectorQuantizedVAE/issues/3
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM702 IM503 IM101 IM102",
    "remedies": (
        "INITIALISE",
        "COLLAPSE",
        "OUTPUT_SCALE",
        "NORMALISE",
    ),
    "by": 100,
    "beside": "IM702 IM503 IM101 IM102 IM502 IM701 IM303",
    "layers": (),
}
MEASURED = (0.9694, 0.4435)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Coded(pl.LightningModule):
    def __init__(self, std):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
        self.codes = nn.Embedding(64, 8)
        nn.init.normal_(self.codes.weight, std=std)
        self.decoder = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x):
        z = self.encoder(x).view(-1, 4, 8)
        nearest = torch.cdist(z, self.codes.weight[None]).argmin(-1)
        code = self.codes(nearest)
        return self.decoder((z + (code - z).detach()).flatten(1)), z, code

    def training_step(self, batch, _):
        out, z, code = self(batch[0])
        return 10 * F.mse_loss(out, batch[0]) + F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Coded(5.0), digits(128)


def fixed():
    return Coded(0.15), digits(128)


def score(module, loader):
    """Share of the variance that the reconstruction misses (1 = the mean picture)."""
    x = loader.dataset.tensors[0]
    with torch.no_grad():
        return float((module(x)[0] - x).square().mean() / x.var(0).mean())
