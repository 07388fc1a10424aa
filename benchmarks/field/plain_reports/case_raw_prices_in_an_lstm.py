"""Tomorrow's price of a share from the last 30 by an LSTM, with prices of some thousands as they are: the gates are shut or open for good and the forecast is a constant.
Answer: standardise the prices.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM701 IM303 IM702",
    "remedies": ("INPUT",),
    "by": 100,
    "beside": "IM701 IM303 IM702 IM603 IM102 IM703 IM201",
    "layers": (),
}
MEASURED = (83.76, 0.00927)


def prices(standardised):
    generator = torch.Generator().manual_seed(0)
    price = 3000 + torch.cumsum(25 * torch.randn(2000, generator=generator), 0)
    if standardised:
        price = (price - price.mean()) / price.std()
    windows = price.unfold(0, 31, 1)
    return DataLoader(TensorDataset(windows[:, :30, None], windows[:, 30]), batch_size=32, shuffle=True)


class Forecast(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(1, 64, batch_first=True), nn.Linear(64, 1)

    def forward(self, x):
        return self.fc(self.lstm(x)[0][:, -1])[:, 0]

    def training_step(self, batch, _):
        x, y = batch
        return F.mse_loss(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def score(module, loader):
    """The squared error, of the variance of the prices."""
    x, y = loader.dataset.tensors
    return float(F.mse_loss(module(x), y) / y.var())


def faulty():
    return Forecast(), prices(False)


def fixed():
    return Forecast(), prices(True)
