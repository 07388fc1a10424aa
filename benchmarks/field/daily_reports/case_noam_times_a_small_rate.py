"""The schedule of 'Attention is all you need' gives the rate itself, but LambdaLR multiplies it with the lr of the optimizer, which was left at 1e-4: the rate peaks at 1e-7.
Answer: lr=1 in the optimizer, because the factor is the rate.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM603 IM604",
    "remedies": ("FASTER", "SCHEDULE", "LEARNING_RATE"),
    "by": 150,
    "beside": "IM603 IM604",
    "layers": (),
}
MEASURED = (2.543, 0.2238)


WIDTH, WARMUP = 64, 100


def words():
    """Sequences of which each next token is the sum of the last two."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 11, (2048, 12), generator=generator)
    for place in range(2, 12):
        tokens[:, place] = (tokens[:, place - 1] + tokens[:, place - 2]) % 11
    return DataLoader(TensorDataset(tokens), batch_size=64, shuffle=True)


class Model(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.tokens, self.places = nn.Embedding(11, WIDTH), nn.Embedding(12, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.fc = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 11)

    def training_step(self, batch, _):
        (tokens,) = batch
        given = tokens[:, :-1]
        length = given.shape[1]
        x = self.tokens(given) + self.places.weight[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        out = self.fc(self.norm(self.encoder(x, mask=mask, is_causal=True)))
        return F.cross_entropy(out.flatten(0, 1), tokens[:, 1:].flatten())

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.rate, betas=(0.9, 0.98), eps=1e-9)

        def noam(step):
            step = max(step, 1)
            return 0.4 * WIDTH**-0.5 * min(step**-0.5, step * WARMUP**-1.5)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, noam)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def faulty():
    return Model(1e-4), words()


def fixed():
    return Model(1.0), words()
