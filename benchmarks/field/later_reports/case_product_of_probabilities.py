"""A sequence's likelihood is the product of the probabilities of its 60 steps, and the loss minus its logarithm: the product is below the smallest number.
Answer: add up the logarithms.
Log of a product that underflows: reported often for sequence models and hidden Markov models.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 100
ANSWER = {
    "codes": "IM601 IM802",
    "remedies": ("GUARD",),
    "by": 10,
    "beside": "IM601 IM802",
    "layers": (),
}
MEASURED = (float("nan"), 0.4441)


def sequences():
    g = torch.Generator().manual_seed(0)
    step = torch.randint(1, 4, (1024, 1), generator=g)
    noise = (torch.rand(1024, 61, generator=g) < 0.1).long()
    x = (step * torch.arange(61) + noise) % 24
    return DataLoader(TensorDataset(x), batch_size=32, shuffle=True)


class Predict(pl.LightningModule):
    def __init__(self, product):
        super().__init__()
        self.product = product
        self.embedding, self.gru, self.head = nn.Embedding(24, 24), nn.GRU(24, 48, batch_first=True), nn.Linear(48, 24)

    def training_step(self, batch, _):
        x = batch[0]
        log_p = self.head(self.gru(self.embedding(x[:, :-1]))[0]).log_softmax(2).gather(2, x[:, 1:, None])[..., 0]
        return -log_p.exp().prod(1).log().mean() / 60 if self.product else -log_p.mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def faulty():
    return Predict(True), sequences()


def fixed():
    return Predict(False), sequences()
