"""A vocoder like HiFi-GAN with its init_weights, N(0, 0.01), but without the weight norm and the kernels of thousands of inputs that it is for: transposed convolutions and residual blocks one after another, each makes the sound a tenth.
Answer: He's recipe (or the weight norm).
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM102 IM202 IM502 IM702",
    "remedies": ("INITIALISE",),
    "by": 100,
    "beside": "IM102 IM202 IM502 IM702 IM402",
    "layers": (),
}
MEASURED = (0.08592, 0.05128)


def sounds():
    """64 samples from 8 frames of log energy in 4 bands."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(64.0)
    bands = torch.tensor([0.1, 0.25, 0.5, 0.9])
    loud = F.interpolate(torch.rand(2048, 4, 8, generator=generator), scale_factor=8, mode="linear")
    wave = (loud * torch.sin(bands[:, None] * time)).sum(1, keepdim=True) / 2
    frames = F.avg_pool1d(loud, 8)
    return DataLoader(TensorDataset((frames - frames.mean()) / frames.std(), wave), batch_size=64, shuffle=True)


class ResBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in (1, 3))

    def forward(self, x):
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, 0.1))
        return x


class Vocoder(pl.LightningModule):
    def __init__(self, std, width=32):
        super().__init__()
        self.pre = nn.Conv1d(4, width, 3, padding=1)
        self.ups = nn.ModuleList(nn.ConvTranspose1d(width, width, 4, 2, 1) for _ in range(3))
        self.blocks = nn.ModuleList(ResBlock(width) for _ in range(3))
        self.post = nn.Conv1d(width, 1, 7, padding=3)
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
                if std:
                    nn.init.normal_(module.weight, 0, std)
                else:
                    nn.init.kaiming_normal_(module.weight, 0.1, nonlinearity="leaky_relu")

    def training_step(self, batch, _):
        x = self.pre(batch[0])
        for up, block in zip(self.ups, self.blocks):
            x = block(up(F.leaky_relu(x, 0.1)))
        return F.l1_loss(torch.tanh(self.post(F.leaky_relu(x, 0.1))), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, betas=(0.8, 0.99))


def faulty():
    return Vocoder(0.01), sounds()


def fixed():
    return Vocoder(None), sounds()
