"""Random networks of everything that real ones do: hypothesis draws a plan, a plan makes a network.

A plan is plain data (nested tuples), so that a failing one can be printed, shrunk and made again. Every piece maps a
signal ``[N, 4, 8]`` (samples, tokens, features) to one of the same shape, whatever it does in between.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as torch's own pages do
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

TOKENS, FEATURES = 4, 8
Plan = tuple[Any, ...]


class Convolution(nn.Module):
    """One- or two-dimensional, grouped or not, over the tokens."""

    def __init__(self, dimensions: int, groups: int) -> None:
        super().__init__()
        kind: Any = nn.Conv1d if dimensions == 1 else nn.Conv2d
        self.dimensions, self.conv = dimensions, kind(FEATURES, FEATURES, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        out: Tensor = self.conv(y if self.dimensions == 1 else y.unflatten(2, (2, 2)))
        return out.flatten(2).transpose(1, 2)


class Normalisation(nn.Module):
    """Any of torch's, over the features; ``track=False`` gives a batch norm without buffers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        made: dict[str, Callable[[], nn.Module]] = {
            "batch": lambda: nn.BatchNorm1d(FEATURES),
            "untracked": lambda: nn.BatchNorm1d(FEATURES, track_running_stats=False),
            "group": lambda: nn.GroupNorm(2, FEATURES),
            "instance": lambda: nn.InstanceNorm1d(FEATURES, affine=True),
            "layer": lambda: nn.LayerNorm(FEATURES),
            "rms": lambda: nn.RMSNorm(FEATURES),
        }
        self.last = kind in {"layer", "rms"}
        self.norm = made[kind]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x) if self.last else self.norm(x.transpose(1, 2)).transpose(1, 2)
        return out


class Function(nn.Module):
    """An activation that is no module, in place or not."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        if self.name == "relu_":
            return F.relu_(x * 1.0)
        if self.name == "method":
            return (x + 0).clamp_(min=-1).sigmoid()
        if self.name == "glu":
            return F.glu(torch.cat((x, x), -1))
        out: Tensor = getattr(F, self.name)(x)
        return out


class Lookup(nn.Module):
    """An embedding of the signal's signs, added to it: integers between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.table((x.detach().mean(-1) > 0).long())
        return out


class Recurrent(nn.Module):
    """An LSTM or GRU; its states are not used, or all of them are."""

    def __init__(self, kind: str, *, states: bool) -> None:
        super().__init__()
        self.states, self.cell = states, getattr(nn, kind)(FEATURES, FEATURES, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor
        out, state = self.cell(x)
        last = state[0] if isinstance(state, tuple) else state
        return out + last.transpose(0, 1) if self.states else out


class Attention(nn.Module):
    """torch's own attention, with or without its weights."""

    def __init__(self, *, weights: bool) -> None:
        super().__init__()
        self.weights, self.attention = weights, nn.MultiheadAttention(FEATURES, 2, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x, need_weights=self.weights)[0]
        return out


@dataclass
class Bundle:
    """What some networks pass between their modules."""

    hidden: Tensor
    loss: Tensor | None
    count: int = 0


class Packing(nn.Module):
    """Returns its inner module's output inside a tuple, a dict or a dataclass, with other things beside it."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = inner, kind

    def forward(self, x: Tensor) -> Any:
        y = self.inner(x)
        if self.kind == "dict":
            return {"hidden": y, "mask": y > 0, "none": None}
        return Bundle(y, y.mean()) if self.kind == "dataclass" else (y, (y.detach(), [y.sum(-1)]))


class Unpacking(nn.Module):
    """Takes the output out again."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.packed = Packing(inner, kind)

    def forward(self, x: Tensor) -> Tensor:
        y = self.packed(x)
        out: Tensor = y["hidden"] if isinstance(y, dict) else y.hidden if isinstance(y, Bundle) else y[0]
        return out


class Residual(nn.Module):
    """A skip connection, written in one of the ways people write it."""

    def __init__(self, inner: nn.Module, way: str) -> None:
        super().__init__()
        self.inner, self.way = inner, way
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        ways: dict[str, Callable[[], Tensor]] = {
            "plus": lambda: x + y,
            "into the branch": lambda: (y * 1.0).add_(x),
            "into the skip": lambda: (x * 1.0).add_(y),
            "scaled": lambda: torch.add(x, y, alpha=0.3),
            "gated": lambda: x + self.gain * y,
            "lerp": lambda: torch.lerp(x, y, 0.5),
            "sub": lambda: x - y,
            "addcmul": lambda: torch.addcmul(x, y, self.gain),
            "out": lambda: sum((x, y), torch.zeros(())),
        }
        return ways[self.way]()


class Wrapped(nn.Module):
    """Runs its inner module in an unusual way."""

    def __init__(self, inner: nn.Module, way: str) -> None:
        super().__init__()
        self.inner, self.way = inner, way
        self.gain = nn.Parameter(torch.ones(()))
        if way == "frozen":
            inner.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = getattr(self, f"_{self.way}")(x)
        return out

    def _frozen(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out

    def _twice(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(self.inner(x) * 0.5)
        return out

    def _no_grad(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y: Tensor = self.inner(x)
        return x + y

    def _detached(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x.detach())
        return out

    def _inference(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            y = self.inner(x.clone())
        return x * float(y.sum().tanh())

    def _checkpoint(self, x: Tensor) -> Tensor:
        out: Tensor = checkpoint(self.inner, x, use_reentrant=False)
        return out

    def _reentrant(self, x: Tensor) -> Tensor:
        out: Tensor = checkpoint(self.inner, x, use_reentrant=True)
        return out

    def _view_then_write(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x) * 1.0
        y.view(-1, FEATURES)[:, ::2].add_(1.0)
        return y

    def _write_to_output(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x).clone()
        y.transpose(1, 2).mul_(0.5)
        y[:, 0] = 0.0
        return y

    def _dropped(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x) if torch.rand(()) < 0.5 else x
        return out

    def _failing(self, x: Tensor) -> Tensor:
        with contextlib.suppress(Exception):
            self.inner(x[..., :3, :5].reshape(-1))  # a network may try, and catch what it gets
        out: Tensor = self.inner(x)
        return out

    def _half(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y: Tensor = self.inner(x)
        return y.float()

    def _double(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x.double().float())
        return (x + y.double()).float()

    def _halves(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(part) for part in x.chunk(2)])

    def _samples(self, x: Tensor) -> Tensor:
        out: Tensor = torch.vmap(lambda one: one * 2.0)(self.inner(x))
        return out

    def _gradient(self, x: Tensor) -> Tensor:
        x = x * self.gain  # the data itself has no gradient
        y: Tensor = self.inner(x)
        if not (torch.is_grad_enabled() and x.requires_grad and y.requires_grad):
            return y
        slopes: Any
        slopes = torch.autograd.grad(y.sum(), x, create_graph=True, allow_unused=True)
        return y if slopes[0] is None else y + 0.1 * slopes[0]

    def _spectrum(self, x: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfft(torch.fft.rfft(self.inner(x)), n=FEATURES)
        return out

    def _hooked(self, x: Tensor) -> Tensor:
        handle = self.inner.register_forward_hook(lambda _module, _args, out: out * 0.9)
        try:
            out: Tensor = self.inner(x)
        finally:
            handle.remove()
        return out


WAYS = tuple(sorted(name[1:] for name in vars(Wrapped) if name.startswith("_") and not name.startswith("__")))
"""Every way of :class:`Wrapped`."""

_ACTIVATIONS = ("ReLU", "GELU", "Tanh", "Sigmoid", "SiLU", "LeakyReLU", "Hardswish", "Softplus", "PReLU", "ELU")
_FUNCTIONS = ("relu", "relu_", "gelu", "silu", "softplus", "leaky_relu", "method", "glu", "hardtanh", "mish")
_NORMALISATIONS = ("batch", "untracked", "group", "instance", "layer", "rms")
_RESIDUALS = ("plus", "into the branch", "into the skip", "scaled", "gated", "lerp", "sub", "addcmul", "out")

_leaves: st.SearchStrategy[Plan] = st.one_of(
    st.tuples(st.just("linear"), st.booleans()),
    st.tuples(st.just("convolution"), st.sampled_from((1, 2)), st.sampled_from((1, 2, FEATURES))),
    st.tuples(st.just("normalisation"), st.sampled_from(_NORMALISATIONS)),
    st.tuples(st.just("activation"), st.sampled_from(_ACTIVATIONS), st.booleans()),
    st.tuples(st.just("function"), st.sampled_from(_FUNCTIONS)),
    st.tuples(st.just("dropout"), st.sampled_from((0.0, 0.3))),
    st.tuples(st.just("lookup")),
    st.tuples(st.just("recurrent"), st.sampled_from(("LSTM", "GRU", "RNN")), st.booleans()),
    st.tuples(st.just("attention"), st.booleans()),
    st.tuples(st.just("encoder"), st.booleans()),
    st.tuples(st.just("parametrized"), st.sampled_from(("weight_norm", "spectral_norm", "orthogonal"))),
    st.tuples(st.just("identity")),
    st.tuples(st.just("shared"), st.integers(0, 7)),
)


def _branches(children: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
    several = st.lists(children, min_size=1, max_size=4).map(tuple)
    return st.one_of(
        st.tuples(st.just("sequence"), several),
        st.tuples(st.just("residual"), children, st.sampled_from(_RESIDUALS)),
        st.tuples(st.just("packed"), children, st.sampled_from(("tuple", "dict", "dataclass"))),
        st.tuples(st.just("wrapped"), children, st.sampled_from(WAYS)),
    )


plans: st.SearchStrategy[Plan] = st.lists(st.recursive(_leaves, _branches, max_leaves=6), min_size=1, max_size=4).map(
    tuple
)
"""Plans of networks of up to four pieces, each nested as deep as it likes."""


class Network(nn.Module):
    """The network of a plan, with a head."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._made: list[nn.Module] = []
        self.pieces = nn.ModuleList(self._make(piece) for piece in plan)
        self.head = nn.Linear(FEATURES, 3)

    def forward(self, x: Tensor) -> Tensor:
        for piece in self.pieces:
            x = piece(x)
        out: Tensor = self.head(x.mean(1))
        return out

    def _make(self, plan: Plan) -> nn.Module:
        kind, *given = plan
        made: nn.Module = getattr(self, f"_{kind}")(*given)
        if kind in {"linear", "convolution", "normalisation", "activation"}:
            self._made.append(made)
        return made

    def _linear(self, bias: bool) -> nn.Module:  # noqa: FBT001 - drawn
        return nn.Linear(FEATURES, FEATURES, bias=bias)

    def _convolution(self, dimensions: int, groups: int) -> nn.Module:
        return Convolution(dimensions, groups)

    def _normalisation(self, kind: str) -> nn.Module:
        return Normalisation(kind)

    def _activation(self, name: str, inplace: bool) -> nn.Module:  # noqa: FBT001 - drawn
        kind: Any = getattr(nn, name)
        if inplace and name in {"ReLU", "SiLU", "LeakyReLU", "Hardswish", "ELU"}:
            # Its input may be a leaf or be needed again: both are the network's own mistake, so it gets a copy.
            return nn.Sequential(_Copy(), kind(inplace=True))
        return kind()  # type: ignore[no-any-return]

    def _function(self, name: str) -> nn.Module:
        return Function(name)

    def _dropout(self, p: float) -> nn.Module:
        return nn.Dropout(p)

    def _lookup(self) -> nn.Module:
        return Lookup()

    def _recurrent(self, kind: str, states: bool) -> nn.Module:  # noqa: FBT001 - drawn
        return Recurrent(kind, states=states)

    def _attention(self, weights: bool) -> nn.Module:  # noqa: FBT001 - drawn
        return Attention(weights=weights)

    def _encoder(self, first: bool) -> nn.Module:  # noqa: FBT001 - drawn
        return nn.TransformerEncoderLayer(FEATURES, 2, 16, batch_first=True, norm_first=first)

    def _parametrized(self, kind: str) -> nn.Module:
        made: nn.Module = getattr(parametrizations, kind)(nn.Linear(FEATURES, FEATURES))
        return made

    def _identity(self) -> nn.Module:
        return nn.Identity()

    def _shared(self, which: int) -> nn.Module:
        return self._made[which % len(self._made)] if self._made else nn.Identity()

    def _sequence(self, plans: tuple[Plan, ...]) -> nn.Module:
        return nn.Sequential(*(self._make(plan) for plan in plans))

    def _residual(self, plan: Plan, way: str) -> nn.Module:
        return Residual(self._make(plan), way)

    def _packed(self, plan: Plan, kind: str) -> nn.Module:
        return Unpacking(self._make(plan), kind)

    def _wrapped(self, plan: Plan, way: str) -> nn.Module:
        return Wrapped(self._make(plan), way)


class _Copy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


def network(plan: Plan) -> Callable[[], Network]:
    """Return what makes the network of a plan, the same at every call."""

    def make() -> Network:
        torch.manual_seed(3)
        return Network(plan)

    return partial(make)
