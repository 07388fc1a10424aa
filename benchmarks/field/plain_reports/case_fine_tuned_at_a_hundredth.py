"""A Transformer encoder that was trained on one task is fine-tuned on another with Adam at 1e-2: what it knew is gone within a few steps, and it says the same of every text.
Answer: a rate of 5e-4 (as everybody uses 2e-5 for BERT).
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM603 IM303 IM304 IM702 IM101 IM201 IM802 IM703",
    "remedies": ("SLOWER",),
    "by": 100,
    "beside": "IM603 IM303 IM304 IM702 IM101 IM201 IM802 IM703 IM301 IM202",
    "layers": (),
}
MEASURED = (0.6821, 0.0416)
WORDS, LENGTH, WIDTH = 60, 16, 48


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.place = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 96, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    def forward(self, words):
        return self.layers(self.word(words) + self.place.weight)[:, 0]


def texts(count, seed):
    """The kind of a text is that of most of its words, of five kinds; 0 begins each text."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 5, (count,), generator=generator)
    others = torch.randint(0, 5, (count, LENGTH), generator=generator)
    of = torch.where(torch.rand(count, LENGTH, generator=generator) < 0.5, kind[:, None], others)
    words = of * 11 + torch.randint(1, 12, (count, LENGTH), generator=generator)
    words[:, 0] = 0
    return words, kind


def pretrained():
    encoder, head = Encoder(), nn.Linear(WIDTH, 5)
    words, kind = texts(4096, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-3)
    for i in range(150):
        part = slice(32 * i % 4096, 32 * i % 4096 + 32)
        optimizer.zero_grad()
        F.cross_entropy(head(encoder(words[part])), kind[part]).backward()
        optimizer.step()
    return encoder


class FineTuning(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.encoder, self.head, self.rate = pretrained(), nn.Linear(WIDTH, 2), rate

    def training_step(self, batch, _):
        words, label = batch
        return F.cross_entropy(self.head(self.encoder(words)), label)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def reviews():
    words, kind = texts(1024, 2)
    return DataLoader(TensorDataset(words, (kind >= 2).long()), batch_size=32, shuffle=True)


def faulty():
    return FineTuning(1e-2), reviews()


def fixed():
    return FineTuning(5e-4), reviews()
