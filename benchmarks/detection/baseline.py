"""The baseline: published thresholds on elements, layers and gradients, as a separate monitor.

Each check is one condition with the numbers of the tool that published it. It fires when its condition holds at
:data:`PATIENCE` sampled steps in a row, for any layer. Nothing in here uses init_monitor.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.utils.hooks import RemovableHandle

PATIENCE = 5
"""AutoTrainer's default: a gradient problem counts when it was seen at so many checks."""

DENSE, EVERY = 10, 5
"""The same steps as the monitor's: the first ten and then one in five."""

ZERO_GRADIENTS = 0.7
"""AutoTrainer (Zhang et al. 2021), γ: share of weight-gradient elements that are 0, for a dying ReLU."""

FIRST_TO_LAST, FIRST = 1e-3, 1e-4
"""AutoTrainer, β1 and β2: gradient norm of the first weight over that of the last, and the former alone."""

EXPLODING_RATIO = 70.0
"""AutoTrainer, β3: gradient norm of the first weight over that of the last."""

MEAN_GRADIENT = 1e-7
"""SageMaker Debugger, VanishingGradient: mean |gradient| of a weight."""

QUIET_UNIT, QUIET_PERCENTILE, QUIET_SHARE = 1e-5, 0.95, 0.5
"""TheDeepChecker (Ben Braiek & Khomh 2023): a unit is dead in a batch if this percentile of |activation| is below; a
layer if more than this share of its units are."""

SATURATED = {"Tanh": (-9.4999, 9.4999), "Sigmoid": (-23.0, 16.99999)}
"""SageMaker Debugger, SaturatedActivation: inputs beyond these are saturated."""

SATURATED_SHARE = 0.5
"""The same: a layer is if more than half of it is."""

UPDATE_RATIOS = (1e-8, 10.0)
"""SageMaker Debugger, WeightUpdateRatio: smallest and largest ‖Δw‖/‖w‖."""

ACTIVATION_STD = (0.5, 2.0)
"""TheDeepChecker: standard deviation of a hidden activation."""

INPUT_RANGE = (-1.0, 1.0)
"""UMLAUT (Schoop et al. 2021): values of the input."""

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.ELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


class Check(str, Enum):
    """What the baseline looks for. The value is how it is printed."""

    ZERO_GRADIENTS = "≥ 70 % of gradient elements are 0 (AutoTrainer)"
    QUIET_LAYER = "> 50 % of a layer's units quiet in a batch (TheDeepChecker)"
    FADING = "first/last gradient norm < 1e-3, first < 1e-4 (AutoTrainer)"
    TINY_GRADIENT = "mean absolute gradient < 1e-7 (SageMaker Debugger)"
    EXPLODING = "first/last gradient norm > 70 (AutoTrainer)"
    NON_FINITE = "NaN or infinity in activations or gradients (all)"
    SATURATED = "> 50 % of tanh/sigmoid inputs saturated (SageMaker Debugger)"
    UPDATE = "‖Δw‖/‖w‖ < 1e-8 or > 10 (SageMaker Debugger)"
    ACTIVATION_STD = "activation std outside 0.5 to 2 (TheDeepChecker)"
    INPUT_RANGE = "input outside −1 to 1 (UMLAUT)"

    def __str__(self) -> str:
        """Return what is printed."""
        return self.value


RANGES = frozenset({Check.ACTIVATION_STD, Check.INPUT_RANGE})
"""Checks of a range that most healthy networks leave: shown, but not part of the baseline's verdict, which would flag
nearly everything with them."""

MEANING: dict[Check, frozenset[str]] = {
    Check.ZERO_GRADIENTS: frozenset({"IM301"}),
    Check.QUIET_LAYER: frozenset({"IM301"}),
    Check.FADING: frozenset({"IM202", "IM102"}),
    Check.TINY_GRADIENT: frozenset({"IM202", "IM102", "IM602"}),
    Check.EXPLODING: frozenset({"IM201", "IM101", "IM401"}),
    Check.NON_FINITE: frozenset({"IM601", "IM101", "IM201"}),
    Check.SATURATED: frozenset({"IM303"}),
    Check.UPDATE: frozenset({"IM603"}),
    Check.ACTIVATION_STD: frozenset({"IM101", "IM102"}),
    Check.INPUT_RANGE: frozenset({"IM701"}),
}
"""The codes that each check corresponds to, generously."""


class Baseline(pl.Callback):
    """Watches a training by the thresholds above, read only. What fired is in ``fired``."""

    def __init__(self) -> None:
        super().__init__()
        self.fired: frozenset[Check] = frozenset()
        self._row: Counter[Check] = Counter()
        self._now: set[Check] = set()
        self._batch = -1
        self._attached: list[RemovableHandle] = []
        self._before: dict[str, Tensor] = {}

    @property
    def _sampled(self) -> bool:
        return self._batch < DENSE or self._batch % EVERY == 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:  # noqa: ANN401, ARG002 - Lightning's signature
        """Attach to the activations of a sampled batch."""
        self._batch += 1
        self._now = set()
        if not self._sampled:
            return
        self._before = {name: weight.detach().clone() for name, weight in _weights(pl_module)}
        for tensor in _floats(args[0]):
            low, high = (float(bound) for bound in torch.aminmax(tensor))
            if low < INPUT_RANGE[0] or high > INPUT_RANGE[1]:
                self._now.add(Check.INPUT_RANGE)
        for module in pl_module.modules():
            if isinstance(module, ACTIVATIONS):
                self._attached.append(module.register_forward_hook(self._look_at_activation))

    def on_before_optimizer_step(
        self,
        trainer: pl.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: pl.LightningModule,
        optimizer: torch.optim.Optimizer,  # noqa: ARG002 - Lightning's signature
    ) -> None:
        """Look at the weight gradients."""
        if not self._sampled:
            return
        gradients = [weight.grad.detach() for _, weight in _weights(pl_module) if weight.grad is not None]
        if not gradients:
            return
        if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            self._now.add(Check.NON_FINITE)
            return
        zeros = sum(int((gradient == 0).sum()) for gradient in gradients)
        if zeros >= ZERO_GRADIENTS * sum(gradient.numel() for gradient in gradients):
            self._now.add(Check.ZERO_GRADIENTS)
        if any(float(gradient.abs().mean()) < MEAN_GRADIENT for gradient in gradients):
            self._now.add(Check.TINY_GRADIENT)
        first, last = (float(gradients[position].norm()) for position in (0, -1))
        if first < FIRST and first < FIRST_TO_LAST * last:
            self._now.add(Check.FADING)
        if first > EXPLODING_RATIO * last:
            self._now.add(Check.EXPLODING)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:  # noqa: ANN401, ARG002 - Lightning's signature
        """Detach, look at the updates, and count."""
        for handle in self._attached:
            handle.remove()
        self._attached = []
        if not self._sampled:
            return
        for name, weight in _weights(pl_module):
            norm = float(self._before[name].norm())
            ratio = float((weight.detach() - self._before[name]).norm()) / norm if norm > 0 else 0.0
            if not UPDATE_RATIOS[0] <= ratio <= UPDATE_RATIOS[1]:
                self._now.add(Check.UPDATE)
        for check in Check:
            self._row[check] = self._row[check] + 1 if check in self._now else 0
            if self._row[check] >= (1 if check is Check.NON_FINITE else PATIENCE):
                self.fired |= {check}

    def _look_at_activation(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values = output.detach().float()
        if not bool(torch.isfinite(values).all()):
            self._now.add(Check.NON_FINITE)
            return
        kind = type(module).__name__
        if kind in SATURATED:
            low, high = SATURATED[kind]
            given = inputs[0].detach()
            if float(((given < low) | (given > high)).float().mean()) > SATURATED_SHARE:
                self._now.add(Check.SATURATED)
        units = values.movedim(1, -1) if values.dim() == 4 else values  # noqa: PLR2004 - N, C, H, W
        rows = units.reshape(-1, units.shape[-1]).abs()
        position = min(len(rows) - 1, int(QUIET_PERCENTILE * len(rows)))
        if float((rows.sort(dim=0).values[position] < QUIET_UNIT).float().mean()) > QUIET_SHARE:
            self._now.add(Check.QUIET_LAYER)
        if not ACTIVATION_STD[0] <= float(values.std()) <= ACTIVATION_STD[1]:
            self._now.add(Check.ACTIVATION_STD)


def _weights(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.dim() > 1:
            yield name, parameter


def _floats(batch: object) -> Iterator[Tensor]:
    """Give the floating tensors of the inputs: the first part of an (input, target) batch, or all of it."""
    if isinstance(batch, (tuple, list)):
        yield from _floats(batch[0])
    elif isinstance(batch, dict):
        for value in batch.values():
            yield from _floats(value)
    elif isinstance(batch, Tensor) and batch.is_floating_point() and batch.numel():
        yield batch
