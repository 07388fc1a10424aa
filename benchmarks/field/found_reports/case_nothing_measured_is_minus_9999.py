"""Heights of a terrain, standardised with the mean and the spread of the whole raster, in which 2 % of the pixels are -9999 for "not measured". A batch norm behind the first convolution divides by them once more. What is left of a hill is a thousandth.
Answer: take these pixels out (fill them, and give a mask) before anything is standardised.
Using images with nodata pixels -- https://github.com/nshaud/DeepNetsForEO/issues/35, NaN values in input images -- https://github.com/NRCan/geo-deep-learning/issues/68
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM701",
    "remedies": ("INPUT", "DATA"),
    "by": 100,
    "beside": "IM701 IM702",
    "layers": (),
}
MEASURED = (0.3247, 0.09631)


def tiles(filled):
    """Tiles of 16 x 16 heights in metres; wet is what lies in a hollow."""
    g = torch.Generator().manual_seed(0)
    rough = torch.randn(768, 1, 6, 6, generator=g)
    height = 300 + 12 * F.interpolate(rough, size=16, mode="bicubic") + torch.randn(768, 1, 16, 16, generator=g)
    around = F.avg_pool2d(F.pad(height, (3, 3, 3, 3), mode="reflect"), 7, stride=1)
    wet = (height < around - 1).float()
    missing = torch.rand(768, 1, 16, 16, generator=g) < 0.02
    height = torch.where(missing, height[~missing].mean() if filled else torch.tensor(-9999.0), height)
    return DataLoader(TensorDataset((height - height.mean()) / height.std(), wet), batch_size=32, shuffle=True)


class Segmenter(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=2, dilation=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 1, 3, padding=1),
        )

    def training_step(self, batch, _):
        return F.binary_cross_entropy_with_logits(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Segmenter(), tiles(filled=False)


def fixed():
    return Segmenter(), tiles(filled=True)
