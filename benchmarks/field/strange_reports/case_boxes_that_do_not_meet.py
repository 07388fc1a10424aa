"""A detector whose only loss is 1 - IoU. Its first boxes are specks in the corner which meet no object: the intersection is 0, and so is every gradient; the loss is 1 for ever.
Known of the plain IoU loss (Rezatofighi et al. 2019): no gradient without overlap. Answer: the generalised IoU and an L1 term.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": (
        "OUTPUT_ACTIVATION",
        "CONNECT",
        "GUARD",
        "LOSS_TERM",
        "TARGET",
    ),
    "by": 40,
    "beside": "IM602 IM604 IM603 IM202",
    "layers": (),
}
MEASURED = (1.0, 0.3516)


def scenes():
    """Pictures of 16 x 16 with one bright box, and its corners over 16."""
    g = torch.Generator().manual_seed(0)
    corner, size = torch.randint(5, 9, (2048, 2), generator=g), torch.randint(3, 8, (2048, 2), generator=g)
    grid = torch.arange(16)
    inside = (grid >= corner[..., None]) & (grid < (corner + size)[..., None])
    picture = (inside[:, 0, :, None] & inside[:, 1, None, :]).float()[:, None] + 0.1 * torch.randn(
        2048, 1, 16, 16, generator=g
    )
    return DataLoader(TensorDataset(picture, torch.cat([corner, corner + size], 1) / 16), batch_size=32, shuffle=True)


def overlap(a, b):
    """IoU, and the part of the box around both that neither fills."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return common / union, (around - union) / around


class Detector(pl.LightningModule):
    def __init__(self, general):
        super().__init__()
        self.general = general
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 4),
        )
        nn.init.normal_(self.net[9].weight, std=0.01)

    def training_step(self, batch, _):
        boxes = self.net(batch[0])
        iou, gap = overlap(boxes, batch[1])
        if self.general:
            return (1 - iou + gap).mean() + F.l1_loss(boxes, batch[1])
        return (1 - iou).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=2e-2, momentum=0.9)


def faulty():
    return Detector(False), scenes()


def fixed():
    return Detector(True), scenes()


def score(module, loader):
    """1 - mean IoU."""
    picture, box = loader.dataset.tensors
    with torch.no_grad():
        return float(1 - overlap(module.net(picture), box)[0].mean())
