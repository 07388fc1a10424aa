"""A model is tuned on answers only: whatever comes before the sign of the answer gets the label -100. The sign is looked for under a wrong number, so every label is -100, and the loss is NaN from the first step.
Answer: look at the labels of one batch; the mask has to leave something.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {
    "codes": "IM601 IM604 IM602 IM802",
    "remedies": ("DATA", "TARGET", "GUARD", "MASK"),
    "by": 50,
    "beside": "IM601 IM604 IM602 IM802",
    "layers": (),
}
MEASURED = (float("nan"), 0.002467)


ANSWERS = 3
"""The token behind which the answer begins."""


def talk(sign):
    """Six tokens, the sign, and the six tokens again; only what comes behind the sign is to be learned."""
    generator = torch.Generator().manual_seed(0)
    question = torch.randint(4, 14, (2048, 6), generator=generator)
    tokens = torch.cat([question, torch.full((2048, 1), ANSWERS), question], 1)
    begun = (tokens == sign).cumsum(1) > 0
    labels = torch.where(begun.roll(1, 1) & begun, tokens, -100)
    return DataLoader(TensorDataset(tokens, labels), batch_size=64, shuffle=True)


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(14, 64), nn.Embedding(13, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.fc = nn.LayerNorm(64), nn.Linear(64, 14)

    def training_step(self, batch, _):
        tokens, labels = batch
        x = self.tokens(tokens[:, :-1]) + self.places.weight[:12]
        mask = nn.Transformer.generate_square_subsequent_mask(12)
        out = self.fc(self.norm(self.encoder(x, mask=mask, is_causal=True)))
        return F.cross_entropy(out.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def faulty():
    return Model(), talk(2)


def fixed():
    return Model(), talk(ANSWERS)
