"""Denoising: the noise is np.random.normal(0, 25), a level meant for pixels of 0 to 255, on pictures of 0 to 1, so nothing is left of the picture.
Answer there: divide the level by 255.
Can I ask a question about sigma setting of blind Gaussian denoising -- https://github.com/cszn/DnCNN/issues/27
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM701",
    "remedies": ("INPUT",),
    "by": 20,
    "beside": "IM603 IM703 IM101 IM201 IM301",
    "layers": (),
}
MEASURED = (0.1419, 0.008545)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Denoise(pl.LightningModule):
    def __init__(self, sigma):
        super().__init__()
        self.sigma = sigma
        self.net = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 1, 3, padding=1),
        )

    def training_step(self, batch, _):
        noisy = batch[0] + self.sigma * torch.randn_like(batch[0])
        return F.mse_loss(self.net(noisy), batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def faulty():
    return Denoise(25.0), digits(32, images=True)


def fixed():
    return Denoise(25.0 / 255), digits(32, images=True)
