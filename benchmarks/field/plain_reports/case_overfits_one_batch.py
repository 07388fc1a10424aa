"""Nothing is wrong: the usual check whether a network can learn 16 texts by heart. The loss goes to nearly 0 and every gradient with it."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None


class Classifier(pl.LightningModule):
    def __init__(self, width=64):
        super().__init__()
        self.word, self.place = nn.Embedding(200, width), nn.Embedding(24, width)
        layer = nn.TransformerEncoderLayer(width, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 4)

    def training_step(self, batch, _):
        words, label = batch
        return F.cross_entropy(self.head(self.layers(self.word(words) + self.place.weight).mean(1)), label)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def texts():
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 200, (512, 24), generator=generator)
    return DataLoader(TensorDataset(words, torch.randint(0, 4, (512,), generator=generator)), batch_size=16)


def faulty():
    return Classifier(), texts(), {"overfit_batches": 1}
