"""A spatial transformer looks for the digit on a larger canvas. Its six numbers start from the layer's own random weights and not from the identity, scaled for pixels, so that it looks beside the canvas, where everything is black and the same for every picture.
Answer: start the last layer with weight 0 and the bias of the identity.
Transformation blanks images -- https://github.com/qassemoquab/stnbhwd/issues/22, Output of spatial transformer network is in plain black color -- https://github.com/oarriaga/STN.keras/issues/18
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM702 IM604 IM602 IM202 IM102 IM303 IM502",
    "remedies": ("INITIALISE", "INPUT", "OUTPUT_SCALE"),
    "by": 150,
    "beside": "IM702 IM604 IM602 IM202 IM102 IM303 IM502 IM603",
    "layers": (),
}
MEASURED = (2.306, 0.181)


def canvases():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset(F.pad(x, (6, 6, 6, 6)), torch.tensor(y)), batch_size=64, shuffle=True)


class Transformer(pl.LightningModule):
    def __init__(self, identity):
        super().__init__()
        self.localize = nn.Sequential(
            nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 64, 32), nn.ReLU()
        )
        self.theta = nn.Linear(32, 6)
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1296, 10))
        with torch.no_grad():
            if identity:
                self.theta.weight.zero_()
                self.theta.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
            else:  # in pixels of the canvas
                self.theta.weight.mul_(20)
                self.theta.bias.copy_(torch.tensor([20.0, 0, 10, 0, 20, 10]))

    def training_step(self, batch, _):
        x, y = batch
        theta = self.theta(self.localize(x)).view(-1, 2, 3)
        looked = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)
        return F.cross_entropy(self.net(looked), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Transformer(identity=False), canvases()


def fixed():
    return Transformer(identity=True), canvases()
