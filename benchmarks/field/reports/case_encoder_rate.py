"""A transformer encoder trained with a learning rate of 0.02 (0.01 there) gives the same output for every input.
Answer there: 5e-5 in the place of 0.01.
BERT encoding layer produces same output for all inputs during evaluation -- https://github.com/huggingface/transformers/issues/735
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM603 IM702",
    "remedies": ("SLOWER",),
    "by": 100,
    "beside": "IM303 IM304 IM102 IM202 IM302 IM301",
    "layers": (),
}
MEASURED = (0.6941, 0.1436)


def reviews():
    g = torch.Generator().manual_seed(0)
    words = torch.randint(0, 50, (2048, 8), generator=g)
    return DataLoader(TensorDataset(words, ((words < 10).sum(1) > 1).long()), batch_size=32, shuffle=True)


class Bert(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.words, self.places = nn.Embedding(50, 32), nn.Embedding(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.classifier = nn.Linear(32, 2)

    def training_step(self, batch, _):
        x = self.words(batch[0]) + self.places.weight
        return F.cross_entropy(self.classifier(self.encoder(x)[:, 0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


def faulty():
    return Bert(0.02), reviews()


def fixed():
    return Bert(1e-3), reviews()
