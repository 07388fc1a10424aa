"""A diffusion model's loss hardly falls, from 1.1 to 0.9, and stays there, while what it samples gets better: most of the noise cannot be told from the picture.
Asked there: why is the loss stuck at around 0.9? Answer: that is normal for this loss.
Why the loss stuck at around 0.9? -- https://github.com/PRBonn/LiDiff/issues/27
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None
MEASURED = None


def clouds():
    """32 numbers, of which a tenth of the variance has a structure."""
    g = torch.Generator().manual_seed(0)
    hidden, mix = torch.randn(4096, 3, generator=g), torch.randn(3, 32, generator=g) / 3**0.5
    return DataLoader(
        TensorDataset(0.5 * torch.sin(2 * hidden @ mix) + torch.randn(4096, 32, generator=g)),
        batch_size=128,
        shuffle=True,
    )


class Denoiser(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(33, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 32))

    def training_step(self, batch, _):
        x = batch[0]
        sigma = torch.rand(len(x), 1) * 0.3 + 0.05
        noise = torch.randn_like(x)
        return F.mse_loss(self.net(torch.cat([x + sigma * noise, sigma * 5 - 1], 1)), noise)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def faulty():
    return Denoiser(), clouds()
