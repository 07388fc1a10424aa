"""Convolutional networks on 8×8 digits: plain ones, VGG-like ones, and residual ones with and without normalisation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.detection import seeding, starts, tasks
from benchmarks.detection.case import Case, Training
from benchmarks.detection.lightning import Learner, adam, sgd, sgd_with_one_huge_step
from benchmarks.detection.pathologies import dead_units, unmoved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.detection.lightning import MakeOptimizer
    from benchmarks.detection.starts import Start

ALL = ("net.*",)
EXPLODES = frozenset({"IM101", "IM201", "IM601", "IM502"})
FADES = frozenset({"IM102", "IM202", "IM502"})
NOTHING = frozenset({"IM501", "IM102", "IM202", "IM602"})
TOO_FAST = frozenset({"IM603", "IM601", "IM101", "IM201"})
DOUBLES = frozenset({"IM401", "IM101", "IM201", "IM601"})
DEAD = frozenset({"IM301", "IM102", "IM202"})

STEPS = 100

DEEP_STEPS = 60
"""A step through so many blocks takes long."""


@dataclass(frozen=True, slots=True)
class ConvNet:
    """A training of a convolutional network on digits; a fault is a ``replace`` of one field.

    Attributes:
        build: makes the network, in PyTorch's own initialisation.
        start: initialises it.
        optimizer: takes the parameters.
        prepare: what is done to the images.
        seed: of the weights and of the order of the batches.
        options: of the Trainer.
    """

    build: Callable[[], nn.Module]
    start: Start
    optimizer: MakeOptimizer
    prepare: Callable[[Tensor], Tensor] = torch.Tensor.clone
    seed: int = 0
    batch: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Training:
        """Make the training."""
        seeding.seed(self.seed)
        net = self.build()
        self.start(net)
        images, classes = tasks.images()
        loader = tasks.batches(self.prepare(images), classes, seed=self.seed, batch=self.batch)
        return Training(Learner(net, tasks.cross_entropy, self.optimizer), loader, self.options)


class Cnn(nn.Module):
    """Convolutions with an activation after each, optionally a normalisation before it, and a linear head.

    Args:
        channels: of the input and of each convolution.
        activation: makes the activation.
        norm: BatchNorm after each convolution.
        shrink: positions of the convolutions that halve the resolution.
        hidden: width of a hidden layer of the head; 0 for none.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        activation: Callable[[], nn.Module] = nn.ReLU,
        *,
        norm: bool = False,
        shrink: tuple[int, ...] = (1,),
        hidden: int = 0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for position, (fan_in, fan_out) in enumerate(pairwise(channels)):
            stride = 2 if position in shrink else 1
            layers.append(nn.Conv2d(fan_in, fan_out, 3, stride=stride, padding=1, bias=not norm))
            layers += [nn.BatchNorm2d(fan_out), activation()] if norm else [activation()]
        self.features = nn.Sequential(*layers)
        flat = channels[-1] * (8 // 2 ** len(shrink)) ** 2
        head = [nn.Linear(flat, hidden), activation(), nn.Linear(hidden, 10)] if hidden else [nn.Linear(flat, 10)]
        self.classifier = nn.Sequential(*head)

    def forward(self, images: Tensor) -> Tensor:
        """Return one number per class."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


class Block(nn.Module):
    """The basic residual block: two convolutions, with BatchNorm or without any normalisation.

    Args:
        channels: of the stream.
        norm: with BatchNorm, and a ReLU after the addition.
    """

    def __init__(self, channels: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = norm
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.bn2 = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, stream: Tensor) -> Tensor:
        """Add the branch."""
        branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(stream)))))
        out: Tensor = self.relu2(stream + branch) if self.norm else stream + branch
        return out


class ResNet(nn.Module):
    """A stem, blocks, average pooling and a head.

    Args:
        channels: of the stream.
        blocks: how many.
        norm: see :class:`Block`.
    """

    def __init__(self, channels: int, blocks: int, *, norm: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=not norm)
        self.bn = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.relu = nn.ReLU()
        self.layers = nn.Sequential(*(Block(channels, norm=norm) for _ in range(blocks)))
        self.fc = nn.Linear(channels, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return one number per class."""
        stream = self.layers(self.relu(self.bn(self.stem(images))))
        scores: Tensor = self.fc(stream.mean(dim=(2, 3)))
        return scores


def zero_ends(net: nn.Module) -> None:
    """Start the last layer of each branch at zero: the block begins as the identity."""
    for module in net.modules():
        if isinstance(module, Block):
            last = module.bn2 if isinstance(module.bn2, nn.BatchNorm2d) else module.conv2
            nn.init.zeros_(last.weight)


def twice_zero(path: str) -> Start:
    """Return what sets both convolutions of one branch to zero, which then never wakes."""

    def start(net: nn.Module) -> None:
        block = net.get_submodule(path)
        assert isinstance(block, Block)  # noqa: S101 - a mistake in a case, not in its use
        for layer in (block.conv1, block.conv2):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    return start


def raw_bytes(images: Tensor) -> Tensor:
    """Undo the standardisation of the digits and stretch them to 0 to 255, as bytes of an image are."""
    return (images - images.min()) / (images.max() - images.min()) * 255


CNN = ConvNet(lambda: Cnn((1, 16, 32, 32)), starts.he, sgd(0.01), seed=21)
LENET = ConvNet(lambda: Cnn((1, 8, 16), nn.Tanh, hidden=64), starts.xavier, sgd(0.02), seed=22)
VGG = ConvNet(lambda: Cnn((1, *[16] * 4, *[32] * 6), shrink=(3, 6), hidden=64), starts.he, sgd(0.005), seed=23)
VGG_DEEP = ConvNet(lambda: Cnn((1, *[16] * 18), shrink=(6,), hidden=32), starts.he, adam(1e-3), seed=24)
CNN_NORM = ConvNet(lambda: Cnn((1, 16, 32, 32), norm=True), starts.he, sgd(0.01), seed=25)
RESNET = ConvNet(lambda: ResNet(16, 4, norm=True), starts.he, sgd(0.02), seed=26)
RESNET_PLAIN = ConvNet(lambda: ResNet(12, 20, norm=False), starts.then(starts.he, zero_ends), adam(1e-3), seed=27)
SILENT = replace(RESNET_PLAIN, start=starts.then(starts.he, zero_ends, twice_zero("layers.5")))
RESNET_BF16 = replace(
    RESNET_PLAIN, build=lambda: ResNet(8, 16, norm=False), seed=28, options={"precision": "bf16-mixed"}
)
LEAKY = ConvNet(lambda: Cnn((1, 16, 24, 24, 24, 24), nn.LeakyReLU, shrink=(1, 3)), starts.he, adam(1e-3), seed=29)
SILU = ConvNet(lambda: Cnn((1, 16, 24, 24, 24), nn.SiLU, hidden=32), starts.he, sgd(0.01), seed=30)


def _pairs(
    architecture: str,
    healthy: ConvNet,
    *faults: tuple[str, str, dict[str, Any], frozenset[str], tuple[str, ...]],
    steps: int = STEPS,
) -> tuple[Case, ...]:
    """Return a healthy case and its faulty ones: name, fault, what is different, symptoms, culprits."""
    twin = f"{architecture}/healthy"
    return (
        Case(twin, architecture, healthy, steps=steps),
        *(
            Case(
                f"{architecture}/{name}",
                architecture,
                replace(healthy, **change),
                fault,
                symptoms,
                culprits,
                twin,
                steps,
            )
            for name, fault, change, symptoms, culprits in faults
        ),
    )


CASES: tuple[Case, ...] = (
    *_pairs(
        "cnn",
        CNN,
        ("zero", "zero weights", {"start": starts.zero}, NOTHING, ALL),
        ("constant", "constant weights", {"start": starts.constant(0.02)}, frozenset({"IM501"}), ALL),
        ("normal-1", "N(0, 1) weights", {"start": starts.normal(1.0)}, EXPLODES | TOO_FAST, ALL),
        ("std-1e-3", "weights of standard deviation 0.001", {"start": starts.normal(1e-3)}, FADES, ALL),
        (
            "input-raw",
            "pixels of 0 to 255",
            {"prepare": raw_bytes},
            frozenset({"IM701"}),
            ("input", "net.features.0", "net.features.1"),
        ),
        (
            "dead-by-bias",
            "a bias of -20 turns a layer off",
            {"start": starts.then(starts.he, starts.biased("features.2", -20.0))},
            DEAD,
            ("net.features.2", "net.features.3"),
        ),
        ("rate-high", "learning rate far too high", {"optimizer": sgd(1.0)}, TOO_FAST | {"IM301"}, ()),
        ("rate-low", "learning rate far too low", {"optimizer": sgd(1e-7)}, frozenset({"IM603"}), ()),
    ),
    *_pairs(
        "lenet-tanh",
        LENET,
        (
            "normal-1",
            "N(0, 1) weights saturate every layer",
            {"start": starts.normal(1.0)},
            frozenset({"IM303", "IM502"}),
            ALL,
        ),
        (
            "offset-100",
            "pixels with an offset of 100",
            {"prepare": lambda x: x + 100},
            frozenset({"IM701", "IM303"}),
            ("input", "net.features.0", "net.features.1"),
        ),
        ("zero", "zero weights", {"start": starts.zero}, NOTHING, ALL),
        ("rate-high", "learning rate far too high", {"optimizer": sgd(3.0)}, TOO_FAST | {"IM303"}, ()),
    ),
    *_pairs(
        "vgg11",
        VGG,
        ("xavier", "Xavier's initialisation before ReLU", {"start": starts.xavier}, FADES, ALL),
        ("pytorch-default", "PyTorch's default in a deep network", {"start": starts.default}, FADES, ALL),
        ("normal-1", "N(0, 1) weights", {"start": starts.normal(1.0)}, EXPLODES, ALL),
        (
            "large-middle",
            "one layer's weights are a hundred times too large",
            {"start": starts.then(starts.he, starts.scaled("features.8", 100.0))},
            EXPLODES,
            ("net.features.8", "net.features.9"),
        ),
        (
            "zero-middle",
            "one layer's weights are zero",
            {"start": starts.then(starts.he, starts.scaled("features.8", 0.0))},
            NOTHING | {"IM502"},
            ("net.features.8", "net.features.9"),
        ),
        (
            "huge-step",
            "one huge first step turns units off",
            {"optimizer": sgd_with_one_huge_step(0.005, 400.0)},
            DEAD | {"IM603"},
            (),
        ),
    ),
    *_pairs(
        "vgg20",
        VGG_DEEP,
        ("pytorch-default", "PyTorch's default in a very deep network", {"start": starts.default}, FADES, ALL),
        ("std-1e-2", "weights of standard deviation 0.01", {"start": starts.normal(1e-2)}, FADES, ALL),
        ("triple", "weights three times too large in every layer", {"start": starts.he_times(3.0)}, EXPLODES, ALL),
    ),
    *_pairs(
        "cnn-batchnorm",
        CNN_NORM,
        ("constant", "constant weights", {"start": starts.constant(0.02)}, frozenset({"IM501"}), ALL),
        ("rate-low", "learning rate far too low", {"optimizer": sgd(1e-7)}, frozenset({"IM603"}), ()),
        (
            "dead-by-shift",
            "a normalisation shifts its channels by -20: the activation is off",
            {"start": starts.then(starts.he, starts.biased("features.4", -20.0))},
            DEAD,
            ("net.features.4", "net.features.5"),
        ),
    ),
    *_pairs(
        "resnet-batchnorm",
        RESNET,
        ("rate-high", "learning rate far too high", {"optimizer": sgd(30.0)}, TOO_FAST | {"IM301"}, ()),
        ("rate-low", "learning rate far too low", {"optimizer": sgd(1e-7)}, frozenset({"IM603"}), ()),
    ),
    Case(
        "resnet-batchnorm/dead-branch",
        "resnet-batchnorm",
        replace(RESNET, start=starts.then(starts.he, starts.biased("layers.2.bn1", -20.0))),
        "a shift of -20 in front of its ReLU turns one branch off",
        DEAD | {"IM402"},
        ("net.layers.2*",),
        "resnet-batchnorm/healthy",
        STEPS,
        dead_units("net.layers.2.relu1", 0.95),
    ),
    *_pairs(
        "resnet-plain",
        RESNET_PLAIN,
        (
            "doubling",
            "20 blocks double the variance of an unnormalised stream",
            {"start": starts.he},
            DOUBLES,
            ("net.layers*",),
        ),
        ("rate-high", "learning rate far too high", {"optimizer": adam(1.0)}, TOO_FAST | {"IM301"}, ()),
        steps=DEEP_STEPS,
    ),
    Case(
        "resnet-plain/silent-branch",
        "resnet-plain",
        SILENT,
        "both layers of a branch are zero: it never wakes",
        frozenset({"IM402", "IM602", "IM202", "IM501"}),
        ("net.layers.5*",),
        "resnet-plain/healthy",
        DEEP_STEPS,
        unmoved(SILENT, "net.layers.5.conv?.weight"),
    ),
    *_pairs(
        "resnet-plain-bf16",
        RESNET_BF16,
        (
            "doubling",
            "16 blocks double the variance of an unnormalised stream, in bfloat16",
            {"start": starts.he},
            DOUBLES,
            ("net.layers*",),
        ),
        steps=DEEP_STEPS,
    ),
    *_pairs(
        "cnn6-leaky",
        LEAKY,
        ("rate-high", "learning rate far too high", {"optimizer": adam(1.0)}, TOO_FAST, ()),
        ("rate-low", "learning rate far too low", {"optimizer": adam(1e-8)}, frozenset({"IM603"}), ()),
    ),
    *_pairs(
        "cnn5-silu",
        SILU,
        ("std-1e-3", "weights of standard deviation 0.001", {"start": starts.normal(1e-3)}, FADES, ALL),
        ("triple", "weights three times too large in every layer", {"start": starts.he_times(3.0)}, EXPLODES, ALL),
        (
            "input-raw",
            "pixels of 0 to 255",
            {"prepare": raw_bytes},
            frozenset({"IM701"}),
            ("input", "net.features.0", "net.features.1"),
        ),
    ),
)
