"""Fully-connected networks: initialisation, input, optimisation and arithmetic that go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.detection import seeding, starts, tasks
from benchmarks.detection.case import Case, Training
from benchmarks.detection.lightning import Learner, adam, sgd, sgd_with_one_huge_step
from benchmarks.detection.pathologies import dead_units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.detection.lightning import Loss, MakeOptimizer
    from benchmarks.detection.starts import Start

INPUT = ("input", "net.0", "net.1")
"""Where a wrong input shows: at the input itself, in the first layer and in its activation."""

ALL = ("net.*",)

EXPLODES = frozenset({"IM101", "IM201", "IM601", "IM502"})
"""Weights that are too large: signal and gradient grow with depth, up to overflow."""

FADES = frozenset({"IM102", "IM202", "IM502"})
"""Weights that are too small: signal and gradient fade with depth."""

NOTHING = frozenset({"IM501", "IM102", "IM202", "IM602"})
"""Zero weights: symmetric units, a signal and a gradient that are exactly 0."""

TOO_FAST = frozenset({"IM603", "IM601", "IM101", "IM201"})
"""Steps that are too large: by their ratio to the weights, or by what they make of signal and gradient."""

RESIDUAL_STEPS = 80
"""A step through so many blocks takes long."""

DOUBLES = frozenset({"IM401", "IM101", "IM201", "IM601"})


@dataclass(frozen=True, slots=True)
class Mlp:
    """A training of a fully-connected network; a fault is a ``replace`` of one field.

    Attributes:
        widths: of the input, the hidden layers and the output.
        activation: makes the module between two layers.
        task: makes inputs and targets.
        loss: of outputs and targets.
        optimizer: takes the parameters.
        start: initialises the network.
        prepare: what is done to the inputs.
        seed: of the weights and of the order of the batches.
        options: of the Trainer.
    """

    widths: tuple[int, ...]
    activation: Callable[[], nn.Module]
    start: Start
    optimizer: MakeOptimizer
    task: Callable[[], tuple[Tensor, Tensor]] = tasks.standardised
    loss: Loss = tasks.cross_entropy
    prepare: Callable[[Tensor], Tensor] = torch.Tensor.clone
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Training:
        """Make the training."""
        seeding.seed(self.seed)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(self.widths):
            layers += [nn.Linear(fan_in, fan_out), self.activation()]
        net = nn.Sequential(*layers[:-1])
        self.start(net)
        return self.of(net)

    def of(self, net: nn.Module) -> Training:
        """Return the training of a given network."""
        inputs, targets = self.task()
        loader = tasks.batches(self.prepare(inputs), targets, seed=self.seed)
        return Training(Learner(net, self.loss, self.optimizer), loader, self.options)


def regression(seed: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return a task to learn from a random teacher."""
    return lambda: tasks.teacher(seed)


def digits_mlp(hidden: int, width: int = 128) -> tuple[int, ...]:
    """Return the widths of a network that reads digits."""
    return (64, *[width] * hidden, 10)


def teacher_mlp(hidden: int, width: int = 64) -> tuple[int, ...]:
    """Return the widths of a network that learns from the teacher."""
    return (32, *[width] * hidden, 4)


def raw(inputs: Tensor) -> Tensor:
    """Undo the standardisation of the digits and stretch them to 0 to 255, as bytes of an image are."""
    return (inputs - inputs.min()) / (inputs.max() - inputs.min()) * 255


SHALLOW = Mlp(digits_mlp(2), nn.ReLU, starts.he, sgd(0.02), seed=1)
MEDIUM = Mlp(digits_mlp(7), nn.ReLU, starts.he, sgd(0.01), seed=2)
DEEP = Mlp(digits_mlp(19), nn.ReLU, starts.he, sgd(0.003), seed=3)
VERY_DEEP = Mlp(digits_mlp(29), nn.ReLU, starts.he, sgd(0.003), seed=4)
TANH = Mlp(digits_mlp(9), nn.Tanh, starts.xavier, sgd(0.01), seed=5)
SIGMOID = Mlp(digits_mlp(10), nn.Sigmoid, starts.centred_sigmoid, adam(2e-3), seed=6)
GELU = Mlp(teacher_mlp(12), nn.GELU, starts.he, adam(1e-3), regression(7), tasks.squared_error, seed=7)
LEAKY = Mlp(teacher_mlp(6), nn.LeakyReLU, starts.he, sgd(0.01), regression(8), tasks.squared_error, seed=8)
ADAM = Mlp(teacher_mlp(4), nn.ReLU, starts.he, adam(1e-3), regression(9), tasks.squared_error, seed=9)


def _pairs(
    architecture: str, healthy: Mlp, *faults: tuple[str, str, dict[str, Any], frozenset[str], tuple[str, ...]]
) -> tuple[Case, ...]:
    """Return a healthy case and its faulty ones: name, fault, what is different, symptoms, culprits."""
    twin = f"{architecture}/healthy"
    return (
        Case(twin, architecture, healthy),
        *(
            Case(f"{architecture}/{name}", architecture, replace(healthy, **change), fault, symptoms, culprits, twin)
            for name, fault, change, symptoms, culprits in faults
        ),
    )


class Doubling(nn.Module):
    """A residual block without normalisation, x + F(x), F of two layers.

    Args:
        width: of the stream.
        zero: start the last layer of the branch at zero, so that the block begins as the identity.
    """

    def __init__(self, width: int, *, zero: bool) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.act = nn.ReLU()
        self.second = nn.Linear(width, width)
        starts.he(self)
        if zero:
            nn.init.zeros_(self.second.weight)

    def forward(self, stream: Tensor) -> Tensor:
        """Add the branch."""
        out: Tensor = stream + self.second(self.act(self.first(stream)))
        return out


@dataclass(frozen=True, slots=True)
class ResidualMlp:
    """A residual network of fully-connected blocks on the teacher's task."""

    blocks: int
    zero: bool
    seed: int
    precision: str = "32-true"
    width: int = 64

    def __call__(self) -> Training:
        """Make the training."""
        seeding.seed(self.seed)
        stem, head = nn.Linear(32, self.width), nn.Linear(self.width, 4)
        starts.xavier(stem)
        starts.xavier(head)
        body = [Doubling(self.width, zero=self.zero) for _ in range(self.blocks)]
        net = nn.Sequential(stem, *body, head)
        training = replace(LEAKY, optimizer=adam(3e-4), task=regression(self.seed), seed=self.seed).of(net)
        return replace(training, options={"precision": self.precision})


class Scaled(nn.Module):
    """A layer whose weights are N(0, 1) and whose output is multiplied by √2/√fan_in, unless that was forgotten."""

    def __init__(self, fan_in: int, fan_out: int, *, scale: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in))
        self.factor = (2.0 / fan_in) ** 0.5 if scale else 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the scaled product."""
        return nn.functional.linear(inputs, self.weight) * self.factor


@dataclass(frozen=True, slots=True)
class ScaledMlp:
    """Eight such layers with ReLU between them."""

    scale: bool

    def __call__(self) -> Training:
        """Make the training."""
        seeding.seed(11)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(digits_mlp(7, width=96)):
            layers += [Scaled(fan_in, fan_out, scale=self.scale), nn.ReLU()]
        return replace(MEDIUM, optimizer=adam(0.02), seed=11).of(nn.Sequential(*layers[:-1]))


class Logarithm(nn.Module):
    """log(relu(x) + ε): −∞ at every unit that is off, if ε is 0."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logarithm."""
        return torch.log(inputs.relu() + self.epsilon)


class Root(Logarithm):
    """sign(x) √(|x| + ε) behind a dropout: its slope is infinite where x is 0, if ε is 0, and 0 · ∞ is NaN."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the root."""
        dropped = nn.functional.dropout(inputs, 0.1, self.training)
        return torch.sign(dropped) * torch.sqrt(dropped.abs() + self.epsilon)


class Standardise(Logarithm):
    """(x − mean) / √(variance + ε) over the batch: 0/0 for a feature that does not vary, if ε is 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the standardised features."""
        centred = inputs - inputs.mean(dim=0)
        return centred / torch.sqrt(centred.square().mean(dim=0) + self.epsilon)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A network with one delicate operation between two layers, or before the first."""

    operation: Callable[[float], nn.Module]
    epsilon: float
    seed: int
    first: bool = False

    def __call__(self) -> Training:
        """Make the training."""
        seeding.seed(self.seed)
        delicate = self.operation(self.epsilon)
        lower, upper = [nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96)], [nn.Linear(96, 10)]
        net = nn.Sequential(*([delicate, *lower, nn.ReLU()] if self.first else [*lower, delicate]), *upper)
        starts.he(net)
        # Some pixels are 0 in every digit as it comes.
        task = tasks.digits if self.first else SHALLOW.task
        return replace(SHALLOW, optimizer=adam(1e-3), seed=self.seed, task=task).of(net)


CASES: tuple[Case, ...] = (
    *_pairs(
        "mlp3-relu",
        SHALLOW,
        ("zero", "zero weights", {"start": starts.zero}, NOTHING, ALL),
        ("constant", "constant weights", {"start": starts.constant(0.02)}, frozenset({"IM501"}), ALL),
        (
            "input-x1000",
            "inputs a thousand times too large",
            {"prepare": lambda x: 1000 * x},
            frozenset({"IM701"}),
            INPUT,
        ),
        (
            "dead-by-bias",
            "a bias of -20 turns a layer off",
            {"start": starts.then(starts.he, starts.biased("2", -20.0))},
            frozenset({"IM301", "IM102", "IM202"}),
            ("net.2", "net.3"),
        ),
        ("rate-high", "learning rate far too high", {"optimizer": sgd(5.0)}, TOO_FAST | {"IM301"}, ()),
        ("rate-low", "learning rate far too low", {"optimizer": sgd(1e-7)}, frozenset({"IM603"}), ()),
    ),
    Case(
        "mlp3-relu/half-dead",
        "mlp3-relu",
        replace(SHALLOW, start=starts.then(starts.he, starts.biased("2", -20.0, share=0.6))),
        "a bias of -20 turns 60 % of a layer off",
        frozenset({"IM301"}),
        ("net.2", "net.3"),
        "mlp3-relu/healthy",
        pathology=dead_units("net.3", 0.5),
    ),
    *_pairs(
        "mlp8-relu",
        MEDIUM,
        ("std-1e-3", "weights of standard deviation 0.001", {"start": starts.normal(1e-3)}, FADES, ALL),
        ("constant", "constant weights", {"start": starts.constant(0.01)}, frozenset({"IM501"}), ALL),
        (
            "small-middle",
            "the weights of two layers are a thousand times too small",
            {"start": starts.then(starts.he, starts.scaled("6", 1e-3), starts.scaled("8", 1e-3))},
            FADES,
            ("net.6", "net.7", "net.8", "net.9"),
        ),
        (
            "large-middle",
            "one layer's weights are a hundred times too large",
            {"start": starts.then(starts.he, starts.scaled("6", 100.0))},
            EXPLODES,
            ("net.6", "net.7"),
        ),
        (
            "zero-middle",
            "one layer's weights are zero",
            {"start": starts.then(starts.he, starts.scaled("6", 0.0))},
            NOTHING | {"IM502"},
            ("net.6", "net.7"),
        ),
        (
            "dead-middle",
            "a bias of -10 turns a middle layer off",
            {"start": starts.then(starts.he, starts.biased("6", -10.0))},
            frozenset({"IM301", "IM102", "IM202"}),
            ("net.6", "net.7"),
        ),
        ("offset-100", "inputs with an offset of 100", {"prepare": lambda x: x + 100}, frozenset({"IM701"}), INPUT),
        (
            "huge-step",
            "one huge first step turns units off",
            {"optimizer": sgd_with_one_huge_step(0.01, 200.0)},
            frozenset({"IM301", "IM603", "IM102", "IM202"}),
            (),
        ),
    ),
    *_pairs(
        "mlp20-relu",
        DEEP,
        ("xavier", "Xavier's initialisation before ReLU", {"start": starts.xavier}, FADES, ALL),
        ("pytorch-default", "PyTorch's default in a deep network", {"start": starts.default}, FADES, ALL),
        ("normal-1", "N(0, 1) weights", {"start": starts.normal(1.0)}, EXPLODES, ALL),
        (
            "double-variance",
            "four times the variance in every layer",
            {"start": starts.he_times(2.0)},
            EXPLODES | TOO_FAST,
            ALL,
        ),
        ("rate-high", "learning rate far too high", {"optimizer": sgd(3.0)}, TOO_FAST | {"IM301"}, ()),
    ),
    *_pairs(
        "mlp30-relu",
        VERY_DEEP,
        ("xavier", "Xavier's initialisation before ReLU", {"start": starts.xavier}, FADES, ALL),
        ("pytorch-default", "PyTorch's default in a very deep network", {"start": starts.default}, FADES, ALL),
        ("zero", "zero weights", {"start": starts.zero}, NOTHING, ALL),
    ),
    *_pairs(
        "mlp10-tanh",
        TANH,
        (
            "normal-1",
            "N(0, 1) weights saturate every layer",
            {"start": starts.normal(1.0)},
            frozenset({"IM303", "IM502", "IM201"}),
            ALL,
        ),
        ("std-1e-2", "weights of standard deviation 0.01", {"start": starts.normal(1e-2)}, FADES, ALL),
        (
            "input-x1000",
            "inputs a thousand times too large",
            {"prepare": lambda x: 1000 * x},
            frozenset({"IM701", "IM303"}),
            INPUT,
        ),
        (
            "saturated-middle",
            "one layer's weights are a thousand times too large",
            {"start": starts.then(starts.xavier, starts.scaled("8", 1000.0))},
            frozenset({"IM303", "IM502", "IM101"}),
            ("net.8", "net.9"),
        ),
        ("rate-high", "learning rate far too high", {"optimizer": sgd(3.0)}, TOO_FAST | {"IM303"}, ()),
    ),
    *_pairs(
        "mlp11-sigmoid",
        SIGMOID,
        ("he", "He's initialisation before sigmoid", {"start": starts.he}, FADES | {"IM702"}, ALL),
        (
            "normal-3",
            "N(0, 9) weights saturate every layer",
            {"start": starts.normal(3.0)},
            frozenset({"IM303", "IM502"}),
            ALL,
        ),
        ("rate-low", "learning rate far too low", {"optimizer": adam(1e-8)}, frozenset({"IM603"}), ()),
    ),
    *_pairs(
        "mlp13-gelu",
        GELU,
        ("std-1e-3", "weights of standard deviation 0.001", {"start": starts.normal(1e-3)}, FADES, ALL),
        ("normal-1", "N(0, 1) weights", {"start": starts.normal(1.0)}, EXPLODES, ALL),
        ("rate-high", "learning rate far too high", {"optimizer": adam(1.0)}, TOO_FAST, ()),
        (
            "large-middle",
            "one layer's weights are a hundred times too large",
            {"start": starts.then(starts.he, starts.scaled("12", 100.0))},
            EXPLODES,
            ("net.12", "net.13"),
        ),
    ),
    *_pairs(
        "mlp7-leaky",
        LEAKY,
        ("zero", "zero weights", {"start": starts.zero}, NOTHING, ALL),
        ("normal-1", "N(0, 1) weights", {"start": starts.normal(1.0)}, EXPLODES | TOO_FAST, ALL),
        ("std-1e-3", "weights of standard deviation 0.001", {"start": starts.normal(1e-3)}, FADES, ALL),
    ),
    *_pairs(
        "mlp5-adam",
        ADAM,
        ("constant", "constant weights", {"start": starts.constant(0.05)}, frozenset({"IM501"}), ALL),
        ("rate-high", "learning rate far too high", {"optimizer": adam(3.0)}, TOO_FAST | {"IM301"}, ()),
        ("rate-low", "learning rate far too low", {"optimizer": adam(1e-8)}, frozenset({"IM603"}), ()),
        (
            "input-x1000",
            "inputs a thousand times too large",
            {"prepare": lambda x: 1000 * x},
            frozenset({"IM701"}),
            INPUT,
        ),
    ),
    Case("residual-mlp/healthy", "residual-mlp", ResidualMlp(36, zero=True, seed=12), steps=RESIDUAL_STEPS),
    Case(
        "residual-mlp/doubling",
        "residual-mlp",
        ResidualMlp(36, zero=False, seed=12),
        "36 blocks double the variance of an unnormalised stream",
        DOUBLES,
        ("net.*",),
        "residual-mlp/healthy",
        RESIDUAL_STEPS,
    ),
    Case(
        "residual-mlp-bf16/healthy",
        "residual-mlp-bf16",
        ResidualMlp(24, zero=True, seed=13, precision="bf16-mixed"),
        steps=RESIDUAL_STEPS,
    ),
    Case(
        "residual-mlp-bf16/doubling",
        "residual-mlp-bf16",
        ResidualMlp(24, zero=False, seed=13, precision="bf16-mixed"),
        "24 blocks double the variance of an unnormalised stream, in bfloat16",
        DOUBLES,
        ("net.*",),
        "residual-mlp-bf16/healthy",
        RESIDUAL_STEPS,
    ),
    Case("mlp8-own-layer/healthy", "mlp8-own-layer", ScaledMlp(scale=True)),
    Case(
        "mlp8-own-layer/missing-root",
        "mlp8-own-layer",
        ScaledMlp(scale=False),
        "the factor 1/√fan_in is missing in every layer",
        EXPLODES,
        ALL,
        "mlp8-own-layer/healthy",
    ),
    Case("log-mlp/healthy", "log-mlp", Arithmetic(Logarithm, 1e-2, seed=14)),
    Case(
        "log-mlp/log-of-zero",
        "log-mlp",
        Arithmetic(Logarithm, 0.0, seed=14),
        "the logarithm of 0",
        frozenset({"IM601"}),
        ("net.3",),
        "log-mlp/healthy",
    ),
    Case("root-mlp/healthy", "root-mlp", Arithmetic(Root, 1e-2, seed=15)),
    Case(
        "root-mlp/root-of-zero",
        "root-mlp",
        Arithmetic(Root, 0.0, seed=15),
        "the derivative of √ at 0",
        frozenset({"IM601"}),
        ("net.2", "net.3"),
        "root-mlp/healthy",
    ),
    Case("standardised-mlp/healthy", "standardised-mlp", Arithmetic(Standardise, 1e-2, seed=16, first=True)),
    Case(
        "standardised-mlp/division-by-zero",
        "standardised-mlp",
        Arithmetic(Standardise, 0.0, seed=16, first=True),
        "features that do not vary are divided by a standard deviation of 0",
        frozenset({"IM601"}),
        ("net.0",),
        "standardised-mlp/healthy",
    ),
)
