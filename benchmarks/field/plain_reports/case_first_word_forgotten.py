"""A plain recurrent network (nn.RNN) over 80 words of which the first decides, read at the last step: nothing of the first word is left there, and the loss stays at ln 4.
Answer: an attention (here: the largest value over time) instead of the last state.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM102 IM202 IM702",
    "remedies": ("INITIALISE", "RESIDUAL", "NORMALISE"),
    "by": 250,
    "beside": "IM102 IM202 IM702",
    "layers": ("rnn*",),
}
MEASURED = (1.361, 0.01421)


def texts():
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(4, 30, (4096, 80), generator=generator)
    words[:, 0] = torch.randint(0, 4, (4096,), generator=generator)
    return DataLoader(TensorDataset(words, words[:, 0]), batch_size=64, shuffle=True)


class Reader(pl.LightningModule):
    def __init__(self, last):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(30, 32), nn.RNN(32, 64, batch_first=True)
        self.fc, self.last = nn.Linear(64, 4), last

    def training_step(self, batch, _):
        words, label = batch
        out, _ = self.rnn(self.embedding(words))
        return F.cross_entropy(self.fc(out[:, -1] if self.last else out.amax(1)), label)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Reader(True), texts()


def fixed():
    return Reader(False), texts()
