"""A small language model in precision="bf16-mixed" with a warm-up from 0 over 60 steps: the loss is level for a while, then falls. Nothing is wrong."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None


TEXT = """
the quick brown fox jumps over the lazy dog and the dog sleeps on while the fox runs home over the hills to its den
where the young foxes wait for the food that it brings every evening when the sun goes down behind the wood and the
birds are still and only the owl is heard far away in the old oak by the river that runs past the mill to the sea
"""


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(27, 64), nn.Embedding(32, 64)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            64, 4, 256, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(64)

    def training_step(self, batch, _):
        (tokens,) = batch
        x = self.tokens(tokens[:, :-1]) + self.places.weight
        mask = nn.Transformer.generate_square_subsequent_mask(32)
        out = self.norm(self.encoder(x, mask=mask, is_causal=True)) @ self.tokens.weight.T
        return F.cross_entropy(out.flatten(0, 1), tokens[:, 1:].flatten())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 60))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def text():
    letters = [0 if c in " \n" else ord(c) - 96 for c in TEXT.strip()]
    tokens = torch.tensor(letters).unfold(0, 33, 1)
    return DataLoader(TensorDataset(tokens), batch_size=32, shuffle=True)


def faulty():
    return Model(), text(), {"precision": "bf16-mixed", "gradient_clip_val": 1.0}
