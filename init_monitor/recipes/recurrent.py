"""LSTM, GRU and plain recurrent layers, gate by gate: each gate is a layer of its own inside one tensor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from init_monitor.analysis.recurrent import GATES
from init_monitor.errors import RecipeError
from init_monitor.recipes.choices import finite
from init_monitor.recipes.fill import fill
from init_monitor.recipes.layer_kinds import is_frozen_parameter
from init_monitor.recipes.refusals import check_values, nothing

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import Tensor

Recurrent = TypeVar("Recurrent", bound=nn.Module)

FORGET_BIAS = 1.0
"""A forget gate that starts near 1 (Gers et al. 2000; Jozefowicz et al. 2015, Section 2.2) remembers; at 0 it halves."""

_LSTM: tuple[type[nn.Module], ...] = (nn.LSTM, nn.LSTMCell)
_GRU: tuple[type[nn.Module], ...] = (nn.GRU, nn.GRUCell)
_PLAIN: tuple[type[nn.Module], ...] = (nn.RNN, nn.RNNCell)

_CELL = ("weight_ih", "weight_hh")
"""The matrices of a cell; a layer lists its own."""
_FORGET_GATE = 1
"""Place of the forget gate in torch's LSTM: input, forget, cell, output."""


def lstm_(
    target: Recurrent,
    *,
    forget_bias: float = FORGET_BIAS,
    generator: torch.Generator | None = None,
    frozen: bool = False,
) -> Recurrent:
    """Initialise every LSTM: recurrent weights orthogonal, input weights Xavier, biases 0 but the forget gate's.

    Per gate, not per tensor: torch keeps four gates in one tensor, whose joint fan_out would make Xavier's variance too
    small, and whose joint orthogonality says nothing about each. torch adds two biases; the forget bias is in the first.
    Sources: Saxe et al. 2014; Glorot & Bengio 2010, Eq. 16; Gers et al. 2000; Jozefowicz et al. 2015, Section 2.2.

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> layer = recipes.lstm_(nn.LSTM(8, 16), generator=torch.Generator().manual_seed(0))
    >>> layer.bias_ih_l0.view(4, 16).mean(dim=1).tolist()
    [0.0, 1.0, 0.0, 0.0]

    Args:
        target: an ``nn.LSTM`` or ``nn.LSTMCell``, or a module that contains some.
        forget_bias: bias of the forget gate.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.

    Returns:
        ``target``.

    Raises:
        RecipeError: ``target`` has no LSTM, or one whose matrices are computed from others; ``forget_bias`` is no finite
            number. Nothing was changed.
    """
    forget_bias = finite("lstm_", "forget_bias", forget_bias)
    for layer in _found(target, _LSTM, "lstm_", "LSTM", frozen=frozen):
        _initialise(layer, generator, frozen=frozen)
        for name, parameter in layer.named_parameters(recurse=False):
            if name.startswith("bias_ih") and (frozen or parameter.requires_grad):
                gate = parameter.detach().chunk(GATES["LSTM"])[_FORGET_GATE]
                fill(gate, partial(nn.init.constant_, val=forget_bias))
    return target


def gru_(target: Recurrent, *, generator: torch.Generator | None = None, frozen: bool = False) -> Recurrent:
    """Initialise every GRU: recurrent weights orthogonal, input weights Xavier, biases 0, per gate as :func:`lstm_`.

    Sources: Saxe et al. 2014; Glorot & Bengio 2010, Eq. 16.
    """
    for layer in _found(target, _GRU, "gru_", "GRU", frozen=frozen):
        _initialise(layer, generator, frozen=frozen)
    return target


def rnn_(target: Recurrent, *, generator: torch.Generator | None = None, frozen: bool = False) -> Recurrent:
    """Initialise every plain recurrent layer as :func:`gru_`: orthogonal, Xavier, biases 0.

    Sources: Saxe et al. 2014; Glorot & Bengio 2010, Eq. 16.
    """
    for layer in _found(target, _PLAIN, "rnn_", "RNN", frozen=frozen):
        _initialise(layer, generator, frozen=frozen)
    return target


def recipe_of(module: nn.Module) -> str:
    """Return the name of the recipe for a recurrent layer, empty for any other.

    >>> recipe_of(nn.GRUCell(2, 2)), recipe_of(nn.Linear(2, 2))
    ('gru_', '')
    """
    for kinds, recipe in ((_LSTM, "lstm_"), (_GRU, "gru_"), (_PLAIN, "rnn_")):
        if isinstance(module, kinds):
            return recipe
    return ""


def _found(
    target: nn.Module, kinds: tuple[type[nn.Module], ...], recipe: str, word: str, *, frozen: bool
) -> Iterable[nn.Module]:
    if not isinstance(target, nn.Module):
        message = f"{recipe} takes a layer or a model, got {type(target).__name__}."
        raise TypeError(message)
    layers = [module for module in target.modules() if isinstance(module, kinds)]
    for layer in layers:
        _check_whole(layer, recipe)
        for name, parameter in layer.named_parameters(recurse=False):
            if frozen or not is_frozen_parameter(parameter):
                check_values(parameter, name, recipe)
    parameters = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    spared = sum(map(is_frozen_parameter, parameters))
    if not layers or (spared == len(parameters) and not frozen):
        nothing(recipe, target, word, spared)
    return layers


def _check_whole(layer: nn.Module, recipe: str) -> None:
    # Only the parts of a computed matrix are parameters, and they mean something else: a length, a direction.
    computed = [name for name in getattr(layer, "_flat_weights_names", _CELL) if name.startswith("weight")]
    computed = [name for name in computed if name not in layer._parameters]  # noqa: SLF001
    if computed:
        message = (
            f"{recipe}: {computed[0]} of {type(layer).__name__} is no parameter but computed from others (weight"
            " normalisation and its like). Remove the parametrization, initialise, and add it again."
        )
        raise RecipeError(message)


def _initialise(layer: nn.Module, generator: torch.Generator | None, *, frozen: bool) -> None:
    gates = next(count for kind, count in GATES.items() if isinstance(layer, getattr(nn, kind)))
    for name, parameter in layer.named_parameters(recurse=False):
        if is_frozen_parameter(parameter) and not frozen:
            continue
        if name.startswith("weight_hh"):
            _per_gate(parameter, gates, partial(nn.init.orthogonal_, generator=generator), generator)
        elif name.startswith("weight_ih"):
            _per_gate(parameter, gates, partial(nn.init.xavier_uniform_, generator=generator), generator)
        elif name.startswith("weight_hr"):
            # The projection of an LSTM's output (proj_size) is not a gate.
            _per_gate(parameter, 1, partial(nn.init.xavier_uniform_, generator=generator), generator)
        else:
            fill(parameter, nn.init.zeros_)


def _per_gate(parameter: Tensor, gates: int, draw: partial[Tensor], generator: torch.Generator | None) -> None:
    for gate in parameter.detach().chunk(gates):
        fill(gate, draw, generator)
