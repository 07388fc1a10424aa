# mypy: disable-error-code="no-any-return"
# (a module's call returns Any)
"""The structure probe: which additions it calls residual, what it hands over, and that nobody notices it."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import threading
import weakref
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
import zoo
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone writes it
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from init_monitor.structure.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.structure.sites import ActivationSite, ResidualSite

D = 8


class Written(nn.Module):
    """A module with the usual parts, whose forward is handed in."""

    def __init__(self, write: Callable[[Written, Tensor], Tensor]) -> None:
        super().__init__()
        self.write = write
        self.branch = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D))
        self.other = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D))
        self.shortcut = nn.Linear(D, D)
        self.map = nn.Linear(D, D)
        self.widen = nn.Linear(D, 2 * D)
        self.norm = nn.LayerNorm(D)
        self.drop = nn.Dropout(0.2)
        self.attention = nn.MultiheadAttention(D, 2, batch_first=True)
        self.functional = torch.ao.nn.quantized.FloatFunctional()
        self.gamma = nn.Parameter(torch.full((D,), 0.1))
        self.position = nn.Parameter(torch.zeros(1, 5, D).expand(3, 5, D).clone())
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        return self.write(self, x)


class Add(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.linear(x))


class Net(nn.Module):
    """The written block inside a network, so that its input is a computed value, not the model's."""

    def __init__(self, write: Callable[[Written, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Linear(D, D)
        self.block = Written(write)
        self.head = nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.block(self.stem(x)))
        return out


def sequence(seed: int = 0) -> Tensor:
    return torch.randn(3, 5, D, generator=torch.Generator().manual_seed(seed))


def probed(write: Callable[[Written, Tensor], Tensor]) -> tuple[ResidualSite, ...]:
    torch.manual_seed(0)
    model = Net(write).train()
    with Probe(model) as probe:
        model(sequence())
    assert probe.causes == []
    return probe.sites


def in_place(f: Callable[[Tensor, Tensor], object]) -> Callable[[Written, Tensor], Tensor]:
    """Write ``f`` into a copy of x in place, and return the copy."""

    def write(m: Written, x: Tensor) -> Tensor:
        out, branch = x.clone(), m.branch(x)
        f(out, branch)
        return out

    return write


def plain_iadd(out: Tensor, branch: Tensor) -> None:
    out += branch


def branch_plus_identity(m: Written, x: Tensor) -> Tensor:
    out: Tensor = m.branch(x)
    out += x
    return F.relu(out, inplace=True)


def drop_path(m: Written, x: Tensor) -> Tensor:
    keep = x.new_empty((x.shape[0], 1, 1)).bernoulli_(0.8).div_(0.8)
    return x + m.branch(x) * keep


def called_outside(x: Tensor, f: nn.Module) -> Tensor:
    return x + f(x)


def pre_norm(m: Written, x: Tensor) -> Tensor:
    y: Tensor = m.norm(x)
    return x + m.drop(m.attention(y, y, y, need_weights=False)[0])


def shuffled_windows(m: Written, x: Tensor) -> Tensor:
    y = m.branch(x.transpose(1, 2).reshape(-1, D).reshape(x.shape))
    return x + y.view(3, 5, 2, D // 2).flatten(2)


def inlined(m: Written, x: Tensor) -> Tensor:
    return x + F.linear(torch.relu(F.linear(x, m.map.weight)), m.shortcut.weight)


def padded_stride(m: Written, x: Tensor) -> Tensor:
    """The parameterless shortcut of He et al. 2016 (option A): every second feature, padded."""
    return F.pad(x[..., ::2], (0, D // 2)) + m.branch(x)


def part_of_the_channels(m: Written, x: Tensor) -> Tensor:
    return torch.cat([x[..., :4] + m.branch(x)[..., :4], x[..., 4:]], dim=-1)


def query_token(m: Written, x: Tensor) -> Tensor:
    return torch.cat([x[:, :1] + m.attention(x[:, :1], x, x, need_weights=False)[0], x[:, 1:]], dim=1)


def into_a_view(m: Written, x: Tensor) -> Tensor:
    out = x.clone()
    out[:, :2] += m.branch(x)[:, :2]
    return out


def written_to_out(m: Written, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.add(x, m.branch(x), out=torch.empty_like(x))


def two_poolings(m: Written, x: Tensor) -> Tensor:
    """The shortcut of Hiera's stages without weights: maxima beside means."""
    y = m.norm(x)
    pairs = y.view(3, 5, 2, D // 2)
    return torch.cat([pairs.amax(2), pairs.mean(2)], dim=-1) + m.branch(y)


ONE: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "x + f(x)": lambda m, x: x + m.branch(x),
    "f(x) + x": lambda m, x: m.branch(x) + x,
    "torch.add": lambda m, x: torch.add(x, m.branch(x)),
    "torch.add by keyword": lambda m, x: torch.add(input=x, other=m.branch(x)),
    "add with alpha": lambda m, x: torch.add(x, m.branch(x), alpha=0.5),
    "+=": in_place(plain_iadd),
    "add_": in_place(lambda out, branch: out.add_(branch)),
    "add_ with alpha": in_place(lambda out, branch: out.add_(branch, alpha=0.5)),
    "add with out": written_to_out,
    "out += identity": branch_plus_identity,
    "addcmul with a layer scale": lambda m, x: torch.addcmul(x, m.gamma, m.branch(x)),
    "addcmul_": lambda m, x: x.clone().addcmul_(m.branch(x), m.gamma, value=2.0),
    "lerp": lambda m, x: torch.lerp(x, m.branch(x), 0.25),
    "baddbmm": lambda m, x: torch.baddbmm(x, torch.relu(m.map(x)), m.map.weight.expand(3, D, D)),
    "FloatFunctional.add": lambda m, x: m.functional.add(x, m.branch(x)),
    "sum of a list": lambda m, x: cast("Tensor", sum([x, m.branch(x)])),
    "x - f(x)": lambda m, x: x - m.branch(x),
    "layer scale": lambda m, x: x + m.gamma * m.branch(x),
    "scaled sum": lambda m, x: (x + m.branch(x)) * 2**-0.5,
    "scaled terms": lambda m, x: 0.8 * x + 0.6 * m.branch(x),
    "drop path": drop_path,
    "dropout after the branch": lambda m, x: x + m.drop(m.branch(x)),
    "attention, pre-norm": pre_norm,
    "post-norm": lambda m, x: m.norm(x + m.branch(x)),
    "cast in between": lambda m, x: (x.double() + m.branch(x).double()).float(),
    "views in between": shuffled_windows,
    "a function adds": lambda m, x: called_outside(x, m.branch),
    "no child module": inlined,
    "in-place activation in the branch": lambda m, x: x + m.map(F.relu_(m.map(x))),
    "attention and feed-forward summed first": lambda m, x: x + (m.branch(x) + m.other(x)),
    "features passed on": part_of_the_channels,
    "query token": query_token,
    "into a view": into_a_view,
    "padded stride": padded_stride,
}

NONE: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "positional embedding": lambda m, x: x + m.position,
    "positional embedding through a layer": lambda m, x: x + m.branch(m.position),
    "mask": lambda _, x: x + torch.zeros_like(x).masked_fill(torch.ones(5, D, dtype=torch.bool).triu(), -1e4),
    "bias": lambda m, x: F.linear(x, m.map.weight) + m.map.bias.expand(3, 5, D),
    "a number": lambda m, x: m.branch(x) + 1.0,
    "parallel linear maps": lambda m, x: m.map(x) + m.shortcut(x),
    "parallel branches": lambda m, x: m.branch(x) + m.other(x),
    "parallel branches, one deeper": lambda m, x: m.branch(x) + m.other(m.other(m.other(x))),
    "parallel branches, activated first": lambda m, x: (
        m.shortcut(torch.relu(m.norm(x))) + m.map(m.other(torch.relu(m.norm(x))).detach() * 0 + torch.relu(m.norm(x)))
    ),
    "one value twice": lambda m, x: m.branch(x + x),
    "f(x) - x": lambda m, x: m.branch(x) - x,
    "two slices": lambda m, x: torch.cat([x[..., :4], x[..., 4:] + m.branch(x)[..., :4].detach()], dim=-1),
    "next slice, hierarchically": lambda m, x: torch.cat(
        [x[..., :4], m.widen.weight.new_ones(1) * (F.linear(x[..., :4], m.map.weight[:4, :4]) + x[..., 4:])], -1
    ),
    "rotary embedding": lambda m, x: (
        m.map(x) * m.position.detach().cos() + m.map(x).roll(1, -1).neg() * m.position.detach().sin()
    ),
    "gate": lambda m, x: (g := torch.sigmoid(m.map(x))) * torch.tanh(m.shortcut(x)) + (1 - g) * x.tanh(),
    "gated interpolation": lambda m, x: torch.lerp(x, m.branch(x), torch.sigmoid(m.map(x))),
    "concatenation": lambda m, x: m.widen.weight.new_zeros(()) + m.map(torch.cat([x, m.branch(x)], -1)[..., D:]),
    "straight-through estimate": lambda m, x: x + (m.branch(x) - x).detach(),
    "hand-written norm": lambda m, x: (x - x.mean(-1, keepdim=True).expand_as(x)) * m.gamma,
    "stable exponent": lambda m, x: torch.exp(x - torch.maximum(x, m.position)),
    "cubic of the tanh GELU": lambda _, x: x + 0.044715 * x.pow(3),
    "loss of one dimension": lambda m, x: m.map(x) + 0 * (x.mean() + m.branch(x).mean()),
}

PROJECTION: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "linear shortcut": lambda m, x: m.shortcut(x) + m.branch(x),
    "normalised shortcut": lambda m, x: m.norm(m.shortcut(x)) + m.branch(x),
    "shared pre-activation": lambda m, x: m.shortcut(y := torch.relu(m.norm(x))) + m.branch(y),
    "shortcut with its own activation, deep branch": lambda m, x: (
        m.shortcut(torch.relu(m.norm(x))) + m.branch(m.map(m.norm(x)))
    ),
    "two kinds of pooling side by side": two_poolings,
    "projection through an Add module": lambda m, x: m.add(m.shortcut(x), m.branch(x)),
}


@pytest.mark.parametrize("form", ONE)
def test_every_way_to_write_a_residual_addition_is_found_once(form: str) -> None:
    sites = probed(ONE[form])
    assert [(site.name, site.owner, site.kind) for site in sites] == [("block#1", "block", "identity")]


@pytest.mark.parametrize("form", NONE)
def test_an_addition_that_is_no_residual_is_not_reported(form: str) -> None:
    assert probed(NONE[form]) == ()


@pytest.mark.parametrize("form", PROJECTION)
def test_a_light_affine_shortcut_makes_a_projection(form: str) -> None:
    assert [site.kind for site in probed(PROJECTION[form])] == ["projection"]


@pytest.mark.parametrize("form", [*ONE, *PROJECTION])
def test_the_terms_handed_over_add_up_to_the_sum_handed_over(form: str) -> None:
    torch.manual_seed(0)
    model = Net((ONE | PROJECTION)[form]).train()
    seen = []

    def on_residual(site: ResidualSite, skip: Tensor, branch: Tensor, total: Tensor) -> None:
        assert skip.shape == branch.shape == total.shape
        with torch.no_grad():
            torch.testing.assert_close(skip + branch, total)
        seen.append(site)

    with Probe(model, on_residual=on_residual) as probe:
        model(sequence())
    assert probe.causes == []
    assert len(seen) == 1


def test_the_skip_handed_over_is_the_block_s_input_even_if_it_is_overwritten() -> None:
    model = Net(ONE["+="])
    skips: list[Tensor] = []
    with Probe(model, on_residual=lambda _, skip, *__: skips.append(skip.detach())):
        model(sequence())
    torch.testing.assert_close(skips[0], model.stem(sequence()).detach(), rtol=0, atol=0)


def test_parallel_branches_on_one_skip_are_one_addition_each() -> None:
    sites = probed(lambda m, x: x + m.branch(x) + m.other(x))
    assert [(site.name, site.skip) for site in sites] == [("block#1", "stem"), ("block#2", "block#1")]


def test_two_additions_of_one_call_are_numbered_in_order() -> None:
    def write(m: Written, x: Tensor) -> Tensor:
        x = x + m.attention(x, x, x, need_weights=False)[0]
        return x + m.branch(x)

    sites = probed(write)
    assert [site.name for site in sites] == ["block#1", "block#2"]
    assert [site.branch for site in sites] == ["block.attention", "block.branch.3"]


def test_an_add_module_owns_the_addition() -> None:
    (site,) = probed(lambda m, x: m.add(x, m.branch(x)))
    assert (site.name, site.kind) == ("block.add#1", "identity")


def test_a_module_called_twice_has_its_calls_told_apart() -> None:
    block = Written(ONE["x + f(x)"])
    with Probe(nn.Sequential(block, block)) as probe:
        block(block(sequence()))
    assert [site.name for site in probe.sites] == ["0#1", "0@2#1"]


def test_what_is_written_through_a_view_is_known_of_its_base() -> None:
    def write(m: Written, x: Tensor) -> Tensor:
        out = m.branch(x)
        rows = out.view(-1, D)
        rows += x.reshape(-1, D)
        return out + m.other(out)

    assert [site.skip for site in probed(write)] == ["stem", "block#1"]


def test_writing_one_part_of_a_tensor_leaves_the_other_part_what_it_was() -> None:
    def write(m: Written, x: Tensor) -> Tensor:
        both = m.widen(x)
        left, right = both[..., :D], both[..., D:]
        right.copy_(m.branch(left))
        return left + right

    (site,) = probed(write)
    assert (site.kind, site.skip) == ("identity", "block.widen")


def test_two_convolutions_of_one_input_are_parallel_branches_even_if_only_one_is_activated() -> None:
    class Merge(nn.Module):
        def __init__(self, shortcut: int) -> None:
            super().__init__()
            self.shortcut = nn.Conv2d(4, 4, shortcut, padding=shortcut // 2)
            self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            return self.shortcut(x) + self.branch(x)

    for kernel, kinds in ((1, ["projection"]), (3, [])):
        model = Merge(kernel)
        with Probe(model) as probe:
            model(torch.randn(2, 4, 8, 8))
        assert [site.kind for site in probe.sites] == kinds


def test_learned_queries_added_before_attention_are_not_residual_but_the_stream_is() -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Embedding(4, D)
            self.layers = nn.ModuleList(nn.MultiheadAttention(D, 2, batch_first=True) for _ in range(3))
            self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(3))

        def forward(self, memory: Tensor) -> Tensor:
            query = self.query.weight.unsqueeze(0).repeat(3, 1, 1)
            target = torch.zeros_like(query)
            for layer, norm in zip(self.layers, self.norms, strict=True):
                target = norm(target + layer(target + query, memory, memory, need_weights=False)[0])
            return target

    model = Decoder()
    with Probe(model) as probe:
        model(sequence())
    assert [site.branch for site in probe.sites] == ["layers.0", "layers.1", "layers.2"]


def test_the_merges_of_a_feature_pyramid_are_not_residual() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.ModuleList(
                nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(3)
            )
            self.lateral = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3))
            self.top_down = TopDown(self.lateral)

        def forward(self, x: Tensor) -> Tensor:
            levels = []
            for stage in self.stages:
                x = stage(x)
                levels.append(x)
            out: Tensor = self.top_down(levels)
            return out

    class TopDown(nn.Module):
        def __init__(self, lateral: nn.ModuleList) -> None:
            super().__init__()
            self.lateral = lateral

        def forward(self, levels: list[Tensor]) -> Tensor:
            out: Tensor = self.lateral[-1](levels[-1])
            for level, lateral in zip(levels[-2::-1], self.lateral, strict=False):
                out = lateral(level) + F.interpolate(out, scale_factor=2.0)
            return out

    model = Pyramid()
    with Probe(model) as probe:
        model(torch.randn(2, 4, 32, 32))
    assert probe.sites == ()


def test_levels_merged_in_modules_with_weights_of_their_own_are_not_residual() -> None:
    class Fuse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.smooth = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, lateral: Tensor, top_down: Tensor) -> Tensor:
            return self.smooth(lateral + top_down)

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
            self.lateral = nn.Conv2d(4, 4, 1)
            self.fuse = Fuse()

        def forward(self, x: Tensor) -> Tensor:
            fine = self.stage(x)
            coarse = self.stage(fine)
            return self.fuse(self.lateral(fine), F.interpolate(coarse, scale_factor=2.0))

    model = Decoder()
    with Probe(model) as probe:
        model(torch.randn(2, 4, 32, 32))
    assert probe.sites == ()


def test_a_global_skip_is_long_and_the_stream_below_it_stays_the_main_one() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.tail = nn.Linear(D, D), nn.Linear(D, D)
            self.blocks = nn.Sequential(*(Written(ONE["x + f(x)"]) for _ in range(2)))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return x + self.tail(self.blocks(x))

    model = Deep()
    with Probe(model) as probe:
        model(sequence())
    flags = [(site.name, site.long, site.nested) for site in probe.sites]
    assert flags == [("blocks.0#1", False, False), ("blocks.1#1", False, False), ("#1", True, False)]


def test_a_residual_inside_a_branch_is_nested() -> None:
    def write(m: Written, x: Tensor) -> Tensor:
        inner = m.map(x)
        return x + m.shortcut(inner + m.branch(inner))

    assert [(site.name, site.nested, site.long) for site in probed(write)] == [
        ("block#1", True, False),
        ("block#2", False, False),
    ]


def test_a_token_that_looks_at_the_whole_sequence_is_a_query() -> None:
    (site,) = probed(query_token)
    assert site.query
    (site,) = probed(ONE["x + f(x)"])
    assert not site.query


@settings(max_examples=25, deadline=None)
@given(
    alpha=st.floats(-4, 4).filter(lambda value: abs(value) > 1e-3),
    beta=st.floats(-4, 4).filter(lambda value: abs(value) > 1e-3),
)
def test_the_scales_of_both_terms_are_recorded(alpha: float, beta: float) -> None:
    forms: list[Callable[[Written, Tensor], Tensor]] = [
        lambda m, x: alpha * x + beta * m.branch(x),
        lambda m, x: (x / (1 / alpha)).add_(m.drop(m.branch(x)), alpha=beta),
        lambda m, x: m.branch(x).mul_(beta) + x * alpha,
    ]
    for form in forms:
        (site,) = probed(form)
        assert site.skip_scale == pytest.approx(alpha)
        assert site.branch_scale == pytest.approx(beta)


def test_rescalenet_s_scales_are_recorded_block_by_block() -> None:
    length = 3
    alphas = [((k - 1 + length) / (k + length)) ** 0.5 for k in (1, 2, 3)]
    betas = [(1 / (k + length)) ** 0.5 for k in (1, 2, 3)]

    def block(alpha: float, beta: float) -> Written:
        return Written(lambda m, x: alpha * x + beta * m.branch(x))

    model = nn.Sequential(*map(block, alphas, betas))
    with Probe(model) as probe:
        model(sequence())
    assert [site.skip_scale for site in probe.sites] == pytest.approx(alphas)
    assert [site.branch_scale for site in probe.sites] == pytest.approx(betas)


def test_a_scale_that_is_a_tensor_is_recorded_as_unknown() -> None:
    (site,) = probed(ONE["layer scale"])
    assert (site.skip_scale, site.branch_scale) == (1.0, None)
    (site,) = probed(ONE["lerp"])
    assert (site.skip_scale, site.branch_scale) == (0.75, 0.25)
    (site,) = probed(ONE["x - f(x)"])
    assert site.branch_scale == -1.0


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "F.relu": (F.relu, "relu"),
    "torch.relu": (torch.relu, "relu"),
    "Tensor.relu": (lambda x: x.relu(), "relu"),
    "Tensor.relu_": (lambda x: x.relu_(), "relu"),
    "F.relu in place": (lambda x: F.relu(x, inplace=True), "relu"),
    "clamp_min": (lambda x: x.clamp_min(0), "relu"),
    "clamp by keyword": (lambda x: torch.clamp(x, min=0.0), "relu"),
    "clamp to six": (lambda x: x.clamp(0, 6), "relu6"),
    "F.gelu": (F.gelu, "gelu"),
    "F.silu": (F.silu, "silu"),
    "torch.tanh": (torch.tanh, "tanh"),
    "Tensor.sigmoid": (lambda x: x.sigmoid(), "sigmoid"),
    "F.leaky_relu": (lambda x: F.leaky_relu(x, 0.1), "leaky_relu"),
    "Tensor.softmax": (lambda x: x.softmax(-1), "softmax"),
}


@pytest.mark.parametrize("form", ACTIVATIONS)
def test_a_functional_activation_is_shown_with_its_input_unless_that_is_gone(form: str) -> None:
    function, kind = ACTIVATIONS[form]
    model = Net(lambda m, x: m.shortcut(function(m.map(function(m.map(x))))))
    seen: list[tuple[ActivationSite, Tensor | None, Tensor]] = []
    with Probe(model, on_activation=lambda *event: seen.append(event)) as probe:
        model(sequence())
    assert [site.name for site, *_ in seen] == [f"block/{kind}#1", f"block/{kind}#2"]
    assert probe.activation_sites == tuple(site for site, *_ in seen)
    site, given_in, output = seen[0]
    pre_activation = model.block.map(model.stem(sequence()))
    torch.testing.assert_close(output, function(pre_activation.clone()))
    assert site.in_place == (form in {"Tensor.relu_", "F.relu in place"})
    if given_in is None:
        assert site.in_place
    else:
        torch.testing.assert_close(given_in, pre_activation)


def test_a_clamp_that_is_no_rectifier_is_no_activation() -> None:
    model = Net(lambda m, x: m.map(x).clamp(min=-1, max=1).clamp_min(0.5).clamp(0, 5))
    with Probe(model) as probe:
        model(sequence())
    assert probe.activation_sites == ()


def test_activation_modules_are_left_to_the_module_taps() -> None:
    model = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.GELU(), nn.Softmax(-1))
    with Probe(model) as probe:
        model(sequence())
    assert probe.activation_sites == ()


def transformer() -> tuple[nn.Module, Tensor]:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, 0.3, batch_first=True), 2), torch.randn(2, 6, 16)


def basic_blocks() -> tuple[nn.Module, Tensor]:
    models = pytest.importorskip("torchvision.models")
    return models.resnet18(weights=None), torch.randn(2, 3, 64, 64)


def every_form() -> tuple[nn.Module, Tensor]:
    forms = [write for name, write in (ONE | PROJECTION | NONE).items() if name != "add with out"]
    return nn.Sequential(*map(Written, forms)), sequence()


@pytest.mark.parametrize("make", [transformer, basic_blocks, every_form])
def test_outputs_gradients_and_random_state_are_the_same_to_the_bit(
    make: Callable[[], tuple[nn.Module, Tensor]],
) -> None:
    def run(*, watch: bool) -> list[Tensor]:
        torch.manual_seed(3)
        model, x = make()
        model.train()
        x.requires_grad_()
        if watch:
            read: list[Tensor] = []
            with Probe(
                model,
                on_residual=lambda _, *tensors: read.extend(tensor.detach().mean() for tensor in tensors),
                on_activation=lambda _, __, output: read.append(output.detach().mean()),
            ) as probe:
                out = model(x)
            assert read
            assert probe.causes == []
        else:
            out = model(x)
        out.square().sum().backward()
        kept = [out, x.grad, *(p.grad for p in model.parameters()), *model.buffers(), torch.get_rng_state()]
        return [tensor.detach().clone() for tensor in kept if tensor is not None]

    for off, on in zip(run(watch=False), run(watch=True), strict=True):
        assert torch.equal(off, on) or (off.isnan() == on.isnan()).all()


def test_nothing_waits_for_the_device() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, 0.3, batch_first=True), 2)
    x = torch.randn(2, 6, 16)
    with Probe(model) as probe:
        model(x)
    on_cpu = probe.sites
    read: list[Tensor] = []
    # A tensor on the meta device has no values: whatever asks for one fails.
    with Probe(model.to("meta"), on_residual=lambda _, *tensors: read.extend(tensors)) as probe:
        model(x.to("meta"))
    assert probe.causes == []
    assert probe.sites == on_cpu
    assert len(on_cpu) == 4


def test_no_activation_is_kept_alive() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def write(m: Written, x: Tensor) -> Tensor:
        branch = m.branch(x)
        alive.append(weakref.ref(branch))
        out = x + branch
        del branch
        gc.collect()
        alive.append(weakref.ref(out))
        assert alive[0]() is None
        return m.map(out)

    model = Net(write)
    with torch.no_grad(), Probe(model, on_residual=lambda *_: None) as probe:
        model(sequence())
        assert alive[1]() is None
    assert len(probe.sites) == 1


def test_the_model_s_own_error_comes_through_and_the_next_forward_is_seen() -> None:
    def write(m: Written, x: Tensor) -> Tensor:
        if fail:
            message = "the user's own"
            raise KeyError(message)
        return x + m.branch(x)

    model = Net(write)
    probe = Probe(model)
    fail = True
    with pytest.raises(KeyError, match="the user's own"), probe:
        model(sequence())
    fail = False
    with probe:
        model(sequence())
    assert [site.name for site in probe.sites] == ["block#1"]


def test_an_error_caught_inside_the_model_does_not_confuse_the_owners() -> None:
    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise NotImplementedError

    def write(m: Written, x: Tensor) -> Tensor:
        with contextlib.suppress(NotImplementedError):
            m.get_submodule("raises")(x)
        return x + m.branch(x)

    model = Net(write)
    model.block.raises = Raises()
    with Probe(model) as probe:
        model(sequence())
    assert [site.name for site in probe.sites] == ["block#1"]


def test_what_fails_in_the_observer_blinds_the_probe_and_not_the_model() -> None:
    def on_residual(*_: object) -> None:
        message = "no room left"
        raise MemoryError(message)

    torch.manual_seed(0)
    model = nn.Sequential(Written(ONE["x + f(x)"]), Written(ONE["x + f(x)"]))
    expected = model(sequence())
    with Probe(model, on_residual=on_residual) as probe:
        assert torch.equal(model(sequence()), expected)
    assert len(probe.causes) == 1
    assert "no room left" in probe.causes[0]
    with Probe(model) as probe:
        model(sequence())
    assert len(probe.sites) == 2


def test_no_hook_and_no_mode_stays_behind() -> None:
    from torch.overrides import _get_current_function_mode_stack

    model = Net(ONE["x + f(x)"])

    def hooks() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())

    with Probe(model):
        model(sequence())
        assert hooks() == 2 * len(list(model.modules()))
        assert len(_get_current_function_mode_stack()) == 1
    assert hooks() == 0
    assert _get_current_function_mode_stack() == []


def test_a_mode_that_the_user_entered_later_stays_on_top() -> None:
    from torch.overrides import _get_current_function_mode_stack

    class Users(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen += 1
            return func(*args, **(kwargs or {}))

    model, mode = Net(ONE["x + f(x)"]), Users()
    probe = Probe(model)
    probe.__enter__()
    mode.__enter__()  # type: ignore[no-untyped-call]
    model(sequence())
    probe.__exit__(None, None, None)
    assert _get_current_function_mode_stack()[-1] is mode
    assert not probe.settle()
    with probe:  # the next step, while it still cannot be taken off
        model(sequence())
    assert [site.name for site in probe.sites] == ["block#1"]
    mode.__exit__(None, None, None)
    assert probe.settle()
    assert _get_current_function_mode_stack() == []
    assert mode.seen > 0


def test_another_thread_s_forward_is_none_of_the_probe_s_business() -> None:
    model = Net(ONE["x + f(x)"])
    with Probe(model) as probe:
        thread = threading.Thread(target=model, args=(sequence(),))
        thread.start()
        thread.join()
        assert not list(probe.sites)
        model(sequence())
    assert [site.name for site in probe.sites] == ["block#1"]


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_checkpointing_computes_again_in_backward_is_not_counted_twice(reentrant: bool) -> None:  # noqa: FBT001
    block = Written(ONE["x + f(x)"])
    x = sequence().requires_grad_()
    with Probe(block) as probe:
        checkpoint(block, x, use_reentrant=reentrant).sum().backward()
        block(x)
    assert [site.name for site in probe.sites] == ["#1", "@2#1"]
    assert x.grad is not None


def test_autocast_is_seen_through() -> None:
    model = Net(ONE["x + f(x)"])
    with Probe(model, on_residual=lambda *_: None) as probe, torch.autocast("cpu", dtype=torch.bfloat16):
        model(sequence())
    assert probe.causes == []
    assert len(probe.sites) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("owned", [True, False])
def test_a_scripted_branch_counts_as_a_layer(owned: bool) -> None:  # noqa: FBT001
    branch = torch.jit.script(nn.Sequential(nn.Linear(D, D), nn.ReLU()))
    model = Net(lambda _, x: x + branch(x))
    if owned:
        model.block.scripted = branch
    with Probe(model) as probe:
        model(sequence())
    assert probe.causes == []
    assert [site.name for site in probe.sites] == ["block#1"]


def test_a_function_transform_inside_is_named_as_the_cause_and_seen_from_outside() -> None:
    inner = nn.Linear(D, D)
    model = Net(lambda m, x: x + torch.func.vmap(lambda row: row + inner(row))(x))
    with Probe(model) as probe:
        model(sequence())
    assert len(probe.causes) == 1
    assert "vmap" in probe.causes[0]
    assert [site.name for site in probe.sites] == ["block#1"]


def test_a_function_of_the_user_s_own_autograd_is_seen_through() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return grads[0] * 2

    (site,) = probed(lambda m, x: x + Twice.apply(m.branch(x)))  # type: ignore[no-untyped-call]
    assert site.name == "block#1"


def test_a_copy_of_the_model_made_during_the_forward_reports_nothing() -> None:
    copies: list[nn.Module] = []
    model = nn.Sequential(nn.Linear(D, D), Residual())
    with Probe(model) as probe:
        model(sequence())
        copies.append(copy.deepcopy(model))
        pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
        copies[0](sequence())
    assert [site.owner for site in probe.sites] == ["1", ""]
    assert torch.equal(copies[0](sequence()), model(sequence()))


def test_a_compiled_model_forced_to_run_eagerly_is_seen_under_its_own_names() -> None:
    model = cast("nn.Module", torch.compile(Net(ONE["x + f(x)"]), backend="eager"))
    with torch.compiler.set_stance("force_eager"), Probe(model) as probe:
        model(sequence())
    assert [site.name for site in probe.sites] == ["block#1"]


def test_a_loss_outside_every_module_is_no_residual() -> None:
    model = Net(ONE["x + f(x)"])
    with Probe(model) as probe:
        out = model(sequence())
        loss = F.cross_entropy(out.flatten(0, 1), torch.zeros(15, dtype=torch.long)) + 0.1 * out.square().mean()
    loss.backward()
    assert len(probe.sites) == 1


def test_noise_made_outside_every_module_is_an_input_like_any_other() -> None:
    model = Net(ONE["x + f(x)"])
    with Probe(model) as probe:
        model(torch.randn(3, 5, D))
    assert [(site.kind, site.query) for site in probe.sites] == [("identity", False)]


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("expected", zoo.load(), ids=lambda expected: expected.model)
def test_exactly_the_residual_additions_of_a_real_model_are_found(expected: zoo.Expectation) -> None:
    result = zoo.compare(expected)
    assert (result.missed, result.false, result.causes) == ({}, {}, ())
    assert result.right == sum(expected.residuals.values())
