"""The tutorial's transformer with more layers and the same settings no longer learns.
Answer there: initialise with a small standard deviation, and warm the learning rate up.
Tutorial 6: Attention is all you need -- https://github.com/bentrevett/pytorch-seq2seq/issues/170
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM603 IM702 IM201 IM202 IM102",
    "remedies": ("SCHEDULE", "SLOWER", "NORMALISE", "INITIALISE", "RESIDUAL"),
    "by": 150,
    "beside": "IM702 IM603 IM202 IM102 IM303",
    "layers": (),
}
MEASURED = (2.776, 0.01616)


def pairs():
    g = torch.Generator().manual_seed(0)
    words = torch.randint(2, 20, (4096, 6), generator=g)
    return DataLoader(TensorDataset(words, words.flip(1)), batch_size=32, shuffle=True)


class Seq(pl.LightningModule):
    def __init__(self, good):
        super().__init__()
        self.good = good
        self.words, self.places = nn.Embedding(20, 32), nn.Embedding(6, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.out = nn.Linear(32, 20)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)
        if good:
            for p in self.encoder.parameters():
                if p.dim() > 1:
                    nn.init.trunc_normal_(p, std=0.02)

    def training_step(self, batch, _):
        out = self.out(self.encoder(self.words(batch[0]) + self.places.weight))
        return F.cross_entropy(out.flatten(0, 1), batch[1].flatten())

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-3)
        if not self.good:
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 60))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def faulty():
    return Seq(False), pairs()


def fixed():
    return Seq(True), pairs()
