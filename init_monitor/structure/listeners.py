"""Whom the probe tells what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from init_monitor.structure.attention import AttentionListener
    from init_monitor.structure.ends import EndListener
    from init_monitor.structure.sites import ActivationSite, MixingSite, ResidualSite

    OnResidual = Callable[[ResidualSite, Tensor, Tensor, Tensor], object]
    OnActivation = Callable[[ActivationSite, Tensor | None, Tensor], object]
    OnMixing = Callable[[MixingSite, Tensor, Tensor], object]
    OnLoss = Callable[[str], object]
    OnUnknown = Callable[[str, str, str], object]


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom to tell what is found: see :class:`init_monitor.structure.probe.Probe`."""

    on_residual: OnResidual | None = None
    on_activation: OnActivation | None = None
    on_mixing: OnMixing | None = None
    on_loss: OnLoss | None = None
    on_unknown: OnUnknown | None = None
    on_attention: AttentionListener | None = None
    on_ends: EndListener | None = None
