"""Which modules are layers, what they are called, and how their tensors are laid out."""

from __future__ import annotations

import math
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from init_monitor.measures import Layout
from init_monitor.records import Role
from init_monitor.structure.fans import is_matrix
from init_monitor.structure.nonlinearities import nonlinearity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from init_monitor.structure.sites import MixingSite

_Conv = nn.modules.conv._ConvNd  # noqa: SLF001 - the one common base of all convolutions
_Dropout = nn.modules.dropout._DropoutNd  # noqa: SLF001
_BatchNorm = nn.modules.batchnorm._NormBase  # noqa: SLF001 - batch and instance norm

NORMALISATIONS: tuple[type[nn.Module], ...] = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm)
RECURRENT: tuple[type[nn.Module], ...] = (nn.RNNBase, nn.RNNCellBase)
CHANNELS_FIRST: tuple[type[nn.Module], ...] = (_Conv, _BatchNorm, nn.GroupNorm, nn.LocalResponseNorm)

SAME_VALUES: tuple[type[nn.Module], ...] = (nn.Identity, nn.Flatten, nn.Unflatten)
"""Pass every element through: the output has the moments of the input."""

PLUMBING: tuple[type[nn.Module], ...] = (
    *SAME_VALUES,
    _Dropout,
    nn.modules.pooling._MaxPoolNd,  # noqa: SLF001
    nn.modules.pooling._AvgPoolNd,  # noqa: SLF001
    nn.modules.pooling._AdaptiveAvgPoolNd,  # noqa: SLF001
    nn.modules.pooling._AdaptiveMaxPoolNd,  # noqa: SLF001
    nn.modules.padding._ConstantPadNd,  # noqa: SLF001
    nn.modules.padding._ReflectionPadNd,  # noqa: SLF001
    nn.modules.padding._ReplicationPadNd,  # noqa: SLF001
    nn.ChannelShuffle,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.Upsample,
    nn.Fold,
    nn.Unfold,
)
"""Moves or thins out the signal without computing anything: not a layer, only followed to see what feeds what."""

CONTAINERS: tuple[type[nn.Module], ...] = (
    nn.modules.loss._Loss,  # noqa: SLF001
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
    nn.ParameterList,
    nn.ParameterDict,
)
"""Hold layers or come after the last of them; an empty one has no children to recognise it by."""

_HANGERS = frozenset({"parametrizations", "weight_fake_quant", "activation_post_process"})
"""Children that torch.nn.utils.parametrize and quantisation-aware training add to a layer do not make it a container."""

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_ROOT_WRAPPERS = frozenset({"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel"})


def plain_name(name: str, *, wrapped_root: bool = False) -> str:
    """Remove what torch.compile, FSDP, activation checkpointing and (at the root) DDP put into a module's path.

    >>> plain_name("net._orig_mod.0")
    'net.0'
    >>> plain_name("module.fc", wrapped_root=True)
    'fc'
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if wrapped_root and parts[:1] == ["module"]:
        parts = parts[1:]
    return ".".join(parts)


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module by its path without what wrappers (torch.compile, DDP) put into it."""
    wrapped = hasattr(model, "module") and isinstance(model.module, nn.Module)
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        # A wrapper and what it wraps share one name; the inner one comes last and is the layer.
        found[plain_name(path, wrapped_root=wrapped and path != "")] = module
    return found


def role_of(module: nn.Module) -> Role | None:
    """Return what a module is for, or ``None`` if it is not a layer (a container, plumbing, a loss, a metric)."""
    if isinstance(module, nn.MultiheadAttention):
        return Role.WEIGHT
    if isinstance(module, _Dropout) and module.p >= 1:
        return Role.OTHER  # nothing passes it, so it is more than plumbing
    # Children that torch adds to a layer (a parametrization, an observer) do not make it a container.
    holds = any(name not in _HANGERS for name, _ in module.named_children()) and not acts_itself(module)
    if holds or _is_no_layer(module):
        return None
    if nonlinearity_of(module) is not None:
        return Role.ACTIVATION
    if isinstance(module, NORMALISATIONS) or "Norm" in type(module).__name__:
        return Role.NORMALISATION
    # A weight of two or more dimensions mixes units; a single vector (layer scale, a learned gain) does not.
    mixes = isinstance(module, (*RECURRENT, _Conv)) or mixes_units(module)
    return Role.WEIGHT if mixes else Role.OTHER


def mixes_units(module: nn.Module) -> bool:
    """Return True for a module that holds a weight that mixes units, its own or a child's."""
    return any(map(_mixes, module.parameters()))


def _mixes(parameter: nn.Parameter) -> bool:
    # The shape of a lazy module's parameters is not known before its first forward; only such layers have any.
    if isinstance(parameter, UninitializedParameter):
        return True
    return is_matrix(parameter.shape)


def acts_itself(module: nn.Module) -> bool:
    """Return True for a normalisation that applies a dropout or an activation of its own afterwards, as timm's do."""
    if not isinstance(module, NORMALISATIONS):
        return False
    # Children with weights do not just come after it: they may compute the normalisation's own scale.
    known = [
        nonlinearity_of(child) is not None or not any(True for _ in child.parameters()) for child in module.children()
    ]
    return bool(known) and all(known)


def _is_no_layer(module: nn.Module) -> bool:
    is_metric = callable(getattr(module, "update", None)) and callable(getattr(module, "compute", None))
    # TorchScript runs its modules without Python: they take no hook.
    return is_metric or isinstance(module, (*PLUMBING, *CONTAINERS, torch.jit.ScriptModule))


class Selection(NamedTuple):
    """What to watch.

    Attributes:
        layers: the layers by name.
        notices: what the user should know about the choice.
        accepts: says of a name that is not a module's (an activation called as a function) whether it is to be watched.
    """

    layers: Mapping[str, nn.Module]
    notices: tuple[str, ...]
    accepts: Callable[[str], bool]


def _patterns(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def select(
    model: nn.Module, include: str | Sequence[str] | None, exclude: str | Sequence[str] | None, max_layers: int
) -> Selection:
    """Choose the layers of ``model`` to watch.

    Args:
        model: any module; wrappers of torch.compile, DDP and FSDP are looked through.
        include: fnmatch patterns; a layer is watched if one matches. A pattern without wildcards may also name a
            container, whose output is then watched as a layer.
        exclude: fnmatch patterns; a layer is not watched if one matches.
        max_layers: how many are watched at most, the first in ``named_modules`` order.
    """
    wrapped = type(model).__name__ in _ROOT_WRAPPERS
    every: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        if not _HANGERS.isdisjoint(path.split(".")):
            continue
        name = plain_name(path, wrapped_root=wrapped)
        # A wrapper and what it wraps share one name: a wrapped leaf is the layer, its wrapper only a container.
        if name not in every or role_of(module) is not None:
            every[name] = module
    included, excluded = _patterns(include), _patterns(exclude)
    scripted = [name or "the model" for name, module in every.items() if isinstance(module, torch.jit.ScriptModule)]
    candidates = {
        name: module
        for name, module in every.items()
        if role_of(module) is not None or (name and name in included and name not in scripted)
    }
    notices = []
    for option, patterns in (("include", included), ("exclude", excluded)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in candidates):
                alone = option == "include" and not any(fnmatchcase(name, p) for p in included for name in candidates)
                effect = "nothing is measured" if alone else "it has no effect"
                notices.append(
                    f"{option} pattern {pattern!r} matches no layer of {type(model).__name__}"
                    f" ({len(candidates)} layers); {effect}. {_nearest(pattern, list(candidates))}"
                )

    def accepts(name: str) -> bool:
        return (not included or any(fnmatchcase(name, p) for p in included)) and not any(
            fnmatchcase(name, p) for p in excluded
        )

    chosen = {name: module for name, module in candidates.items() if accepts(name)}
    notices += _about_scripted(scripted)
    packed = (name for name, module in every.items() if hasattr(module, "_packed_params"))
    notices += _about_packed([name for name in packed if not name.endswith("_packed_params")])
    if len(chosen) > max_layers:
        notices.append(
            f"{len(chosen)} layers are to be watched but max_layers={max_layers}; the first {max_layers} are."
            " Raise max_layers, or choose with include= and exclude=."
        )
        chosen = dict(list(chosen.items())[:max_layers])
    if not chosen and not notices:
        notices.append(f"{type(model).__name__} has no layer to watch (no module with weights and no activation).")
    return Selection(chosen, tuple(notices), accepts)


def _nearest(pattern: str, names: Sequence[str]) -> str:
    """Return what was probably meant: the nearest names, or with the wildcard the nearest part of the network."""
    wanted = pattern.rstrip("*?.")
    parts = dict.fromkeys(name.rsplit(".", i)[0] for i in range(3) for name in names) if wanted != pattern else {}
    near = [f"{part}*" for part in get_close_matches(wanted, parts, n=1, cutoff=0.5)]
    near = near or get_close_matches(pattern, names, n=3, cutoff=0.3)
    listed = ", ".join(map(repr, near or names[:3])) or "none"
    return f"Did you mean {listed}?" if near else f"Its layers are {listed}{' and so on' * (len(names) > 3)}."  # noqa: PLR2004


def _about_scripted(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    message = (
        f"{names[0]!r} is compiled by TorchScript ({len(names)} modules), which takes no hooks: what happens inside it is"
        " not measured. Watch the model before torch.jit.script."
    )
    return [message]


def _about_packed(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    message = (
        f"{names[0]!r} is quantised ({len(names)} modules): it holds packed numbers, not parameters, and cannot be"
        " measured. Watch the model before it is converted."
    )
    return [message]


def normalises_one_value(module: nn.Module | None, output: Tensor) -> bool:
    """Say whether a normalisation works on groups of a single value: its output is then the same for every input.

    Batch and instance norm refuse such a batch themselves.
    """
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return math.prod(module.normalized_shape) == 1
    if isinstance(module, nn.GroupNorm):
        return module.num_channels == module.num_groups and math.prod(output.shape[2:]) == 1
    return False


def runs_on(module: nn.Module | None) -> bool:
    """Say whether a normalisation goes by its running mean and variance, as batch norm does in eval mode."""
    return isinstance(module, _BatchNorm) and not module.training and module.running_mean is not None


def layout_of(module: nn.Module | None, output: Tensor, upstream: Layout | None, part: str = "") -> Layout | None:
    """Return which dimensions of a layer's output are samples and units, or ``None`` for fewer than two dimensions.

    A module that knows decides (channels first for convolutions and batch norm, last for the rest); an activation
    has the layout of what feeds it; failing that, [N, C], [N, T, C] and [N, C, ...] of four or more dimensions.

    Args:
        module: the layer; ``None`` for a function.
        output: what it made.
        upstream: the layout of what feeds it.
        part: which of its outputs it is, as :func:`~init_monitor.capture.tensors.floating_tensors` writes it. The last states of a
            recurrent layer, the second one, are [layers, N, C] whatever its sequences are.
    """
    rank = output.dim()
    if rank < 2:  # noqa: PLR2004 - samples and units need a dimension each
        return None
    layout = Layout(0, rank - 1)
    is_state = isinstance(module, nn.RNNBase) and part.startswith("[1]")
    if is_state or (isinstance(module, nn.RNNBase) and not module.batch_first and rank == 3):  # noqa: PLR2004 - [T, N, C]
        # Of an unbatched sequence the states, [layers, C], have no samples.
        return Layout(1, 2) if rank == 3 else None  # noqa: PLR2004
    if isinstance(module, _Conv):
        # An unbatched convolution has no samples.
        return Layout(0, 1) if rank == len(module.kernel_size) + 2 else None
    if isinstance(module, CHANNELS_FIRST):
        layout = Layout(0, 1)
    elif module is None or nonlinearity_of(module) is not None:
        if upstream is not None and max(upstream) < rank:
            layout = upstream
        elif rank >= 4:  # noqa: PLR2004 - [N, C, H, W]
            layout = Layout(0, 1)
    return layout


def layout_of_function(site: MixingSite | None, output: Tensor, upstream: Layout | None) -> Layout | None:
    """Return the same for what a function made; ``site`` if it mixes with a weight, ``None`` for an activation."""
    if site is None or output.dim() < 2:  # noqa: PLR2004 - samples and units need a dimension each
        return layout_of(None, output, upstream)
    return Layout(0, 1 if site.channels_first else output.dim() - 1)
