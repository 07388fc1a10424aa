"""Sequences of 5 to 15 words in a table padded to 150; a GRU reads them and its output at the last place is classified: after 135 paddings
it has forgotten the words and is the same for all.
Answer: the output at each sequence's own end (or pack_padded_sequence).
Asked of on forums wherever somebody takes out[:, -1] of padded sequences.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {
    "codes": "IM702 IM202",
    "remedies": ("MASK", "DATA"),
    "by": 60,
    "beside": "IM702 IM202 IM102",
    "layers": (),
}
MEASURED = (0.696, 0.04746)


def texts():
    """Whether more words of the first half of the vocabulary occur than of the other."""
    g = torch.Generator().manual_seed(0)
    x = torch.zeros(1024, 150, dtype=torch.long)
    length = torch.randint(5, 16, (1024,), generator=g)
    y = torch.randint(0, 2, (1024,), generator=g)
    for i in range(1024):
        share = 0.8 if y[i] else 0.2
        low = torch.rand(int(length[i]), generator=g) < share
        words = torch.randint(1, 26, (int(length[i]),), generator=g)
        x[i, : length[i]] = torch.where(low, words, words + 25)
    return DataLoader(TensorDataset(x, length, y), batch_size=32, shuffle=True)


class Reader(pl.LightningModule):
    def __init__(self, own_end):
        super().__init__()
        self.own_end = own_end
        self.words = nn.Embedding(51, 24, padding_idx=0)
        self.gru = nn.GRU(24, 32, batch_first=True)
        self.head = nn.Linear(32, 2)

    def training_step(self, batch, _):
        x, length, y = batch
        out = self.gru(self.words(x))[0]
        last = out[torch.arange(len(x)), length - 1] if self.own_end else out[:, -1]
        return F.cross_entropy(self.head(last), y)

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=2e-3)


def faulty():
    return Reader(False), texts()


def fixed():
    return Reader(True), texts()
