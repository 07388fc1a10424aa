"""Networks that make pictures: an autoencoder, a U-Net, a variational autoencoder, and the two sides of a GAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PIXELS = 64
CODE = 8
NOISE = 16
QUIET = 0.1
"""Factor of the weights of an output layer: a network with small first outputs starts at the loss of the mean."""


class Autoencoder(nn.Module):
    """Pixels to a code and back.

    Attributes:
        detached: the code is cut off from the encoder.
    """

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2 * CODE)
        )
        self.decoder = nn.Sequential(
            nn.Linear(2 * CODE, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, PIXELS)
        )
        self.detached = False
        he(self)
        self.decoder.get_submodule("4").get_parameter("weight").data.mul_(QUIET)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, 64] for [n, 64]."""
        code = self.encoder(x)
        decoded: Tensor = self.decoder(code.detach() if self.detached else code)
        return decoded


class Double(nn.Sequential):
    """Two 3 × 3 convolutions with a ReLU each."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
        )


class UNet(nn.Module):
    """Two levels down and up again, with skip connections by concatenation (Ronneberger et al. 2015)."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.top, self.middle, self.bottom = Double(1, width), Double(width, 2 * width), Double(2 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.raise1 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.right1 = Double(4 * width, 2 * width)
        self.raise2 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.right2 = Double(2 * width, width)
        self.output = nn.Conv2d(width, 1, 1)
        he(self)
        self.output.weight.data.mul_(QUIET)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, 1, h, w] for [n, 1, h, w], with h and w multiples of 4."""
        top = self.top(x)
        middle = self.middle(self.pool(top))
        bottom = self.bottom(self.pool(middle))
        middle = self.right1(torch.cat([middle, self.raise1(bottom)], 1))
        cleaned: Tensor = self.output(self.right2(torch.cat([top, self.raise2(middle)], 1)))
        return cleaned


class Variational(nn.Module):
    """A variational autoencoder (Kingma & Welling 2014)."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(PIXELS, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.mean = nn.Linear(hidden, CODE)
        self.log_variance = nn.Linear(hidden, CODE)
        self.decoder = nn.Sequential(
            nn.Linear(CODE, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, PIXELS)
        )
        he(self)
        self.decoder.get_submodule("4").get_parameter("weight").data.mul_(QUIET)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the picture [n, 64], the mean and the log variance of the code [n, 8]."""
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(code), mean, log_variance


def generator(hidden: int = 64) -> nn.Sequential:
    """Return a generator of 64 pixels from noise."""
    net = nn.Sequential(
        nn.Linear(NOISE, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, PIXELS)
    )
    he(net)
    return net


def discriminator(hidden: int = 64, *, probabilities: bool = False) -> nn.Sequential:
    """Return a discriminator that says whether 64 pixels are real, as a logit or as a probability."""
    net = nn.Sequential(
        nn.Linear(PIXELS, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, 1),
        *([nn.Sigmoid()] if probabilities else []),
    )
    he(net)
    return net


def he(net: nn.Module) -> None:
    """Initialise with He's recipe and zero biases; layers that no rectifier follows with Xavier's."""
    layers = [part for part in net.modules() if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    rectified = {
        id(first)
        for chain in net.modules()
        if isinstance(chain, nn.Sequential)
        for first, second in zip(chain, list(chain)[1:], strict=False)
        if isinstance(second, (nn.ReLU, nn.LeakyReLU, nn.SiLU))
    }
    for layer in layers:
        if id(layer) in rectified:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
