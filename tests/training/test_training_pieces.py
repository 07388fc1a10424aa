"""Pieces that are hard to look into: checkpointed, compiled by TorchScript, transformed, quantised, sparse.

What can be measured is; what cannot is named in one notice; and the training is the same to the bit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch
from models import Classifier, loader
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from trainings import Residual, assert_same_records, both, quiet

if TYPE_CHECKING:
    from init_monitor import StepRecord

# TorchScript and eager quantisation are deprecated, sparse CSR is in beta; people train with them all the same.
pytestmark = pytest.mark.filterwarnings("ignore")


# --- activation checkpointing ----------------------------------------------------------------------------------------


class Blocks(nn.Module):
    """Three residual blocks with dropout; each is checkpointed, or none."""

    mode: str = "none"

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 16), nn.Linear(16, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 16), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(16, 16))
            for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            if self.mode == "none":
                x = x + block(x)
            else:
                x = x + checkpoint(block, x, use_reentrant=self.mode == "reentrant")
        output: torch.Tensor = self.head(x)
        return output


class Reentrant(Blocks):
    mode = "reentrant"


class NotReentrant(Blocks):
    mode = "not reentrant"


class WithSumsInside(Residual):
    """The residual additions themselves are inside the checkpoint."""

    reentrant = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.requires_grad_()  # a reentrant checkpoint needs an input with a gradient
        output: torch.Tensor = checkpoint(super().forward, x, use_reentrant=self.reentrant)
        return output


class WithSumsInsideReentrant(WithSumsInside):
    reentrant = True


class InSegments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*[layer for _ in range(4) for layer in (nn.Linear(16, 16), nn.ReLU())])
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(checkpoint_sequential(self.net, 2, x, use_reentrant=False))
        return output


def records_of(network: type[nn.Module]) -> list[StepRecord]:
    monitor, _ = both(lambda: Classifier(network(), lr=0.05), loader(16), steps=4)
    assert monitor.notices == []
    assert len(monitor.records) == 4
    return monitor.records


@pytest.mark.parametrize("network", [Reentrant, NotReentrant])
def test_a_checkpointed_training_gives_the_records_of_the_one_without(network: type[nn.Module]) -> None:
    for expected, record in zip(records_of(Blocks), records_of(network), strict=True):
        assert len(record.residual_names) == 3
        assert_same_records(expected, record, rtol=1e-6)


@pytest.mark.parametrize("network", [WithSumsInside, WithSumsInsideReentrant])
def test_residual_additions_inside_a_checkpoint_are_counted_once(network: type[WithSumsInside]) -> None:
    for expected, record in zip(records_of(Residual), records_of(network), strict=True):
        assert record.names == expected.names
        for name, layer in expected.layers.items():
            assert record.layers[name].forward == layer.forward, name
            if network.reentrant and name == "net/tanh#1":
                # Its first run is without gradients, and the probe does not look at the second.
                assert record.layers[name].backward is None
                continue
            backward = record.layers[name].backward
            assert backward is not None
            assert layer.backward is not None
            assert backward.count == layer.backward.count, name
            assert backward.variance == pytest.approx(layer.backward.variance, rel=1e-6), name


def test_a_network_checkpointed_in_segments_is_measured_whole() -> None:
    for record in records_of(InSegments):
        assert len(record.names) == 9
        assert {layer.forward.count for layer in record} == {32 * 16, 32 * 10}
        assert all(layer.backward is not None and layer.backward.count == layer.forward.count for layer in record)


# --- what cannot be looked into --------------------------------------------------------------------------------------


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.piece, self.head = torch.jit.script(nn.Sequential(nn.Linear(16, 16), nn.ReLU())), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(x + self.piece(x))
        return output


class Traced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.piece = torch.jit.trace(nn.Sequential(nn.Linear(16, 16), nn.ReLU()), torch.ones(2, 16))
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.piece(x))
        return output


class PerSample(nn.Module):
    """A layer under vmap, and the gradient of a function through another one by ``torch.func``."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.bend, self.head = nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slope = torch.func.vmap(torch.func.grad(lambda v: self.bend(self.inner(v)).sum()))(x)
        output: torch.Tensor = self.head(torch.vmap(self.inner)(x) + slope)
        return output


class Functional(nn.Module):
    """Calls a layer with weights of its own making (``functional_call``), as meta-learning does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = {name: 0.5 * parameter for name, parameter in self.inner.named_parameters()}
        output: torch.Tensor = self.head(torch.func.functional_call(self.inner, weights, (x,)))
        return output


class Quantised(nn.Module):
    """Frozen, dynamically quantised features under a trainable head."""

    def __init__(self) -> None:
        super().__init__()
        features = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.features = torch.ao.quantization.quantize_dynamic(features, {nn.Linear}, dtype=torch.qint8)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.features(x).detach())
        return output


class QuantisedTensors(nn.Module):
    """Tensors in an integer format pass from module to module."""

    def __init__(self) -> None:
        super().__init__()
        self.quantise, self.relu = torch.ao.nn.quantized.Quantize(0.1, 0, torch.quint8), nn.ReLU()
        self.back, self.head = torch.ao.nn.quantized.DeQuantize(), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.back(self.relu(self.quantise(x))))
        return output


class QuantisationAware(nn.Module):
    """Quantisation-aware training: fake quantisation of weights and activations."""

    def __init__(self) -> None:
        super().__init__()
        net = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)).train()
        net.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
        self.net = torch.ao.quantization.prepare_qat(net)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.net(x)
        return output


class SparseWords(nn.Module):
    """An embedding whose gradient is sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(50, 16, sparse=True), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.words((x.abs() * 10).long().clamp(max=49)).mean(1))
        return output


class SparseWeight(nn.Module):
    """A weight in a sparse layout, and activations that are sparse on the way."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        weight = torch.randn(16, 16) * (torch.rand(16, 16) < 0.3)
        self.weight = nn.Parameter(weight.to_sparse_csr() if layout == "csr" else weight.to_sparse())
        self.passes, self.head = nn.Identity(), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.passes(self.weight)
        hidden = torch.sparse.mm(weight, x.t()).t()
        output: torch.Tensor = self.head(hidden + x)
        return output


class CompressedWeight(SparseWeight):
    def __init__(self) -> None:
        super().__init__("csr")


class CoordinateWeight(SparseWeight):
    def __init__(self) -> None:
        super().__init__("coo")


class SparseActivations(nn.Module):
    """A module that returns a sparse tensor, and one that takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.squeeze, self.head = nn.Linear(16, 16), Squeeze(), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.squeeze(self.first(x)).to_dense())
        return output


class Squeeze(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.relu() * self.weight).to_sparse()


class Complex(nn.Module):
    """Passes through the frequency domain."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(9, dtype=torch.complex64)), nn.Linear(16, 10)
        self.passes = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(torch.fft.irfft(self.passes(torch.fft.rfft(x) * self.weight), n=16))
        return output


class Nested(nn.Module):
    """Sequences of unlike length in one nested tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ragged = torch.nested.nested_tensor(list(x.split([8, 24])), layout=torch.jagged)
        output: torch.Tensor = self.head(torch.cat(self.inner(ragged).unbind()))
        return output


PIECES: list[tuple[type[nn.Module], set[str], str]] = [
    (Scripted, {"net.head"}, r"'net.piece' is compiled by TorchScript \(3 modules\)"),
    (Traced, {"net.head"}, r"'net.piece' is compiled by TorchScript \(3 modules\)"),
    (PerSample, {"net.head"}, r"Inside vmap or another function transform"),
    (Functional, {"net.inner", "net.head"}, ""),
    (Quantised, {"net.features.1", "net.head"}, r"'net.features.0' is quantised \(2 modules\)"),
    (QuantisedTensors, {"net.back", "net.head"}, r"The output of 'net.quantise' is a quantised tensor"),
    (QuantisationAware, {"net.net.0", "net.net.1", "net.net.2"}, ""),
    (SparseWords, {"net.words", "net.head"}, r"The gradient of 'net.words.weight' is a sparse tensor"),
    (CompressedWeight, {"net.head"}, r"The parameter 'net.weight' is a sparse tensor"),
    (CoordinateWeight, {"net.head"}, r"The parameter 'net.weight' is a sparse tensor"),
    (SparseActivations, {"net.first", "net.squeeze/relu#1", "net.head"}, r"The output of 'net.squeeze' is a sparse"),
    (Complex, {"net.head"}, r"The parameter 'net.weight' is a complex tensor"),
    (Nested, {"net.head"}, r"The output of 'net.inner' is a nested tensor"),
]
UNCOPIED = (CompressedWeight, CoordinateWeight, QuantisationAware)
"""These cannot be copied or pickled, with or without a monitor."""


@pytest.mark.parametrize("measure", ["exact", "staged"])
@pytest.mark.parametrize(("network", "names", "notice"), PIECES, ids=[network.__name__ for network, _, _ in PIECES])
def test_what_cannot_be_measured_is_named_in_one_notice_and_the_rest_is_measured(
    network: type[nn.Module], names: set[str], notice: str, measure: str
) -> None:
    monitor, _ = both(
        lambda: Classifier(network(), lr=0.05),
        loader(16),
        quiet(measure=measure),
        steps=6,
        copies=network not in UNCOPIED,
    )
    assert len(monitor.records) == 6
    for record in monitor.records:
        assert set(record.names) == names
        head = record.layers.get("net.head") or record.layers["net.net.2"]
        assert head.backward is not None
        assert head.backward.variance > 0
    assert len(monitor.notices) == bool(notice)
    assert all(re.search(notice, text) for text in monitor.notices)
    assert not [finding for finding in monitor.findings if finding.code.startswith("IM6")]
