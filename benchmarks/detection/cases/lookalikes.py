"""Healthy trainings that resemble a fault in one number or another. None may be flagged."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.detection import material, pathologies
from benchmarks.detection.case import Case
from benchmarks.detection.lightning import adam, sgd
from benchmarks.detection.lookalike_nets import Looped, Scanner, Student, Twofold, chain, lecun_, picture_net
from benchmarks.detection.lookalike_trainings import (
    WIDTH,
    confident,
    decaying,
    digits,
    evenly_used,
    falling,
    finding,
    frozen_net,
    he_net,
    hinge,
    imitation,
    large_targets,
    larger_than_the_net,
    memorising,
    mixture,
    normed_net,
    one_hot,
    pixels,
    plain_net,
    points,
    raw,
    residual_net,
    rising,
    scheduled,
    sparse,
    sparse_and_alive,
    spectral_net,
    spiked,
    spiking,
    trained_net,
    waves,
    weight_normed_net,
)
from benchmarks.detection.optimizers import SignMomentum

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.detection.case import Training


def look(name: str, make: Callable[[], Training], **options: Any) -> Case:  # noqa: ANN401 - those of a case
    """Return a healthy case, with an architecture of its own."""
    return Case(f"{name}/healthy-look", name, make, **options)


CASES: tuple[Case, ...] = (
    look("sparse-code", sparse, pathology=sparse_and_alive),
    look("zero-ended-residuals", partial(digits, partial(residual_net, normalised=False, zero_end=True))),
    look("layer-scale", partial(digits, partial(residual_net, normalised=True, scale=1e-6))),
    look("frozen-trunk", partial(digits, frozen_net)),
    look("large-targets", large_targets),
    look("targets-of-hundreds", larger_than_the_net),
    look("warm-up", partial(scheduled, rising, 2e-3)),
    look("cosine-to-zero", partial(scheduled, falling, 2e-3)),
    look("early-spike", partial(scheduled, spiking, 5e-3), pathology=spiked),
    look("dropout", partial(digits, partial(plain_net, dropout=0.5))),
    look("gelu", partial(digits, partial(he_net, activation=nn.GELU))),
    look("silu", partial(digits, partial(he_net, activation=nn.SiLU))),
    look("mish", partial(digits, partial(he_net, activation=nn.Mish))),
    look("elu", partial(digits, partial(he_net, activation=nn.ELU))),
    look("hardswish", partial(digits, partial(he_net, activation=nn.Hardswish))),
    look(
        "selu",
        partial(digits, partial(chain, 64, *[WIDTH] * 10, 10, activation=nn.SELU, init=lecun_), optimizer=sgd(0.01)),
    ),
    look("siren", waves, pathology=pathologies.improved(0.5)),
    look("confident-sigmoid", confident, pathology=pathologies.fell(0.01)),
    look(
        "sharp-attention",
        finding,
        steps=200,
        pathology=pathologies.all_of(pathologies.sharp("net.softmax", 0.9), pathologies.improved(0.2)),
    ),
    look("batch-norm-before", partial(digits, partial(normed_net, before=True))),
    look("batch-norm-after", partial(digits, partial(normed_net, before=False))),
    look("group-norm", partial(digits, partial(picture_net, partial(nn.GroupNorm, 4)), loader=material.digit_images)),
    look(
        "relu6-batch-norm",
        partial(digits, partial(picture_net, nn.BatchNorm2d, nn.ReLU6), loader=material.digit_images),
    ),
    look("one-hot-input", partial(digits, partial(chain, 272, WIDTH, WIDTH, 10), loader=one_hot)),
    look("raw-greys", partial(digits, partial(plain_net, hidden=2), loader=raw)),
    look("label-noise", partial(points, flipped=0.4)),
    look("tiny-batch", partial(points, batch=4)),
    look("batch-of-one", partial(digits, plain_net, loader=partial(material.digit_vectors, batch=1)), steps=200),
    look("class-imbalance", partial(points, shares=(0.97, 0.01, 0.02))),
    look("weight-decay", partial(digits, plain_net, optimizer=decaying)),
    look(
        "accumulation",
        partial(
            digits,
            plain_net,
            loader=partial(material.digit_vectors, batch=8),
            optimizer=sgd(0.1),
            options={"accumulate_grad_batches": 4},
        ),
    ),
    look("strong-clipping", partial(digits, he_net, options={"gradient_clip_val": 0.1})),
    look("sgd", partial(digits, he_net, optimizer=sgd(0.1, momentum=0.0))),
    look("momentum", partial(digits, he_net, optimizer=partial(torch.optim.SGD, lr=0.02, momentum=0.9, nesterov=True))),
    look("rmsprop", partial(digits, he_net, optimizer=partial(torch.optim.RMSprop, lr=1e-3))),
    look("adagrad", partial(digits, he_net, optimizer=partial(torch.optim.Adagrad, lr=1e-2))),
    look("sign-momentum", partial(digits, he_net, optimizer=partial(SignMomentum, lr=3e-4))),
    look("long-gru", partial(digits, partial(Scanner, nn.GRU, 2, 10), loader=pixels, optimizer=adam(1e-2))),
    look("long-lstm", partial(digits, partial(Scanner, nn.LSTM, 2, 10), loader=pixels, optimizer=adam(1e-2))),
    look("spectral-norm", partial(digits, spectral_net, optimizer=adam(5e-3))),
    look("weight-norm", partial(digits, weight_normed_net)),
    look("shared-layer", partial(digits, partial(Looped, 64, 10))),
    look("memorised", memorising, pathology=pathologies.fell(1e-4)),
    look("mixture-of-experts", mixture, pathology=evenly_used),
    look("seldom-head", partial(digits, partial(Twofold, 64, 10))),
    look("student-and-teacher", partial(digits, lambda: Student(he_net()), loss=imitation)),
    look("margin-loss", partial(digits, plain_net, loss=hinge)),
    look("default-tanh", partial(digits, partial(plain_net, hidden=4, activation=nn.Tanh))),
    look("default-shallow", partial(digits, partial(plain_net, hidden=2), optimizer=sgd(0.05))),
    look("default-six-layers", partial(digits, partial(plain_net, hidden=5))),
    look("resumed", partial(digits, trained_net, optimizer=adam(3e-4)), pathology=pathologies.sound),
)
