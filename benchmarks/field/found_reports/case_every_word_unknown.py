"""Texts in capitals are looked up in a vocabulary of small letters, so that every word is the unknown one: of 2000 rows of the embedding two are used, it and the padding.
Answer: bring the texts to small letters, as the vocabulary is.
<unk> appearing in 2.0.x despite using Sentencepiece/BPE -- https://github.com/OpenNMT/OpenNMT-py/issues/2020, Does vmap cause so many 'unk' token -- https://github.com/OpenNMT/CTranslate2/issues/643
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM704 IM702",
    "remedies": ("DATA", "INPUT", "DIMENSION"),
    "by": 180,
    "beside": "IM704 IM702",
    "layers": (),
}
MEASURED = (1.389, 0.002437)

PADDING, UNKNOWN = 0, 1


def texts(capitals):
    """Words of four topics, 12 to 24 of them; the length tells nothing."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (2048,), generator=g)
    words = torch.multinomial(torch.softmax(2 * torch.randn(4, 1998, generator=g), 1)[y], 24, generator=g) + 2
    if capitals:
        words = torch.full_like(words, UNKNOWN)
    length = torch.randint(12, 25, (2048, 1), generator=g)
    return DataLoader(
        TensorDataset(torch.where(torch.arange(24) < length, words, PADDING), y), batch_size=64, shuffle=True
    )


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2000, 64, padding_idx=PADDING)
        self.rnn = nn.GRU(64, 64, batch_first=True, bidirectional=True)
        self.out = nn.Linear(128, 4)

    def training_step(self, batch, _):
        words, y = batch
        there = (words != PADDING).unsqueeze(2)
        h = self.rnn(self.embed(words))[0].masked_fill(~there, float("-inf")).amax(1)
        return F.cross_entropy(self.out(h), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Classifier(), texts(capitals=True)


def fixed():
    return Classifier(), texts(capitals=False)
