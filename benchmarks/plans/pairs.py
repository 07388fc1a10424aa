"""Every pair of a network and a task, with the kind of optimizer it is trained by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from benchmarks.plans import networks_kinds as kinds, networks_plain as plain, networks_residual as residual, task

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Pair:
    """A network and what it learns.

    Attributes:
        name: of both.
        make: builds the network as PyTorch, or its author, initialises it.
        task: makes what it learns.
        optimizer: ``"AdamW"`` or ``"SGD"`` (momentum 0.9).
        faulty: the two faulty starts, by name.
    """

    name: str
    make: Callable[[], nn.Module]
    task: Callable[[], task.Task]
    optimizer: str
    faulty: tuple[str, str]


FAULTS = ("large", "small", "alike", "one layer")

_MLPS = {
    "MLP, ReLU x 3": (nn.ReLU, 3),
    "MLP, ReLU x 8": (nn.ReLU, 8),
    "MLP, ReLU x 20": (nn.ReLU, 20),
    "MLP, GELU x 6": (nn.GELU, 6),
    "MLP, SiLU x 8": (nn.SiLU, 8),
    "MLP, Mish x 4": (nn.Mish, 4),
    "MLP, ELU x 8": (nn.ELU, 8),
    "MLP, SELU x 8": (nn.SELU, 8),
    "MLP, leaky ReLU x 8": (partial(nn.LeakyReLU, 0.1), 8),
    "MLP, tanh x 5": (nn.Tanh, 5),
    "MLP, tanh x 20": (nn.Tanh, 20),
    "MLP, sigmoid x 3": (nn.Sigmoid, 3),
    "MLP, softplus x 3": (nn.Softplus, 3),
}
_LISTED: tuple[tuple[str, Callable[[], nn.Module], Callable[[], task.Task]], ...] = (
    *((name, partial(plain.mlp, *made), task.digits) for name, made in _MLPS.items()),
    ("MLP with batch norm x 8", partial(plain.normed_mlp, nn.BatchNorm1d, 8), task.digits),
    ("MLP with layer norm x 8", partial(plain.normed_mlp, nn.LayerNorm, 8), task.digits),
    ("MLP with dropout", plain.dropout_mlp, task.digits),
    ("MLP with weight norm", plain.weight_norm_mlp, task.digits),
    ("MLP with spectral norm", plain.spectral_mlp, task.digits),
    ("regression, tanh", partial(plain.mlp, nn.Tanh, 2, sizes=(10, 1)), task.diabetes),
    ("regression, ReLU x 6", partial(plain.mlp, nn.ReLU, 6, sizes=(10, 1)), task.diabetes),
    ("table, ReLU", partial(plain.mlp, nn.ReLU, 3, sizes=(30, 2)), task.cancer),
    ("categories", plain.Columns, task.categories),
    ("CNN x 4", partial(plain.cnn, 4), task.pictures),
    ("CNN x 8", partial(plain.cnn, 8), task.pictures),
    ("CNN with batch norm", partial(plain.cnn, 6, nn.BatchNorm2d), task.pictures),
    ("CNN with group norm", partial(plain.cnn, 6, partial(nn.GroupNorm, 4)), task.pictures),
    ("VGG", partial(plain.vgg, norm=False), task.pictures),
    ("VGG with batch norm", partial(plain.vgg, norm=True), task.pictures),
    ("separable CNN", plain.separable, task.pictures),
    ("ResNet", partial(residual.resnet, nn.BatchNorm2d, 3), task.pictures),
    ("ResNet, pre-activation", partial(residual.resnet, nn.BatchNorm2d, 3, pre=True), task.pictures),
    ("ResNet with group norm", partial(residual.resnet, partial(nn.GroupNorm, 4), 3), task.pictures),
    ("ResNet without norm", partial(residual.resnet, None, 6), task.pictures),
    ("residual MLP x 12", partial(residual.residual_mlp, 12, norm=False), task.digits),
    ("residual MLP with layer norm", partial(residual.residual_mlp, 6, norm=True), task.digits),
    ("ReZero MLP x 10", partial(residual.rezero, 10), task.digits),
    ("ConvNeXt", residual.convnext, task.pictures),
    ("U-Net", partial(plain.UNet, norm=False), task.denoising),
    ("U-Net with batch norm", partial(plain.UNet, norm=True), task.denoising),
    ("autoencoder, ReLU", partial(plain.autoencoder, nn.ReLU, (64, 32, 8)), task.reconstruction),
    ("autoencoder, tanh, deep", partial(plain.autoencoder, nn.Tanh, (64, 48, 32, 16, 8)), task.reconstruction),
    ("transformer, pre-norm, 32 units", partial(residual.Classifier, 32, 4), task.rows),
    ("transformer, pre-norm, 64 units", partial(residual.Classifier, 64, 4), task.rows),
    ("transformer, pre-norm, 128 units", partial(residual.Classifier, 128, 2), task.rows),
    ("transformer, post-norm, 64 units", partial(residual.Classifier, 64, 2, pre=False), task.rows),
    ("torch's encoder, post-norm", residual.encoder, task.rows),
    ("GPT", partial(residual.Language, 32, 3, tied=False), task.text),
    ("GPT, tied", partial(residual.Language, 32, 3, tied=True), task.text),
    ("Llama", partial(residual.Language, 32, 3, tied=False, gated=True), task.text),
    ("mixer", residual.mixer, task.rows),
    ("mixture of experts", residual.Experts, task.digits),
    ("LSTM", partial(plain.Recurrent, nn.LSTM, 8, 10), task.rows),
    ("LSTM x 2, both directions", partial(plain.Recurrent, nn.LSTM, 8, 10, layers=2, both=True), task.rows),
    ("GRU", partial(plain.Recurrent, nn.GRU, 8, 10), task.rows),
    ("GRU, adding", partial(plain.Recurrent, nn.GRU, 2, 1), task.adding),
    ("RNN", partial(plain.Recurrent, nn.RNN, 8, 10), task.rows),
    ("LSTM, language", partial(plain.Characters, tied=False), task.text),
    ("LSTM, language, tied", partial(plain.Characters, tied=True), task.text),
    ("graph x 2", partial(plain.Graph, 2), task.neighbours),
    ("graph x 6", partial(plain.Graph, 6), task.neighbours),
    ("SIREN", plain.Sines, task.wave),
    ("deep sets, adding", kinds.Sets, task.adding),
    ("coordinate, ReLU x 4", partial(plain.mlp, nn.ReLU, 4, sizes=(1, 1)), task.wave),
    ("contrastive, ReLU x 2", partial(kinds.mlp_of, 64, 64, 64, 16), task.noisy_pairs),
    ("maxout x 4", kinds.maxout, task.digits),
    ("factorisation machine", kinds.Factorised, task.ratings),
    ("flow", kinds.Flow, task.density),
    ("policy and value", kinds.Player, task.played),
)
_OPTIMIZERS = ("AdamW", "AdamW", "AdamW", "AdamW", "SGD")
PAIRS = tuple(
    Pair(name, make, learned, _OPTIMIZERS[n % 5], (FAULTS[n % 4], FAULTS[(n + 1 + n // 4 % 3) % 4]))
    for n, (name, make, learned) in enumerate(_LISTED)
)
