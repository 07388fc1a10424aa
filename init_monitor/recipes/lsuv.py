"""LSUV: scale every layer until its output has variance 1 on real data, from the first layer to the last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from init_monitor.capture.single_pass import forward, untouched
from init_monitor.errors import RecipeError
from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.choices import count, positive
from init_monitor.recipes.weights import weights_of
from init_monitor.torch_compat import eager

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.utils.hooks import RemovableHandle

    from init_monitor.recipes.weights import Weight

TOLERANCE = 0.1
"""Tol_var of the paper's Algorithm 1."""
ATTEMPTS = 10
"""T_max of the paper's Algorithm 1; a linear layer needs one correction, rounding a second one."""


def lsuv_(  # noqa: PLR0913 - each is a knob of the algorithm
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    *,
    tolerance: float = TOLERANCE,
    attempts: int = ATTEMPTS,
    orthogonal: bool = True,
    generator: torch.Generator | None = None,
    frozen: bool = False,
) -> dict[str, float]:
    """Draw orthogonal weights, then divide each layer's weights by the standard deviation of its output.

    One forward: each linear or convolutional layer is corrected when the batch reaches it and runs again with the corrected
    weights, so that the layers after it already see what they will get. A layer that is called several times is corrected
    at its first call. Biases are set to 0. Recurrent and attention layers are not scaled. Source: Mishkin & Matas 2016,
    "All you need is a good init", Algorithm 1.

    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    >>> x = torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
    >>> variances = recipes.lsuv_(net, x, tolerance=0.01, generator=torch.Generator().manual_seed(1))
    >>> all(abs(variance - 1) < 0.01 for variance in variances.values())
    True

    Args:
        model: the network; it runs in train mode, and its buffers, modes and gradients stay as they were.
        batch: real data, as :func:`init_monitor.check` takes it; the more samples, the better.
        tolerance: how far from 1 the variance of each output may stay, positive.
        attempts: corrections per layer at most, at least 1.
        orthogonal: start from orthogonal weights; False only scales what is there.
        generator: source of the random numbers; torch's own state is then left alone. The forward (dropout) leaves it
            alone in any case.
        frozen: scale parameters that do not require a gradient, too.

    Returns:
        The variance of each layer's output when it was left, by module name in execution order.

    Raises:
        RecipeError: an output has variance 0 or is not finite, a layer does not come within the tolerance, or there is
            nothing to scale. The weights are then what they were before.
    """
    tolerance = positive("lsuv_", "tolerance", tolerance)
    attempts = count("lsuv_", "attempts", attempts)
    if not isinstance(model, nn.Module):
        message = f"lsuv_ needs a torch.nn.Module as its model, got {type(model).__name__}."
        raise TypeError(message)
    weights: dict[nn.Module, list[Weight]] = {}
    for weight in weights_of(model, "lsuv_", frozen=frozen):
        if weight.owner is not None and not isinstance(weight.owner, nn.MultiheadAttention):
            weights.setdefault(weight.owner, []).append(weight)
    scaling = _Scaling(weights, {module: name for name, module in model.named_modules()}, tolerance, attempts)
    kept = {parameter: parameter.detach().clone() for layer in weights for parameter in layer.parameters()}
    try:
        for layer, own in weights.items():
            for weight in own if orthogonal else ():
                weight.fill(partial(nn.init.orthogonal_, generator=generator), generator)
            zero_biases(layer, frozen=frozen, recurse=False)
        with untouched(model), torch.no_grad(), eager(), scaling:
            model.train()
            forward(model, batch)
        scaling.check()
    except BaseException:
        with torch.no_grad():
            for parameter, value in kept.items():
                parameter.copy_(value)
        raise
    return scaling.variances


class _Scaling:
    """Corrects each layer when the forward reaches it, while used as a context manager."""

    def __init__(
        self, weights: dict[nn.Module, list[Weight]], names: dict[nn.Module, str], tolerance: float, attempts: int
    ) -> None:
        self.variances: dict[str, float] = {}
        self._weights = weights
        self._names = names
        self._tolerance = tolerance
        self._attempts = attempts
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> None:
        layers: Iterable[nn.Module] = self._weights
        self._handles = [layer.register_forward_hook(self._correct, with_kwargs=True) for layer in layers]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def check(self) -> None:
        """Raise RecipeError if the forward reached none of the layers."""
        if not self.variances:
            message = "lsuv_: the batch reached no linear or convolutional layer, so there is nothing to scale."
            raise RecipeError(message)

    def _correct(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:  # noqa: ANN401
        name = self._names[layer]
        if name in self.variances or not isinstance(output, Tensor):
            return None
        for _ in range(self._attempts):
            variance = self._variance(output, name)
            if abs(variance - 1) < self._tolerance:
                break
            for weight in self._weights[layer]:
                weight.scale(variance**-0.5)
            # The layer's own forward: calling the layer would run this hook again.
            output = layer.forward(*args, **kwargs)
        variance = self._variance(output, name)
        if abs(variance - 1) >= self._tolerance:
            message = (
                f"lsuv_: the output of {name!r} has variance {variance:.4g} after {self._attempts} corrections, expected 1"
                f" within {self._tolerance:g}. Its weights may be shared or normalised: leave it out, or raise tolerance."
            )
            raise RecipeError(message)
        self.variances[name] = variance
        return output

    @staticmethod
    def _variance(output: Tensor, name: str) -> float:
        variance = float(output.detach().double().var(correction=0)) if output.numel() else float("nan")
        if not 0 < variance < float("inf"):
            message = (
                f"lsuv_: the output of {name!r} has variance {variance:g} over this batch, expected a positive number."
                " Is its input constant, or are the layers before it dead? Give a batch of real data."
            )
            raise RecipeError(message)
        return variance
