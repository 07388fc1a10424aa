"""Which modules are layers, how they are named and laid out, and what their fans and knees are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from init_monitor.analysis.activations import DISTRIBUTION_KNEE, KNEE_DERIVATIVE
from init_monitor.measures import Knee, Layout
from init_monitor.records import Role
from init_monitor.structure.fans import Fans, fans_of
from init_monitor.structure.layers import layout_of, plain_name, role_of, select
from init_monitor.structure.nonlinearities import NONLINEARITIES, nonlinearity_of

if TYPE_CHECKING:
    from collections.abc import Callable


class LayerScale(nn.Module):
    """A learned vector: scales units, mixes none."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(shape or (4,)))


class OwnNorm2d(nn.Module):
    """A normalisation of somebody's own, with a matrix among its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 1))


class OwnLinear(nn.Module):
    """A layer of somebody's own."""

    def __init__(self, outputs: int = 4) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(outputs, 4))


class LoudReLU(nn.ReLU):
    """Derives from an activation."""


class Accuracy(nn.Module):
    """Looks like a torchmetrics metric."""

    def update(self) -> None: ...

    def compute(self) -> None: ...


ROLES: list[tuple[Role | None, list[Callable[[], nn.Module]]]] = [
    (
        Role.WEIGHT,
        [
            lambda: nn.Linear(2, 2), lambda: nn.Linear(2, 2, bias=False), lambda: nn.Bilinear(2, 2, 2),
            lambda: nn.LazyLinear(2), lambda: nn.LazyConv2d(2, 3), lambda: nn.LazyConvTranspose1d(2, 3),
            lambda: nn.Conv1d(2, 2, 1), lambda: nn.Conv2d(2, 2, 1), lambda: nn.Conv3d(2, 2, 1),
            lambda: nn.ConvTranspose1d(2, 2, 1), lambda: nn.ConvTranspose2d(2, 2, 1),
            lambda: nn.ConvTranspose3d(2, 2, 1), lambda: nn.Embedding(3, 2), lambda: nn.EmbeddingBag(3, 2),
            lambda: nn.LSTM(2, 2), lambda: nn.GRU(2, 2), lambda: nn.RNN(2, 2), lambda: nn.LSTMCell(2, 2),
            lambda: nn.GRUCell(2, 2), lambda: nn.RNNCell(2, 2), lambda: nn.MultiheadAttention(4, 2), OwnLinear,
            lambda: OwnLinear(1), lambda: nn.Linear(1, 2), lambda: nn.Conv1d(1, 2, 1), lambda: nn.Conv2d(2, 1, 1),
        ],
    ),
    (
        Role.NORMALISATION,
        [
            lambda: nn.BatchNorm1d(2), lambda: nn.BatchNorm2d(2), lambda: nn.BatchNorm3d(2), lambda: nn.SyncBatchNorm(2),
            nn.LazyBatchNorm2d, lambda: nn.InstanceNorm2d(2), lambda: nn.GroupNorm(1, 2),
            lambda: nn.LayerNorm(2), lambda: nn.LayerNorm((2, 2)), lambda: nn.RMSNorm(2),
            lambda: nn.LocalResponseNorm(2), OwnNorm2d,
        ],
    ),
    (
        Role.ACTIVATION,
        [
            nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
            nn.Hardswish, nn.Tanh, nn.Sigmoid, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Softplus, nn.LogSigmoid,
            nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.GLU, lambda: nn.Softmax(-1), lambda: nn.LogSoftmax(-1),
            lambda: nn.Softmin(-1), lambda: nn.Threshold(0, 0), LoudReLU,
        ],
    ),
    (
        Role.OTHER,
        [LayerScale, lambda: LayerScale(4, 1, 1), lambda: LayerScale(1, 4, 1, 1), nn.CosineSimilarity, nn.Module],
    ),
    (
        None,
        [
            nn.Identity, nn.Flatten, lambda: nn.Unflatten(1, (1, 1)), nn.Dropout, nn.Dropout2d, nn.AlphaDropout,
            lambda: nn.MaxPool2d(2), lambda: nn.AvgPool1d(2), lambda: nn.AdaptiveAvgPool2d(1),
            lambda: nn.AdaptiveMaxPool1d(1), lambda: nn.ZeroPad2d(1), lambda: nn.ReflectionPad2d(1),
            lambda: nn.ReplicationPad2d(1), lambda: nn.PixelShuffle(2), lambda: nn.PixelUnshuffle(2),
            lambda: nn.ChannelShuffle(2), lambda: nn.Upsample(scale_factor=2), lambda: nn.Unfold(2),
            lambda: nn.Fold(2, 2), nn.CrossEntropyLoss, nn.MSELoss, nn.ModuleList, nn.ModuleDict, nn.ParameterList,
            nn.ParameterDict, nn.Sequential, lambda: nn.Sequential(nn.ReLU()), lambda: nn.TransformerEncoderLayer(4, 2, 4), Accuracy,
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("role", "make"), [(role, make) for role, several in ROLES for make in several])
def test_every_module_has_the_role_a_reader_would_give_it(role: Role | None, make: Callable[[], nn.Module]) -> None:
    assert role_of(make()) is role


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("net.0", "net.0"),
        ("_orig_mod", ""),
        ("_orig_mod.net._orig_mod.0", "net.0"),
        ("net._fsdp_wrapped_module.0._checkpoint_wrapped_module", "net.0"),
        ("module.fc", "module.fc"),
        ("net._orig_model", "net._orig_model"),
    ],
)
def test_wrappers_leave_no_trace_in_a_name(path: str, plain: str) -> None:
    assert plain_name(path) == plain


def test_only_the_outermost_module_of_a_wrapped_root_is_removed() -> None:
    assert plain_name("module.module.fc", wrapped_root=True) == "module.fc"
    assert plain_name("fc", wrapped_root=True) == "fc"


# --- select ----------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten())
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])
        self.head = nn.Linear(4, 2)
        self.loss = nn.CrossEntropyLoss()


ALL = ["stem.0", "stem.1", "blocks.0.0", "blocks.0.1", "blocks.1.0", "blocks.1.1", "head"]


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (None, None, ALL),
        ("blocks.*", None, ALL[2:6]),
        (["stem.0", "head"], None, ["stem.0", "head"]),
        (None, "*.1", ["stem.0", "blocks.0.0", "blocks.1.0", "head"]),
        ("blocks.*", ("*.1", "blocks.0.*"), ["blocks.1.0"]),
        ("blocks.1", None, ["blocks.1"]),
        (("blocks.?", "head"), None, ["head"]),
        (("stem", "stem.0"), None, ["stem", "stem.0"]),
        ("stem.2", None, ["stem.2"]),
    ],
    ids=["all", "pattern", "names", "exclude", "both", "container", "wildcards name no container", "mixed", "plumbing"],
)
def test_patterns_choose_layers_and_exact_names_also_containers(include: Any, exclude: Any, names: list[str]) -> None:
    net = Net()
    selection = select(net, include, exclude, 512)
    assert list(selection.layers) == names
    assert all(module is net.get_submodule(name) for name, module in selection.layers.items())


def test_a_pattern_without_effect_is_told_with_the_nearest_names() -> None:
    notices = select(Net(), "blocks.*", ["haed", "zzz"], 512).notices
    assert len(notices) == 2
    assert (
        notices[0]
        == "exclude pattern 'haed' matches no layer of Net (7 layers); it has no effect. Did you mean 'head'?"
    )
    assert notices[1].endswith("it has no effect. Its layers are 'stem.0', 'stem.1', 'blocks.0.0' and so on.")


def test_where_nothing_is_left_to_watch_the_notice_says_so_and_what_was_probably_meant() -> None:
    (notice,) = select(Net(), "blocs*", None, 512).notices
    assert (
        notice
        == "include pattern 'blocs*' matches no layer of Net (7 layers); nothing is measured. Did you mean 'blocks*'?"
    )
    (notice,) = select(Net(), ("stemm.0", "head"), None, 512).notices
    assert "it has no effect. Did you mean 'stem.0'" in notice


def test_of_too_many_layers_the_first_are_watched_and_a_notice_says_so() -> None:
    selection = select(Net(), None, None, 3)
    assert list(selection.layers) == ALL[:3]
    assert selection.notices[0].startswith("7 layers are to be watched but max_layers=3; the first 3 are.")
    assert select(Net(), None, None, 7).notices == ()


def test_a_model_without_layers_is_told() -> None:
    selection = select(nn.Sequential(nn.Flatten()), None, None, 3)
    assert not selection.layers
    assert selection.notices[0].startswith("Sequential has no layer to watch")
    assert "Its layers are none." in select(nn.Sequential(), "a", None, 3).notices[0]


def test_a_single_layer_is_a_model_too() -> None:
    layer = nn.Linear(2, 2)
    assert dict(select(layer, None, None, 3).layers) == {"": layer}


@pytest.mark.filterwarnings("ignore")
def test_compiled_parts_and_leaves_are_watched_under_their_own_names() -> None:
    leaf, part = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    compiled: list[Any] = [torch.compile(one, backend="eager") for one in (leaf, part)]
    net = nn.Sequential(*compiled)
    whole: Any = torch.compile(net, backend="eager")
    for model in (net, whole):
        layers = select(model, None, None, 512).layers
        assert list(layers) == ["0", "1.0", "1.1"]
        assert layers["0"] is leaf
        assert layers["1.0"] is part[0]


def test_what_a_data_parallel_wrapper_adds_is_not_part_of_a_name() -> None:
    assert list(select(nn.DataParallel(Net()), None, None, 512).layers) == ALL


def test_a_parametrized_weight_is_one_layer_and_its_machinery_none() -> None:
    layer = parametrizations.orthogonal(nn.Linear(3, 3))
    assert list(select(nn.Sequential(layer, nn.ReLU()), "*", None, 9).layers) == ["0", "1"]
    assert list(select(nn.Sequential(layer, nn.ReLU()), ("0", "1"), None, 9).layers) == ["0", "1"]


# --- fans ------------------------------------------------------------------------------------------------------------

CONVOLUTIONS: list[Callable[[], nn.Module]] = [
    lambda: nn.Conv1d(6, 9, 5, padding=2, padding_mode="circular"),
    lambda: nn.Conv2d(8, 12, 3, padding=1, padding_mode="circular"),
    lambda: nn.Conv2d(8, 16, 3, padding=1, groups=4, padding_mode="circular"),
    lambda: nn.Conv2d(16, 8, (2, 4), stride=2, padding=(0, 1), padding_mode="circular"),
    lambda: nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, padding_mode="circular"),
    lambda: nn.Conv3d(3, 5, 3, padding=1, padding_mode="circular"),
    lambda: nn.ConvTranspose1d(8, 4, 4, stride=2),
    lambda: nn.ConvTranspose2d(6, 8, 3),
    lambda: nn.ConvTranspose2d(8, 4, 4, stride=2, groups=2),
]


@pytest.mark.parametrize("make", [lambda: nn.Linear(7, 11), *CONVOLUTIONS])
def test_fans_are_those_of_torchs_initialisers(make: Callable[[], nn.Module]) -> None:
    module = make()
    weight = module.get_parameter("weight")
    fans = fans_of(module)
    expected = nn.init._calculate_fan_in_and_fan_out(weight)
    assert (fans.fan_in, fans.fan_out) == expected


@pytest.mark.parametrize("make", [lambda: nn.Linear(48, 96), *CONVOLUTIONS])
def test_the_number_of_terms_predicts_the_measured_variance_both_ways(make: Callable[[], nn.Module]) -> None:
    """Var(out) = forward · Var(W) · E[in²] and Var(∂/∂in) = backward · Var(W) · Var(∂/∂out), by experiment."""
    torch.manual_seed(0)
    module = make()
    weight = module.get_parameter("weight")
    nn.init.normal_(weight)
    nn.init.zeros_(module.get_parameter("bias"))
    if isinstance(module, nn.Linear):
        shape: tuple[int, ...] = (4096, module.in_features)
    else:
        assert isinstance(module, nn.modules.conv._ConvNd)
        rank = len(module.kernel_size)
        shape = (16, module.in_channels, *((256,), (48, 48), (16, 16, 16))[rank - 1])
    x = torch.randn(shape, requires_grad=True)
    out = module(x)
    out.backward(torch.randn_like(out))
    assert x.grad is not None
    fans, square = fans_of(module), float(weight.detach().square().mean())
    # The borders of a transposed convolution receive fewer terms than its middle.
    inner = out.detach()
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        edge = max(module.kernel_size)
        for axis in range(2, inner.dim()):
            inner = inner.narrow(axis, edge, inner.shape[axis] - 2 * edge)
    assert float(inner.var()) == pytest.approx(fans.forward * square, rel=0.05)
    assert float(x.grad.var()) == pytest.approx(fans.backward * square, rel=0.05)


@pytest.mark.parametrize(
    "module", [nn.ReLU(), nn.LSTM(2, 2), nn.BatchNorm2d(3), nn.Embedding(4, 4), nn.Bilinear(2, 2, 2), nn.Sequential()]
)
def test_layers_without_fans_have_none(module: nn.Module) -> None:
    assert fans_of(module) == Fans(0, 0, 0.0, 0.0)


# --- layout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "shape", "upstream", "layout"),
    [
        (nn.Linear(2, 3), (5, 3), None, Layout(0, 1)),
        (nn.Linear(2, 3), (5, 7, 3), None, Layout(0, 2)),
        (nn.Linear(2, 3), (3,), None, None),
        (nn.Conv1d(2, 3, 1), (5, 3, 9), None, Layout(0, 1)),
        (nn.Conv2d(2, 3, 1), (5, 3, 9, 9), None, Layout(0, 1)),
        (nn.Conv2d(2, 3, 1), (3, 9, 9), None, None),
        (nn.ConvTranspose2d(2, 3, 1), (5, 3, 9, 9), None, Layout(0, 1)),
        (nn.BatchNorm1d(3), (5, 3), None, Layout(0, 1)),
        (nn.BatchNorm2d(3), (5, 3, 9, 9), None, Layout(0, 1)),
        (nn.GroupNorm(1, 3), (5, 3, 9), None, Layout(0, 1)),
        (nn.LayerNorm(3), (5, 9, 3), None, Layout(0, 2)),
        (nn.LSTM(2, 3), (9, 5, 3), None, Layout(1, 2)),
        (nn.LSTM(2, 3), (9, 3), None, Layout(0, 1)),
        (nn.LSTM(2, 3, batch_first=True), (5, 9, 3), None, Layout(0, 2)),
        (nn.Embedding(9, 3), (5, 9, 3), None, Layout(0, 2)),
        (nn.ReLU(), (5, 3), None, Layout(0, 1)),
        (nn.ReLU(), (5, 9, 3), None, Layout(0, 2)),
        (nn.ReLU(), (5, 3, 9, 9), None, Layout(0, 1)),
        (nn.ReLU(), (5, 3, 9), Layout(0, 1), Layout(0, 1)),
        (nn.GELU(), (9, 5, 3), Layout(1, 2), Layout(1, 2)),
        (nn.ReLU(), (5, 3), Layout(0, 2), Layout(0, 1)),
        (nn.ReLU(), (), None, None),
    ],
)
def test_samples_and_units_lie_where_the_module_puts_them(
    module: nn.Module, shape: tuple[int, ...], upstream: Layout | None, layout: Layout | None
) -> None:
    assert layout_of(module, torch.empty(shape), upstream) == layout


# --- nonlinearities --------------------------------------------------------------------------------------------------


def derivative(module: nn.Module, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the activation's output and its derivative, by autograd."""
    x = at.clone().requires_grad_()
    out = module(x)
    (slope,) = torch.autograd.grad(out.sum(), x)
    return out.detach(), slope


GRID = torch.linspace(-12, 12, 96_001, dtype=torch.float64)
"""Step 0.00025; holds 0."""


@pytest.mark.parametrize(
    "module", [nn.Tanh(), nn.Sigmoid(), nn.Softsign(), nn.Hardtanh(), nn.Hardtanh(-0.5, 2.0), nn.Hardsigmoid()]
)
def test_beyond_the_knee_and_only_there_the_derivative_is_small(module: nn.Module) -> None:
    found = nonlinearity_of(module)
    assert found is not None
    assert isinstance(found.knee, Knee)
    out, slope = derivative(module, GRID)
    beyond = (out - found.knee.centre).abs() >= found.knee.reach
    flat = slope < KNEE_DERIVATIVE * slope.max()
    assert flat.any()
    assert not flat.all()
    # At the knee itself the two may differ by rounding.
    assert (beyond != flat).sum() <= 2


def test_a_softmax_at_its_knee_passes_less_than_a_hundredth() -> None:
    found = nonlinearity_of(nn.Softmax(-1))
    assert found is not None
    assert found.knee == Knee(0.0, DISTRIBUTION_KNEE)
    assert found.distribution
    x = torch.tensor([math.log(DISTRIBUTION_KNEE / (1 - DISTRIBUTION_KNEE)), 0.0], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(nn.Softmax(-1), x)
    assert float(nn.Softmax(-1)(x)[0]) == pytest.approx(DISTRIBUTION_KNEE)
    assert float(jacobian.abs().max()) < 0.01


RECTIFIERS = [
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish,
]  # fmt: skip


@pytest.mark.parametrize("kind", RECTIFIERS, ids=lambda kind: kind.__name__)
def test_the_claims_about_each_activation_hold_on_a_grid(kind: type[nn.Module]) -> None:
    module = kind().eval()
    found = nonlinearity_of(module)
    assert found is not None
    assert found.kind == kind.__name__
    assert found.rectifier
    out, slope = derivative(module.double(), GRID)
    below, above = slope[GRID < 0], slope[GRID > 0]
    assert torch.equal(out > 0, GRID > 0)
    assert found.flat_below is not bool(below.any())
    assert found.piecewise_linear is (above.unique().numel() == below.unique().numel() == 1)


def test_whatever_is_not_known_to_rectify_is_never_judged_by_its_sign() -> None:
    claiming = {kind for kind, describe in NONLINEARITIES.items() if describe(nn.Module()).rectifier}
    assert claiming == set(RECTIFIERS)


@given(st.floats(-3, 0), st.floats(0.125, 3))
def test_a_hardtanh_saturates_at_its_own_limits(low: float, span: float) -> None:
    found = nonlinearity_of(nn.Hardtanh(low, low + span))
    assert found is not None
    assert found.knee is not None
    assert found.knee.centre - found.knee.reach == pytest.approx(low, abs=1e-12)
    assert found.knee.centre + found.knee.reach == pytest.approx(low + span, abs=1e-12)


def test_a_module_that_is_no_activation_has_no_nonlinearity() -> None:
    assert nonlinearity_of(nn.Linear(2, 2)) is None
    derived = nonlinearity_of(LoudReLU())
    assert derived is not None
    assert derived.kind == "LoudReLU"
    assert derived.flat_below
