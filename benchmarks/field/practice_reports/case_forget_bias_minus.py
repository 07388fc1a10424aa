"""A two-layer LSTM that has to remember its first letter: the forget bias is set on a quarter of the biases, with the sign turned round (-5), so every cell forgets at each step.
Answer: a forget bias of +1 or more (Jozefowicz et al. 2015).
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM202 IM502 IM303 IM102 IM702",
    "remedies": ("INITIALISE", "ACTIVATION"),
    "by": 250,
    "beside": "IM202 IM502 IM303 IM102 IM702",
    "layers": ("*lstm*",),
}
MEASURED = (2.047, 0.002728)


def texts():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 8, (4096, 24), generator=generator)
    return DataLoader(TensorDataset(x, x[:, 0]), batch_size=64, shuffle=True)


class Reader(pl.LightningModule):
    def __init__(self, forget):
        super().__init__()
        self.embed = nn.Embedding(8, 32)
        self.lstm = nn.LSTM(32, 48, num_layers=2, batch_first=True)
        self.head = nn.Linear(48, 8)
        for name, bias in self.lstm.named_parameters():
            if "bias_ih" in name:
                bias.data[48:96] = forget

    def training_step(self, batch, _):
        hidden, _ = self.lstm(self.embed(batch[0]))
        return F.cross_entropy(self.head(hidden[:, -1]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def faulty():
    return Reader(-5.0), texts()


def fixed():
    return Reader(3.0), texts()
