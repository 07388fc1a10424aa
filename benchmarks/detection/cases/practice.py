"""What goes wrong around a network: freezing, optimizers, accumulation, clipping, weight decay, narrow formats."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.detection import material, pathologies, seeding
from benchmarks.detection.case import Case, Training
from benchmarks.detection.defects import biased, constant, gaussian, none, scaled
from benchmarks.detection.lightning import Learner, adam, sgd
from benchmarks.detection.modules import Alternating
from benchmarks.detection.practice_nets import Adapted, Finetuned, TiedAutoencoder, head, learned_trunk, trunk
from benchmarks.detection.symptoms import (
    CUT_OFF,
    GRADIENT_TOO_SMALL,
    NO_DIFFERENCE,
    RATE_TOO_HIGH_BEFORE_RELU,
    RATE_TOO_LOW,
    SATURATING,
    TOO_LARGE,
)

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.detection.defects import Defect
    from benchmarks.detection.lightning import MakeOptimizer

EVERYTHING = ("net.*",)


def finetuned(*, frozen: bool = True, dead_head: bool = False) -> Training:
    """A new head on a trunk that has learned, which is frozen or goes on learning."""
    seeding.seed(0)
    net = Finetuned(
        learned_trunk().requires_grad_(requires_grad=not frozen),
        nn.Sequential(nn.Linear(64, 32), nn.ReLU(), head(32)),
    )
    nn.init.kaiming_normal_(net.get_submodule("head.0").get_parameter("weight"), nonlinearity="relu")
    if dead_head:
        biased(-200.0, "head.0")(net)
    return Training(Learner(net, F.cross_entropy, adam(3e-3)), material.digit_vectors())


def from_scratch(*, detached: bool = False, omitted: str = "") -> Training:
    """A trunk and its head, both to be learned; ``omitted`` is what the optimizer is not told of."""
    seeding.seed(0)
    net = Finetuned(trunk(), head(), detached=detached)
    trained = [p for name, p in net.named_parameters() if not omitted or not name.startswith(omitted)]
    return Training(Learner(net, F.cross_entropy, lambda _: sgd(0.05)(trained)), material.digit_vectors())


def adapted(*, change: Defect = none) -> Training:
    """Frozen layers with adapters and a frozen head, on inverted digits."""
    seeding.seed(0)
    layers = [Adapted(layer) if isinstance(layer, nn.Linear) else layer for layer in learned_trunk()]
    last = head().requires_grad_(requires_grad=False)
    nn.init.normal_(last.weight, std=0.2)
    net = nn.Sequential(*layers, last)
    change(net)
    return Training(Learner(net, F.cross_entropy, adam(5e-3)), material.digit_vectors(factor=-1.0))


def accumulating(*, change: Defect = none, optimizer: MakeOptimizer | None = None, part: float = 1.0) -> Training:
    """Two batches to a step."""
    seeding.seed(0)
    net = nn.Sequential(trunk(), head())
    change(net)
    return Training(
        Learner(net, lambda logits, classes: part * F.cross_entropy(logits, classes), optimizer or sgd(0.1)),
        material.digit_vectors(batch=16),
        {"accumulate_grad_batches": 2},
    )


def tied(*, change: Defect = none, optimizer: MakeOptimizer | None = None) -> Training:
    """An autoencoder whose decoder is the transpose of its encoder."""
    seeding.seed(0)
    net = TiedAutoencoder()
    change(net)
    return Training(Learner(net, F.mse_loss, optimizer or adam(3e-3)), material.digit_copies())


def alternating(*, body: float = 0.05, stale: bool = False) -> Training:
    """A trunk with SGD and a head with Adam.

    Args:
        body: learning rate of the trunk.
        stale: the trunk's optimizer holds the parameters of a copy, made before the trunk in use.
    """
    seeding.seed(0)
    net = Finetuned(trunk(), head())
    owned = trunk() if stale else net.trunk
    optimizers = (
        torch.optim.SGD(owned.parameters(), lr=body, momentum=0.9),
        torch.optim.Adam(net.head.parameters(), lr=3e-3),
    )
    return Training(Alternating(net, F.cross_entropy, optimizers), material.digit_vectors())


def clipped(*, change: Defect = none, norm: float = 1.0) -> Training:
    """Gradients clipped by their norm."""
    seeding.seed(0)
    net = nn.Sequential(
        nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)
    )
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    change(net)
    return Training(Learner(net, F.cross_entropy, sgd(0.05)), material.digit_vectors(), {"gradient_clip_val": norm})


def narrow(precision: str, *, change: Defect = none, rate: float = 0.05) -> Training:
    """In bfloat16, with or without a float32 copy of the weights."""
    seeding.seed(0)
    net = nn.Sequential(trunk(), head())
    change(net)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), classes)

    return Training(Learner(net, loss, sgd(rate, momentum=0.0)), material.digit_vectors(), {"precision": precision})


def decayed(*, decay: float = 0.01) -> Training:
    """AdamW."""
    seeding.seed(0)
    net = nn.Sequential(trunk(), head())

    def optimizer(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=3e-3, weight_decay=decay)  # type: ignore[arg-type]

    return Training(Learner(net, F.cross_entropy, optimizer), material.digit_vectors())


_zero_down = constant(0.0, "*.down.*")
_tuned = partial(Case, architecture="finetuned", twin="finetuned/healthy")
_scratch = partial(Case, architecture="trunk-and-head", twin="trunk-and-head/healthy")
_adapted = partial(Case, architecture="low-rank-adapters", twin="low-rank-adapters/healthy")
_accumulating = partial(Case, architecture="accumulating-mlp", twin="accumulating-mlp/healthy")
_tied = partial(Case, architecture="tied-autoencoder", twin="tied-autoencoder/healthy")
_several = partial(Case, architecture="two-optimizers", twin="two-optimizers/healthy")
_clipped = partial(Case, architecture="clipped-mlp", twin="clipped-mlp/healthy")
_bf16 = partial(Case, architecture="bfloat16-mlp", twin="bfloat16-mlp/healthy")
_mixed = partial(Case, architecture="bfloat16-mixed-mlp", twin="bfloat16-mixed-mlp/healthy")
_decayed = partial(Case, architecture="decayed-mlp", twin="decayed-mlp/healthy")

CASES: tuple[Case, ...] = (
    Case("finetuned/healthy", "finetuned", finetuned),
    _tuned(
        "finetuned/nothing-learns",
        make=partial(finetuned, dead_head=True),
        fault="the trunk is frozen and the new head's first layer is dead, so that nothing before the output learns",
        symptoms=frozenset({"IM301", "IM602"}),
        culprits=("net.head.0*", "net.head.1"),
        pathology=pathologies.dead_units("net.head.1", 0.99),
    ),
    Case("trunk-and-head/healthy", "trunk-and-head", from_scratch),
    _scratch(
        "trunk-and-head/detached-trunk",
        make=partial(from_scratch, detached=True),
        fault="the trunk, which is to learn, is cut off from the graph",
        symptoms=CUT_OFF,
        culprits=("net.trunk*",),
        pathology=pathologies.unmoved(from_scratch, "net.trunk.*"),
    ),
    _scratch(
        "trunk-and-head/trunk-in-no-optimizer",
        make=partial(from_scratch, omitted="trunk"),
        fault="the trunk, which is to learn, is in no optimizer",
        symptoms=CUT_OFF,
        culprits=("net.trunk*",),
        pathology=pathologies.unmoved(from_scratch, "net.trunk.*"),
    ),
    _scratch(
        "trunk-and-head/layer-in-no-optimizer",
        make=partial(from_scratch, omitted="trunk.2"),
        fault="one layer is in no optimizer",
        symptoms=CUT_OFF,
        culprits=("net.trunk.2*",),
        pathology=pathologies.unmoved(from_scratch, "net.trunk.2.*"),
    ),
    Case("low-rank-adapters/healthy", "low-rank-adapters", adapted),
    _adapted(
        "low-rank-adapters/both-zero",
        make=partial(adapted, change=_zero_down),
        fault="both matrices of the adapters zero: nothing that can learn gets a gradient",
        symptoms=frozenset({"IM602", "IM501", "IM402"}),
        culprits=("net.?.down*", "net.?.up*", "net.?#*"),
        pathology=pathologies.unmoved(partial(adapted, change=_zero_down), "*"),
    ),
    Case("accumulating-mlp/healthy", "accumulating-mlp", accumulating),
    _accumulating(
        "accumulating-mlp/constant-weights",
        make=partial(accumulating, change=constant(0.03, "0.*")),
        fault="all weights of the trunk 0.03",
        symptoms=NO_DIFFERENCE,
        culprits=("net.0.*",),
    ),
    _accumulating(
        "accumulating-mlp/rate-too-low",
        make=partial(accumulating, optimizer=sgd(1e-7)),
        fault="SGD with a learning rate of 1e-7",
        symptoms=RATE_TOO_LOW,
    ),
    _accumulating(
        "accumulating-mlp/rate-too-high",
        make=partial(accumulating, optimizer=sgd(10.0)),
        fault="SGD with a learning rate of 10",
        symptoms=RATE_TOO_HIGH_BEFORE_RELU,
    ),
    _accumulating(
        "accumulating-mlp/loss-divided-away",
        make=partial(accumulating, part=1e-7),
        fault="the loss divided by ten million",
        symptoms=GRADIENT_TOO_SMALL,
        pathology=pathologies.barely_moved(accumulating, 1e-4),
    ),
    Case("tied-autoencoder/healthy", "tied-autoencoder", tied),
    _tied(
        "tied-autoencoder/weights-times-30",
        make=partial(tied, change=scaled(30.0)),
        fault="all weights times 30",
        symptoms=SATURATING,
        culprits=EVERYTHING,
    ),
    _tied(
        "tied-autoencoder/zero-weights",
        make=partial(tied, change=constant(0.0)),
        fault="all weights zero",
        symptoms=frozenset({"IM501", "IM502", "IM102", "IM202", "IM602"}),
        culprits=EVERYTHING,
    ),
    Case("two-optimizers/healthy", "two-optimizers", alternating),
    _several(
        "two-optimizers/rate-too-low",
        make=partial(alternating, body=1e-9),
        fault="the trunk's optimizer has a learning rate of 1e-9",
        symptoms=RATE_TOO_LOW,
        culprits=("net.trunk*",),
        pathology=pathologies.barely_moved(alternating, 1e-4, "net.trunk.*"),
    ),
    _several(
        "two-optimizers/stale-parameters",
        make=partial(alternating, stale=True),
        fault="the trunk's optimizer holds the parameters of another trunk",
        symptoms=CUT_OFF,
        culprits=("net.trunk*",),
        pathology=pathologies.unmoved(alternating, "net.trunk.*"),
    ),
    Case("clipped-mlp/healthy", "clipped-mlp", clipped),
    _clipped(
        "clipped-mlp/clipped-away",
        make=partial(clipped, norm=1e-6),
        fault="gradients clipped to a norm of 1e-6",
        symptoms=RATE_TOO_LOW,
    ),
    _clipped(
        "clipped-mlp/n01-weights",
        make=partial(clipped, change=gaussian(1.0)),
        fault="all weights from N(0, 1), which the clipping hides",
        symptoms=SATURATING,
        culprits=EVERYTHING,
    ),
    Case("bfloat16-mlp/healthy", "bfloat16-mlp", partial(narrow, "bf16-true")),
    _bf16(
        "bfloat16-mlp/updates-rounded-away",
        make=partial(narrow, "bf16-true", rate=1e-6),
        fault="updates of less than half of the last digit of bfloat16",
        symptoms=RATE_TOO_LOW,
        pathology=pathologies.stale(partial(narrow, "bf16-true"), 0.95, "net.*weight"),
    ),
    Case("bfloat16-mixed-mlp/healthy", "bfloat16-mixed-mlp", partial(narrow, "bf16-mixed")),
    _mixed(
        "bfloat16-mixed-mlp/n01-weights",
        make=partial(narrow, "bf16-mixed", change=gaussian(1.0)),
        fault="all weights from N(0, 1)",
        symptoms=TOO_LARGE,
        culprits=EVERYTHING,
    ),
    Case("decayed-mlp/healthy", "decayed-mlp", decayed),
    _decayed(
        "decayed-mlp/decayed-away",
        make=partial(decayed, decay=100.0),
        fault="weight decay so strong that a step takes a third of every weight",
        symptoms=frozenset({"IM102", "IM202", "IM502", "IM603", "IM702"}),
    ),
)
