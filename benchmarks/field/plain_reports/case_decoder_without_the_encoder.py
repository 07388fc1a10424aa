"""A sequence to be said backwards by an encoder and a decoder of GRUs, where the decoder makes itself a state of zeros in forward() instead of the one it is handed: the loss stays at that of guessing.
Answer: start the decoder with the state of the encoder.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 500
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": ("CONNECT", "OPTIMIZER", "UNFREEZE"),
    "by": 30,
    "beside": "IM602 IM604 IM704",
    "layers": ("encoder*",),
}
MEASURED = (2.303, 0.04325)
WORDS, LENGTH = 10, 5


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(WORDS, 16), nn.GRU(16, width, batch_first=True)

    def forward(self, words):
        return self.gru(self.embedding(words))[1]


class Decoder(nn.Module):
    def __init__(self, width, own_state):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(WORDS + 1, 16), nn.GRU(16, width, batch_first=True)
        self.out, self.own_state = nn.Linear(width, WORDS), own_state

    def forward(self, words, hidden):
        if self.own_state:
            hidden = torch.zeros(1, len(words), self.gru.hidden_size)
        return self.out(self.gru(self.embedding(words), hidden)[0])


class Backwards(pl.LightningModule):
    def __init__(self, own_state, width=96):
        super().__init__()
        self.encoder, self.decoder = Encoder(width), Decoder(width, own_state)

    def training_step(self, batch, _):
        words = batch[0]
        target = words.flip(1)
        begun = torch.cat((torch.full((len(words), 1), WORDS), target[:, :-1]), 1)
        logits = self.decoder(begun, self.encoder(words))
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def words():
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        TensorDataset(torch.randint(0, WORDS, (8192, LENGTH), generator=generator)), batch_size=64, shuffle=True
    )


def faulty():
    return Backwards(True), words()


def fixed():
    return Backwards(False), words()
