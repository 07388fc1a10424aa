"""A critic's weights are clipped to [-0.01, 0.01] after every step, and the critic has seven layers without normalisation: hardly anything of
its gradient comes through. Answer: a gradient penalty, or normalisation and a wider clip.
Said of the clip in the paper on improved Wasserstein GANs (Gulrajani et al. 2017, section 3); reported often on forums.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM102 IM202 IM603 IM702 IM604",
    "remedies": ("UNDONE", "NORMALISE", "CLIP", "WEIGHT_DECAY"),
    "by": 150,
    "beside": "IM102 IM202 IM603 IM702 IM502 IM604 IM301",
    "layers": (),
}
MEASURED = (1.386, 0.00401)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Critic(pl.LightningModule):
    """Tells pictures from noise of the same mean and spread; the difference of its means is to grow."""

    def __init__(self, bound):
        super().__init__()
        self.bound = bound
        layers = [nn.Linear(64, 64), nn.LeakyReLU(0.2)]
        for _ in range(5):
            layers += [nn.Linear(64, 64), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear(64, 1))

    def training_step(self, batch, _):
        x = batch[0]
        noise = x.mean() + x.std() * torch.randn_like(x)
        return F.softplus(self.net(noise)).mean() + F.softplus(-self.net(x)).mean()

    def on_train_batch_end(self, *_):
        for parameter in self.parameters():
            parameter.data.clamp_(-self.bound, self.bound)

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=5e-4)


def faulty():
    return Critic(0.01), digits(64)


def fixed():
    return Critic(0.3), digits(64)
