"""The size of a network's signal and the correlation of its samples at every weight layer, in one forward."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from init_monitor.capture.single_pass import forward
from init_monitor.capture.tensors import floating_tensors
from init_monitor.records import Role
from init_monitor.structure.layers import RECURRENT, modules_by_name, role_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Structure

_PAIR = 2


def pair_correlations(model: nn.Module, batch: Any, structure: Structure) -> dict[str, tuple[float, float]]:  # noqa: ANN401
    """Run the network once and return, by tap name, the mean square of an output and 1 − correlation over all pairs of samples.

    Pairs are those of Schoenholz et al. 2017: ``c = E[x_a·x_b] / E[x²]`` over elements and pairs ``a ≠ b``, not centred. The
    difference ``1 − c`` is the variance between samples of each element, divided by the mean square, so that it is exact where ``c``
    is 1 but for rounding. Outputs that do not begin with the dimension of the samples are left out.

    Args:
        model: in the mode it is to be measured in; the caller restores what a forward changes.
        batch: as :func:`init_monitor.check` takes it.
        structure: gives the calls of a layer their names.
    """
    samples = _samples(batch)
    if samples < _PAIR:
        return {}
    found: dict[str, list[tuple[float, float] | None]] = {}
    modules = {
        name: module
        for name, module in modules_by_name(model).items()
        if role_of(module) is Role.WEIGHT and not isinstance(module, RECURRENT)
    }
    handles = [
        module.register_forward_hook(_keeping(found.setdefault(name, []), samples)) for name, module in modules.items()
    ]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # The first forward has told what there is to tell; checkpointed blocks would warn of the gradients that are off here.
            warnings.simplefilter("ignore")
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return dict(_by_tap(structure, found))


def _keeping(calls: list[tuple[float, float] | None], samples: int) -> Any:  # noqa: ANN401 - a hook
    def keep(_: nn.Module, __: object, output: object) -> None:
        tensor = next((tensor for path, tensor in floating_tensors(output) if path in {"", "[0]"}), None)
        calls.append(None if tensor is None else _measured(tensor.detach(), samples))

    return keep


def _measured(output: Tensor, samples: int) -> tuple[float, float] | None:
    if output.dim() < _PAIR or not output.shape[0] or output.shape[0] % samples or not output.numel():
        return None
    rows = output.reshape(samples, -1)
    # Element by element, in double: differences of nearly equal samples are what is asked for.
    square, between = 0.0, 0.0
    for piece in rows.split(max(1, (1 << 20) // samples), dim=1):
        part = piece.double()
        square += float(part.square().sum())
        between += float(part.var(dim=0, correction=1).sum())
    square /= rows.numel()
    between /= rows.shape[1]
    return (square, between / square) if square > 0 and math.isfinite(square) else (square, math.nan)


def _samples(batch: Any) -> int:  # noqa: ANN401
    """Return the length of the first dimension of the first tensor that the model takes."""
    given = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (tuple, list)) else (batch,)
    return next((len(one) for one in given if isinstance(one, Tensor) and one.dim()), 0)


def _by_tap(
    structure: Structure, found: Mapping[str, list[tuple[float, float] | None]]
) -> Iterator[tuple[str, tuple[float, float]]]:
    for layer in structure.layers:
        own = layer.name.removeprefix(layer.module)
        if "/" in layer.name or own.partition("[")[2] not in {"", "0]"}:
            continue
        number = own.partition("#")[2].partition("[")[0]
        calls = found.get(layer.module, [])
        place = int(number) - 1 if number.isdigit() else 0
        if place < len(calls):
            measured = calls[place]
            if measured is not None:
                yield layer.name, measured
