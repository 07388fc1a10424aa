"""Rules: each judges the window of records for one phenomenon. Nothing in here measures or prints.

A rule of your own is an object with ``code``, ``name`` and ``judge(history)``; pass it along with the others::

    InitMonitor(rules=(*DEFAULT_RULES, MyRule()))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.rules.attention_logits import AttentionLogits as AttentionLogits
from init_monitor.rules.dead_relu import DeadReLU as DeadReLU
from init_monitor.rules.degenerate_layer import DegenerateLayer as DegenerateLayer
from init_monitor.rules.exploding_activations import ExplodingActivations as ExplodingActivations
from init_monitor.rules.exploding_gradients import ExplodingGradients as ExplodingGradients
from init_monitor.rules.init_mismatch import InitMismatch as InitMismatch
from init_monitor.rules.input_scale import InputScale as InputScale
from init_monitor.rules.linear_regime import LinearRegime as LinearRegime
from init_monitor.rules.loss_divergence import LossDivergence as LossDivergence
from init_monitor.rules.loss_plateau import LossPlateau as LossPlateau
from init_monitor.rules.no_gradient import NoGradient as NoGradient
from init_monitor.rules.non_finite import NonFinite as NonFinite
from init_monitor.rules.output_scale import OutputScale as OutputScale
from init_monitor.rules.residual_growth import ResidualGrowth as ResidualGrowth
from init_monitor.rules.sample_collapse import SampleCollapse as SampleCollapse
from init_monitor.rules.saturation import Saturation as Saturation
from init_monitor.rules.silent_branch import SilentBranch as SilentBranch
from init_monitor.rules.standstill import Standstill as Standstill
from init_monitor.rules.symmetry import Symmetry as Symmetry
from init_monitor.rules.unused_rows import UnusedRows as UnusedRows
from init_monitor.rules.update_ratio import UpdateRatio as UpdateRatio
from init_monitor.rules.vanishing_activations import VanishingActivations as VanishingActivations
from init_monitor.rules.vanishing_gradients import VanishingGradients as VanishingGradients

if TYPE_CHECKING:
    from init_monitor.rules.rule import Rule

DEFAULT_RULES: tuple[Rule, ...] = (
    ExplodingActivations(),
    VanishingActivations(),
    ExplodingGradients(),
    VanishingGradients(),
    DeadReLU(),
    LinearRegime(),
    Saturation(),
    AttentionLogits(),
    ResidualGrowth(),
    SilentBranch(),
    Symmetry(),
    InitMismatch(),
    DegenerateLayer(),
    NonFinite(),
    NoGradient(),
    UpdateRatio(),
    Standstill(),
    InputScale(),
    SampleCollapse(),
    OutputScale(),
    UnusedRows(),
    LossPlateau(),
    LossDivergence(),
)
"""The rules that run when nothing else is asked for, in the order of their codes."""
