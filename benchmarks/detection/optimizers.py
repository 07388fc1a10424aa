"""An optimizer that torch does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable


class SignMomentum(torch.optim.Optimizer):
    """Steps by the sign of a momentum, so that every element moves by the learning rate (Lion, Chen et al. 2023).

    Args:
        parameters: what to train.
        lr: by how much every element moves.
        betas: weight of the momentum in the step, and its memory.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # noqa: ANN401 - torch's signature
        """Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            now, memory = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                parameter.sub_(group["lr"] * torch.lerp(parameter.grad, momentum, now).sign())
                momentum.lerp_(parameter.grad, 1 - memory)
        return loss
