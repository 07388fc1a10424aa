"""Trainings of transformers and recurrent networks, whole or with one defect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.detection import material, seeding
from benchmarks.detection.case import Training
from benchmarks.detection.defects import none, scaled
from benchmarks.detection.lightning import Learner, adam, sgd
from benchmarks.detection.sequence_nets import (
    Classifier,
    LanguageModel,
    Order,
    Recurrent,
    RecurrentLanguageModel,
    TokenBag,
    hidden_future,
)

if TYPE_CHECKING:
    from benchmarks.detection.defects import Defect
    from benchmarks.detection.lightning import MakeOptimizer

WIDTH = 32
DEPTH = 2
DEEP = 6
TEXT_LENGTH = 24
TOKENS = 16
RECALLED = 8


def letters_loss(logits: Tensor, following: Tensor) -> Tensor:
    """Cross entropy of [n, t, letters] against [n, t]."""
    return F.cross_entropy(logits.flatten(0, 1), following.flatten())


def classifier(
    order: Order = Order.PRE,
    *,
    depth: int = DEPTH,
    change: Defect = none,
    optimizer: MakeOptimizer | None = None,
    factor: float = 1.0,
) -> Training:
    """Rows of digits to a class."""
    seeding.seed(0)
    net = Classifier(width=WIDTH, depth=depth, order=order)
    change(net)
    return Training(
        Learner(net, F.cross_entropy, optimizer or adam(2e-3)),
        material.digit_rows(factor=factor),
    )


def wide_attention(*, change: Defect = none) -> Training:
    """One wide head whose logits, as the attention scales them, have a standard deviation of 2."""
    seeding.seed(0)
    net = Classifier(width=64, depth=2, order=Order.PRE, heads=1)
    scaled(2**0.5, "*.query.*", "*.key.*")(net)
    change(net)
    return Training(Learner(net, F.cross_entropy, adam(2e-3)), material.digit_rows())


def writer(*, change: Defect = none, optimizer: MakeOptimizer | None = None) -> Training:
    """A text to its continuation, by a transformer."""
    seeding.seed(0)
    net = LanguageModel(letters=material.LETTERS, length=TEXT_LENGTH, width=WIDTH, depth=DEPTH)
    change(net)
    return Training(Learner(net, letters_loss, optimizer or adam(3e-3)), material.text(length=TEXT_LENGTH))


def row_reader(*, change: Defect = none, factor: float = 1.0) -> Training:
    """Rows of digits to a class, by an LSTM."""
    seeding.seed(0)
    net = Recurrent(nn.LSTM, inputs=8, classes=material.CLASSES)
    change(net)
    return Training(Learner(net, F.cross_entropy, adam(5e-3)), material.digit_rows(factor=factor))


def rememberer(cell: type[nn.RNN | nn.GRU], *, length: int, change: Defect = none, rate: float = 3e-3) -> Training:
    """The first letter of a sequence, asked for after its last."""
    seeding.seed(0)
    net = Recurrent(cell, inputs=RECALLED, classes=RECALLED)
    change(net)
    return Training(Learner(net, F.cross_entropy, adam(rate)), material.recall(letters=RECALLED, length=length))


def recurrent_writer(*, change: Defect = none, with_letters: bool = True) -> Training:
    """A text to its continuation, by an LSTM."""
    seeding.seed(0)
    net = RecurrentLanguageModel(letters=material.LETTERS)
    change(net)
    trained = [p for name, p in net.named_parameters() if with_letters or not name.startswith("letters")]
    optimizer = torch.optim.Adam(trained, lr=5e-3)
    return Training(Learner(net, letters_loss, lambda _: optimizer), material.text(length=TEXT_LENGTH))


def bag(*, change: Defect = none) -> Training:
    """Grey values as words to a class."""
    seeding.seed(0)
    net = TokenBag(tokens=material.GREYS, length=TOKENS)
    change(net)
    return Training(Learner(net, F.cross_entropy, sgd(0.1)), material.digit_tokens())


def unscaled_attention(net: nn.Module) -> None:
    """Forget 1/√d."""
    for block in net.get_submodule("blocks").children():
        block.attention.scale = 1.0  # type: ignore[union-attr]


def detached_feed(net: nn.Module) -> None:
    """Cut the second block's feed-forward branch off from the graph."""
    net.get_submodule("blocks.1").detached = True  # type: ignore[assignment]


def silent_feed(net: nn.Module) -> None:
    """Multiply the second block's feed-forward branch by a zero that is not learned."""
    factor = net.get_parameter("blocks.1.feed_factor")
    nn.init.zeros_(factor)
    factor.requires_grad = False


def blind_token(net: nn.Module) -> None:
    """Hide the future, as for a text: the class token, which comes first, sees nothing but itself."""
    for block in net.get_submodule("blocks").children():
        block.attention.hidden = hidden_future(9)  # type: ignore[union-attr]


def hidden_present(net: nn.Module) -> None:
    """Hide the present too: the first letter then sees nothing, and a softmax over nothing is NaN."""
    for block in net.get_submodule("blocks").children():
        block.attention.hidden = hidden_future(TEXT_LENGTH, shift=0)  # type: ignore[union-attr]


def full_branches(net: nn.Module) -> None:
    """Let every branch write with the variance of the stream."""
    scaled((2 * DEEP) ** 0.5, "*.feed.2.weight", "*.attention.output.weight")(net)
