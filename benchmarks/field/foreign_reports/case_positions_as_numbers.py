"""A small language model adds the position itself, 0 to 127, to every word's embedding of N(0, 0.02): beside it the words are nothing.
Answer: an embedding of the positions, or sines of them.
Positions multiplied where they were to be divided, so that they outweigh everything -- https://github.com/goodfire-ai/spd/pull/88
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {
    "codes": "IM701 IM702 IM304 IM101 IM402",
    "remedies": ("INPUT", "NORMALISE", "OUTPUT_SCALE", "ATTENTION"),
    "by": 50,
    "beside": "IM701 IM702 IM304 IM101 IM402 IM703",
    "layers": (),
}
MEASURED = (3.63, 0.696)


def texts():
    """Words of which each follows from the one before it, but for one in ten."""
    g = torch.Generator().manual_seed(0)
    follower = torch.randperm(40, generator=g)
    x = torch.randint(0, 40, (512, 129), generator=g)
    for i in range(1, 129):
        kept = torch.rand(512, generator=g) < 0.9
        x[kept, i] = follower[x[kept, i - 1]]
    return DataLoader(TensorDataset(x), batch_size=16, shuffle=True)


class Model(pl.LightningModule):
    def __init__(self, learned):
        super().__init__()
        self.words = nn.Embedding(40, 48)
        nn.init.normal_(self.words.weight, std=0.02)
        self.places = nn.Embedding(128, 48) if learned else None
        if learned:
            nn.init.normal_(self.places.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
        layer.norm1, layer.norm2 = nn.RMSNorm(48), nn.RMSNorm(48)
        self.blocks = nn.TransformerEncoder(layer, 2, norm=nn.RMSNorm(48), enable_nested_tensor=False)
        self.head = nn.Linear(48, 40)

    def training_step(self, batch, _):
        x, y = batch[0][:, :-1], batch[0][:, 1:]
        place = torch.arange(x.shape[1])
        h = self.words(x) + (place[:, None].float() if self.places is None else self.places(place))
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return F.cross_entropy(self.head(self.blocks(h, mask=mask, is_causal=True)).flatten(0, 1), y.flatten())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Model(False), texts()


def fixed():
    return Model(True), texts()
