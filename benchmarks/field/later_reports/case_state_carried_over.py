"""Truncated backpropagation: a GRU's state is handed from batch to batch and detached. That is how it is done.
Asked of in many tutorials on language models, whether detaching is a mistake. It is not.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 190
ANSWER = None  # nothing to be said by a signal monitor


def stream():
    g = torch.Generator().manual_seed(0)
    x = torch.cumsum(torch.randint(1, 3, (16, 4001), generator=g), 1) % 12
    parts = torch.stack([x[:, i : i + 21] for i in range(0, 3980, 20)])
    return DataLoader(TensorDataset(parts), batch_size=1)


class Stream(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.embedding, self.gru, self.head = nn.Embedding(12, 16), nn.GRU(16, 48, batch_first=True), nn.Linear(48, 12)
        self.state = None

    def training_step(self, batch, _):
        x = batch[0][0]
        out, state = self.gru(self.embedding(x[:, :-1]), self.state)
        self.state = state.detach()
        return F.cross_entropy(self.head(out).flatten(0, 1), x[:, 1:].flatten())

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=3e-3)


def faulty():
    return Stream(), stream()
