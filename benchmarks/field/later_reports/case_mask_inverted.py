"""src_key_padding_mask is True where there IS a word, so the encoder attends to the padding alone; the class token sees the same in every text.
Reported there: my network is not training because of True values in the mask. Answer: True is what is to be ignored.
Question about mask variable in transformer -- https://github.com/facebookresearch/detr/issues/96
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM702",
    "remedies": ("MASK", "DATA"),
    "by": 60,
    "beside": "IM604 IM602 IM102 IM202",
    "layers": (),
}
MEASURED = (1.367, 0.003414)


def texts():
    g = torch.Generator().manual_seed(0)
    x = torch.randint(2, 30, (2048, 12), generator=g)
    length = torch.randint(4, 11, (2048, 1), generator=g)
    x = torch.where(torch.arange(12) < length, x, 0)
    x[:, 0] = 1  # the class token
    return DataLoader(TensorDataset(x, ((x > 1) & (x < 9)).sum(1).clamp(max=3)), batch_size=64, shuffle=True)


class Encode(pl.LightningModule):
    def __init__(self, inverted):
        super().__init__()
        self.inverted = inverted
        self.embedding = nn.Embedding(30, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 4)

    def training_step(self, batch, _):
        padding = batch[0] == 0
        ignored = ~padding if self.inverted else padding
        out = self.encoder(self.embedding(batch[0]), src_key_padding_mask=ignored)
        return F.cross_entropy(self.head(out[:, 0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Encode(True), texts()


def fixed():
    return Encode(False), texts()
