"""Autoencoders, a U-Net and a GAN, on digits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.detection import material, pathologies, seeding
from benchmarks.detection.case import Case, Evidence, Training
from benchmarks.detection.defects import biased, constant, gaussian, none, scaled
from benchmarks.detection.generative_nets import (
    NOISE,
    Autoencoder,
    UNet,
    Variational,
    discriminator,
    generator,
)
from benchmarks.detection.lightning import Learner, adam
from benchmarks.detection.modules import Adversarial
from benchmarks.detection.symptoms import (
    CUT_OFF,
    NO_DIFFERENCE,
    NOTHING,
    RATE_TOO_HIGH_BEFORE_RELU,
    RATE_TOO_LOW,
    TOO_LARGE,
    TOO_SMALL,
)

if TYPE_CHECKING:
    from benchmarks.detection.defects import Defect
    from benchmarks.detection.lightning import MakeOptimizer

PRIOR_WEIGHT = 0.01
"""Of the Kullback-Leibler term against the mean squared error, so that the code is used."""

SILENT_CODE = 1e-2
"""Signal to noise of each number of the code: less than 0.005 nats of information in it."""

EVERYTHING = ("net.*",)


def copier(*, change: Defect = none, factor: float = 1.0, detached: bool = False) -> Training:
    """A digit to itself through 16 numbers."""
    seeding.seed(0)
    net = Autoencoder()
    net.detached = detached
    change(net)
    return Training(Learner(net, F.mse_loss, adam(2e-3)), material.digit_copies(factor=factor))


def cleaner(*, change: Defect = none, optimizer: MakeOptimizer | None = None) -> Training:
    """A noisy picture to the clean one."""
    seeding.seed(0)
    net = UNet()
    change(net)
    return Training(Learner(net, F.mse_loss, optimizer or adam(2e-3)), material.noisy_images(batch=16))


def evidence_bound(prior_weight: float, output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    """Return the error of the picture and what the code costs."""
    picture, mean, log_variance = output
    cost = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
    return F.mse_loss(picture, target) + prior_weight * cost


def root_bound(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    """Return the same with a root of a difference that is 0: its derivative is not finite."""
    distance = (output[1] - output[1].detach()).square().sum().sqrt()
    return evidence_bound(PRIOR_WEIGHT, output, target) + distance


def dreamer(*, change: Defect = none, prior_weight: float = PRIOR_WEIGHT, root: bool = False) -> Training:
    """A digit to itself through 8 noisy numbers."""
    seeding.seed(0)
    net = Variational()
    change(net)
    loss = root_bound if root else partial(evidence_bound, prior_weight)
    return Training(Learner(net, loss, adam(3e-3)), material.digit_copies())


def forger(*, change: Defect = none, detached: bool = False, probabilities: bool = False) -> Training:
    """Digits out of noise; ``change`` is made to the generator and the discriminator under these names."""
    seeding.seed(0)
    module = Adversarial(
        generator(),
        discriminator(probabilities=probabilities),
        latent=NOISE,
        detached=detached,
        probabilities=probabilities,
    )
    change(module)
    return Training(module, material.digit_copies())


def silent_code(training: Training) -> Evidence:
    """Say that the code of a sample differs from that of another by less than a hundredth of its noise."""
    means: list[Tensor] = []
    variances: list[Tensor] = []
    with torch.no_grad():
        for pictures, _ in training.loader:
            _, mean, log_variance = training.module.get_submodule("net")(pictures)
            means.append(mean.double())
            variances.append(log_variance.double().exp())
    share = float((torch.cat(means).var(0) / torch.cat(variances).mean(0)).max())
    return Evidence(share < SILENT_CODE, f"codes differ by at most {share:.1e} of their noise's variance")


_copier = partial(Case, architecture="autoencoder", twin="autoencoder/healthy")
_unet = partial(Case, architecture="unet", twin="unet/healthy")
_vae = partial(Case, architecture="variational-autoencoder", twin="variational-autoencoder/healthy")
_gan = partial(Case, architecture="gan", twin="gan/healthy")
_saturating_gan = partial(Case, architecture="saturating-gan", twin="saturating-gan/healthy")
_saturating = partial(forger, probabilities=True)
_HEAD = "discriminator.4.weight"

CASES: tuple[Case, ...] = (
    Case("autoencoder/healthy", "autoencoder", copier),
    _copier(
        "autoencoder/constant-weights",
        make=partial(copier, change=constant(0.05)),
        fault="all weights 0.05",
        symptoms=NO_DIFFERENCE,
        culprits=EVERYTHING,
    ),
    _copier(
        "autoencoder/zero-decoder",
        make=partial(copier, change=constant(0.0, "decoder.*")),
        fault="all weights of the decoder zero",
        symptoms=NOTHING,
        culprits=("net.decoder*",),
    ),
    _copier(
        "autoencoder/tiny-weights",
        make=partial(copier, change=gaussian(1e-4)),
        fault="all weights from N(0, 1e-4²)",
        symptoms=TOO_SMALL,
        culprits=EVERYTHING,
    ),
    _copier(
        "autoencoder/detached-code",
        make=partial(copier, detached=True),
        fault="the encoder is cut off from the graph",
        symptoms=CUT_OFF,
        culprits=("net.encoder*",),
        pathology=pathologies.unmoved(copier, "net.encoder.*"),
    ),
    _copier(
        "autoencoder/dead-layer",
        make=partial(copier, change=biased(-20.0, "encoder.2")),
        fault="biases of -20 before a ReLU",
        symptoms=frozenset({"IM301"}),
        culprits=("net.encoder.2*", "net.encoder.3"),
        pathology=pathologies.dead_units("net.encoder.3", 0.95),
    ),
    _copier(
        "autoencoder/unscaled-input",
        make=partial(copier, factor=1000.0),
        fault="pixels times 1000",
        symptoms=frozenset({"IM701"}),
        culprits=("net.encoder.0*", "net.encoder", "net"),
    ),
    Case("unet/healthy", "unet", cleaner),
    _unet(
        "unet/n01-weights",
        make=partial(cleaner, change=gaussian(1.0)),
        fault="all weights from N(0, 1)",
        symptoms=TOO_LARGE,
        culprits=EVERYTHING,
    ),
    _unet(
        "unet/zero-weights",
        make=partial(cleaner, change=constant(0.0)),
        fault="all weights zero",
        symptoms=NOTHING,
        culprits=EVERYTHING,
    ),
    _unet(
        "unet/dead-bottom",
        make=partial(cleaner, change=biased(-30.0, "bottom.0")),
        fault="biases of -30 before a ReLU",
        symptoms=frozenset({"IM301"}),
        culprits=("net.bottom.0*", "net.bottom.1"),
        pathology=pathologies.dead_units("net.bottom.1", 0.95),
    ),
    _unet(
        "unet/rate-too-high",
        make=partial(cleaner, optimizer=adam(1.0)),
        fault="Adam with a learning rate of 1",
        symptoms=RATE_TOO_HIGH_BEFORE_RELU,
    ),
    _unet(
        "unet/rate-too-low",
        make=partial(cleaner, optimizer=adam(1e-8)),
        fault="Adam with a learning rate of 1e-8",
        symptoms=RATE_TOO_LOW,
    ),
    Case("variational-autoencoder/healthy", "variational-autoencoder", dreamer),
    _vae(
        "variational-autoencoder/variance-overflows",
        make=partial(dreamer, change=scaled(200.0, "log_variance.*")),
        fault="weights of the log variance times 200, so that its exponential overflows",
        symptoms=frozenset({"IM601", "IM502", "IM101"}),
        culprits=("net.log_variance*",),
    ),
    _vae(
        "variational-autoencoder/root-of-zero",
        make=partial(dreamer, root=True),
        fault="a loss with the root of zero",
        symptoms=frozenset({"IM601"}),
    ),
    _vae(
        "variational-autoencoder/collapsed-code",
        make=partial(dreamer, prior_weight=100.0),
        fault="a prior so strong that the code says nothing",
        symptoms=frozenset({"IM702", "IM102"}),
        culprits=("net.mean*", "net.encoder*"),
        pathology=silent_code,
    ),
    _vae(
        "variational-autoencoder/n01-decoder",
        make=partial(dreamer, change=gaussian(1.0, "decoder.*")),
        fault="weights of the decoder from N(0, 1)",
        symptoms=TOO_LARGE,
        culprits=("net.decoder*",),
    ),
    Case("gan/healthy", "gan", forger, pathology=pathologies.sound),
    _gan(
        "gan/n01-discriminator",
        make=partial(forger, change=gaussian(1.0, "discriminator.*")),
        fault="weights of the discriminator from N(0, 1)",
        symptoms=TOO_LARGE,
        culprits=("discriminator.*",),
    ),
    _gan(
        "gan/detached-generator",
        make=partial(forger, detached=True),
        fault="the generator is cut off from its loss",
        symptoms=CUT_OFF,
        culprits=("generator*",),
        pathology=pathologies.unmoved(forger, "generator.*"),
    ),
    _gan(
        "gan/zero-generator",
        make=partial(forger, change=constant(0.0, "generator.*")),
        fault="all weights of the generator zero",
        symptoms=NOTHING | {"IM702"},
        culprits=("generator.*",),
        pathology=pathologies.unmoved(partial(forger, change=constant(0.0, "generator.*")), "generator.*.weight"),
    ),
    Case("saturating-gan/healthy", "saturating-gan", _saturating, pathology=pathologies.sound),
    _saturating_gan(
        "saturating-gan/saturated-discriminator",
        make=partial(_saturating, change=scaled(300.0, _HEAD)),
        fault="the last weights of the discriminator times 300: its sigmoid saturates",
        symptoms=frozenset({"IM303", "IM502", "IM101"}),
        culprits=("discriminator.4*", "discriminator.5"),
        pathology=pathologies.beyond("discriminator.5", 1e-3, 1 - 1e-3, 0.95, network="discriminator"),
    ),
)
