"""The table holds what modules of the network made, and residual additions that somebody built: nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from watched import inputs, watch_fit, watch_loop, watch_net, weights

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, BATCH = 16, 32


class Distances(nn.Module):
    """Adds what it computes to the dict it was given, and hands the whole dict on."""

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        given["distance"] = torch.cdist(given["place"], given["place"])
        return given


class Embedding(nn.Module):
    """Takes one tensor of the dict and adds its own."""

    def __init__(self, source: str, target: str, width: int) -> None:
        super().__init__()
        self.source, self.target, self.layer = source, target, nn.Linear(width, WIDTH)

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        given[self.target] = self.layer(given[self.source]).relu()
        return given


class Total(nn.Module):
    """Has no layer: sums what the dict brings, and leaves everything in it."""

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        given["energy"] = given["features"].sum((1, 2))
        return given


def test_a_module_that_hands_a_dict_on_has_rows_only_for_what_it_made() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        Distances(), Embedding("distance", "hidden", 6), Embedding("hidden", "features", WIDTH), Total()
    )
    place, forces = torch.randn(BATCH, 6, 3), torch.randn(BATCH, 6, 3)
    watch = watch_loop(net, lambda _: net({"place": place, "forces": forces})["energy"].square().mean())
    names = {layer.name for layer in watch.structure.layers}
    assert weights(watch.structure) == ["1.layer", "2.layer"]
    # Whether a module without a weight has a row is a matter of taste; that it has none for what it was given is not.
    handed_on = {f"{k}[{key}]" for k, made in ((0, "distance"), (3, "energy")) for key in given_keys() - {made}}
    assert not names & handed_on
    assert len([name for name in names if name.startswith(("0", "3"))]) <= 2
    assert inputs(watch.structure)["2.layer"] in {("1/relu#1",), ("1",)}


def given_keys() -> set[str]:
    return {"place", "forces", "distance", "hidden", "features", "energy"}


class Autoencoder(pl.LightningModule):
    """A variational autoencoder of counts: sampling and likelihood are arithmetic of its training step."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.mean, self.spread = nn.Linear(WIDTH, 4), nn.Linear(WIDTH, 4)
        self.decoder = nn.Sequential(nn.Linear(4, WIDTH), nn.ReLU())
        self.rate, self.absent = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.size = nn.Parameter(torch.zeros(WIDTH))

    def training_step(self, counts: Tensor, _: int) -> Tensor:
        encoded = self.encoder(torch.log1p(counts))
        latent = Normal(self.mean(encoded), (0.5 * self.spread(encoded)).exp())
        decoded = self.decoder(latent.rsample())
        likely = zero_inflated(counts, self.rate(decoded), self.size.exp(), self.absent(decoded))
        prior = Normal(torch.zeros(4), torch.ones(4))
        return (kl_divergence(latent, prior).sum(1) - likely.sum(1)).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def zero_inflated(counts: Tensor, logits: Tensor, size: Tensor, absent: Tensor) -> Tensor:
    """Return the log likelihood of a negative binomial with extra zeros (Lambert 1992; Greene 1994)."""
    present = torch.lgamma(counts + size) - torch.lgamma(size) - torch.lgamma(counts + 1)
    present = present + counts * nn.functional.logsigmoid(logits) + size * nn.functional.logsigmoid(-logits)
    nothing = nn.functional.softplus(size * nn.functional.logsigmoid(-logits) - absent) - nn.functional.softplus(
        -absent
    )
    something = present - nn.functional.softplus(absent)
    return torch.where(counts < 0.5, nothing, something)


NETWORK = ["encoder.0", "encoder.1", "encoder.2", "mean", "spread", "decoder.0", "decoder.1", "rate", "absent"]


def test_sampling_and_likelihood_of_an_autoencoder_are_neither_layers_nor_residuals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    counts = torch.poisson(torch.full((4, BATCH, WIDTH), 3.0))
    monitor = watch_fit(Autoencoder(), list(counts), tmp_path)
    assert sorted(monitor.structure.names) == sorted(NETWORK)
    assert monitor.structure.residuals == ()
    came = inputs(monitor.structure)
    assert came["encoder.0"] == ("input",)
    assert came["mean"] == came["spread"] == ("encoder.2",)
    assert came["rate"] == came["absent"] == ("decoder.1",)


class ByMean(nn.Module):
    """A decoder of counts that returns its loss: the likelihood is written by its mean, in the forward of a module."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.share, self.absent = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.size = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, counts: Tensor) -> Tensor:
        body = self.body(torch.log1p(counts))
        mean, size = self.share(body).softmax(-1) * counts.sum(1, keepdim=True), self.size.exp()
        absent = self.absent(body)
        nothing = nn.functional.softplus(-absent)
        both = torch.log(size + mean)
        zero = -absent + size * (size.log() - both)
        more = -nothing + zero + counts * (torch.log(mean + 1e-8) - both)
        more = more + torch.lgamma(counts + size) - torch.lgamma(size) - torch.lgamma(counts + 1)
        return -torch.where(counts < 0.5, nn.functional.softplus(zero) - nothing, more).sum(1).mean()


@pytest.mark.parametrize("times", [None, 0.5])
def test_a_likelihood_in_the_forward_of_a_module_holds_no_residuals(times: float | None) -> None:
    torch.manual_seed(0)
    net, counts = ByMean(), torch.poisson(torch.full((BATCH, WIDTH), 3.0))
    # A Trainer divides what a module returns by the batches that it accumulates.
    watch = watch_loop(net, lambda _: net(counts) if times is None else net(counts) * times)
    assert [name for name in watch.structure.names if "softplus" in name] == []
    assert weights(watch.structure) == ["body.0", "share", "absent"]
    assert watch.structure.residuals == ()


class Sampler(nn.Module):
    """The reparameterisation written out: inside the forward of a module, where a residual could be as well."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.body(x))
        mean = self.mean(x)
        head: Tensor = self.head(mean + torch.exp(0.5 * self.spread(x)) * torch.randn_like(mean))
        return head


class Added(nn.Module):
    """The same layers in a block that somebody did build as a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.branch, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.body(x))
        head: Tensor = self.head(x + torch.exp(0.5 * self.branch(x)) * torch.randn_like(x))
        return head


def test_a_sample_around_a_mean_is_no_residual() -> None:
    torch.manual_seed(0)
    watch = watch_net(Sampler(), torch.randn(BATCH, WIDTH))
    assert watch.structure.residuals == ()
    assert weights(watch.structure) == ["body", "mean", "spread", "head"]


def test_a_block_that_adds_noise_of_a_learned_size_to_its_input_is_one() -> None:
    torch.manual_seed(0)
    watch = watch_net(Added(), torch.randn(BATCH, WIDTH))
    assert [one.kind for one in watch.structure.residuals] == ["identity"]


class Widening(nn.Module):
    """Gives more units than it takes: its skip is interpolated, gated unit by unit, and normalised."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(into, out), nn.Linear(out, 2 * out), out
        self.mask, self.gate = nn.Parameter(torch.zeros(out)), nn.Sigmoid()
        self.of_skip, self.of_sum = nn.LayerNorm(out), nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        skip = nn.functional.interpolate(x[:, None], self.out, mode="linear", align_corners=True)[:, 0]
        skip = self.of_skip(skip * self.gate(self.mask) * 2.0)
        branch = nn.functional.glu(self.second(nn.functional.elu(self.first(x))))
        y: Tensor = self.of_sum(branch + skip)
        return y


def test_a_skip_that_is_interpolated_to_the_width_of_its_branch_is_a_residual() -> None:
    torch.manual_seed(0)
    watch = watch_net(nn.Sequential(Widening(8, WIDTH), Widening(WIDTH, 24), nn.Linear(24, 1)), torch.randn(BATCH, 8))
    assert [(one.name, one.kind) for one in watch.structure.residuals] == [("0#1", "projection"), ("1#1", "projection")]


class AddNorm(nn.Module):
    """Is given both terms, and normalises their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        y: Tensor = self.norm(branch + x)
        return y


class Apart(nn.Module):
    """A block of which modules of its own make the projected skip, the branch, and the normalised sum of both."""

    def __init__(self) -> None:
        super().__init__()
        self.skip, self.add = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.LayerNorm(WIDTH)), AddNorm()
        self.branch = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ELU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.add(self.skip(x), self.branch(x))
        return y


def test_a_sum_that_a_module_of_its_own_normalises_is_the_residual_of_the_block_around_it() -> None:
    torch.manual_seed(0)
    watch = watch_net(nn.Sequential(Apart(), Apart(), nn.Linear(WIDTH, 1)), torch.randn(BATCH, WIDTH))
    assert [(one.name, one.kind) for one in watch.structure.residuals] == [
        ("0.add#1", "projection"),
        ("1.add#1", "projection"),
    ]


class Attending(nn.Module):
    """Attention written out, which keeps its weights for whoever asks what mattered."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv, self.out, self.weights = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.to_qkv(x).chunk(3, -1)
        self.weights = (q @ k.mT / WIDTH**0.5).softmax(-1)
        y: Tensor = self.out(self.weights @ v)
        return x + y


class Explained(nn.Module):
    """Three blocks; the attention weights of all of them are added up on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList(Attending() for _ in range(3)), nn.Linear(WIDTH, 1)
        self.importance = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        importance = torch.zeros(len(x), x.shape[1])
        for block in self.blocks:
            x = block(x)
        for block in self.blocks:
            importance += cast("Attending", block).weights.sum(1)
        self.importance = importance.detach()
        head: Tensor = self.head(x)
        return head


def test_attention_weights_that_are_added_up_over_the_blocks_are_no_residual() -> None:
    torch.manual_seed(0)
    watch = watch_net(Explained(), torch.randn(4, 6, WIDTH))
    assert [one.owner for one in watch.structure.residuals] == ["blocks.0", "blocks.1", "blocks.2"]


class Similarities(nn.Module):
    """A part of a loss that is a module."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return nn.functional.normalize(a) @ nn.functional.normalize(b).T


class Reducer(nn.Module):
    """Another: it gives one number per sample, and the mean of them."""

    def forward(self, each: Tensor) -> tuple[Tensor, Tensor]:
        return each, each.mean()


class Contrastive(nn.Module):
    """A loss of its own: no subclass of torch's, it holds modules and applies activations."""

    def __init__(self) -> None:
        super().__init__()
        self.similarities, self.reducer = Similarities(), Reducer()

    def forward(self, embedded: Tensor, kind: Tensor) -> Tensor:
        alike = self.similarities(embedded, embedded)
        same = kind[:, None] == kind
        pulled = nn.functional.softplus(torch.where(same, -10 * (alike - 0.5), -torch.inf).logsumexp(1))
        pushed = nn.functional.relu(torch.where(same, -torch.inf, 10 * (alike - 0.5)).logsumexp(1))
        loss: Tensor = self.reducer(pulled + pushed)[1]
        return loss


class Embedded(pl.LightningModule):
    """A network whose loss is a module of the same LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 4))
        self.loss = Contrastive()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss: Tensor = self.loss(self.net(batch[0]), batch[1])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def test_a_loss_of_somebodys_own_has_no_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(BATCH, WIDTH), torch.arange(BATCH) % 4) for _ in range(4)]
    monitor = watch_fit(Embedded(), batches, tmp_path)
    assert monitor.structure.names == ("net.0", "net.1", "net.2")
    assert monitor.structure.residuals == ()


class Positive(nn.Module):
    """Forecasts what cannot be negative: the output is rescaled, then cut at zero, far from which it stays."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(5 + 0.5 * self.net(x))


def test_a_cut_at_zero_that_the_output_never_meets_is_no_fault() -> None:
    torch.manual_seed(0)
    net, x = Positive(), torch.randn(256, WIDTH)
    target = 5 + 0.5 * x[:, :1]
    watch = watch_loop(net, lambda _: (net(x) - target).square().mean(), steps=60, rate=0.1)
    assert [(finding.code, finding.layers) for finding in watch.findings if finding.severity != "info"] == []
