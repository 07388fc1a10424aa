"""Text recognition with CTC; for the longest labels the network gives fewer frames than the label needs, so the loss is infinite and the weights become NaN.
Answer there: less pooling along the width, so that there are enough frames.
CTC loss always becomes nan during training -- https://github.com/ypwhs/captcha_break/issues/29
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {"codes": "IM601 IM802", "remedies": ("DATA", "GUARD"), "by": 40, "beside": "IM601 IM802", "layers": ()}
MEASURED = (float("nan"), 1.406)


def captchas():
    g = torch.Generator().manual_seed(0)
    length = torch.randint(2, 4, (1024,), generator=g)
    length[640:] = torch.randint(2, 8, (384,), generator=g)
    labels = torch.randint(1, 11, (1024, 7), generator=g)
    glyph = torch.randn(11, 4, 8, generator=g)
    images = glyph[labels].permute(0, 3, 1, 2).flatten(2)
    images = images + 0.3 * torch.randn(images.shape, generator=g)
    return DataLoader(TensorDataset(images, labels, length), batch_size=32)


class Recognise(pl.LightningModule):
    def __init__(self, pool):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(8, 64, 3, padding=1), nn.ReLU(), nn.MaxPool1d(pool), nn.Conv1d(64, 64, 3, padding=1), nn.ReLU()
        )
        self.classes = nn.Linear(64, 11)

    def training_step(self, batch, _):
        images, labels, length = batch
        out = self.classes(self.features(images).permute(2, 0, 1)).log_softmax(2)
        frames = torch.full((len(images),), len(out), dtype=torch.long)
        return F.ctc_loss(out, labels, frames, length)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Recognise(4), captchas()


def fixed():
    return Recognise(2), captchas()
