"""What is measured: the one table of quantities, with everything that is known about each. No torch in here.

Titles, table columns, event tags, summary scalars, the list of the tab, the dashboard and ``docs/measures.md`` are made
from it. Another quantity is another entry here, or, from outside the package, a call of
:func:`~init_monitor.records.registry.register`.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from init_monitor.records import head_facts, residual_facts, table_facts
from init_monitor.records.facts import Cell, Facts, Form, Group, Heading, Of, Page, Stream
from init_monitor.records.tags import FINDINGS_TAG, LAYOUT_TAG, PLUGIN_NAME, SCHEMA_VERSION, scalar_tag, vector_tag

if TYPE_CHECKING:
    from typing_extensions import Self

# fmt: off
__all__ = [
    "FINDINGS_TAG", "HEAD_QUANTITIES", "HEAD_VECTORS", "LAYER_QUANTITIES", "LAYER_VECTORS", "LAYOUT_TAG", "PARAMETER_QUANTITIES", "PARAMETER_VECTORS",
    "PLUGIN_NAME", "RESIDUAL_QUANTITIES", "RESIDUAL_VECTORS", "SCHEMA_VERSION", "Quantity", "scalar_tag", "vector_tag",
]
# fmt: on

_NOTHING = Facts(of=Of.LAYER, title="", means="")
added: dict[str, Quantity] = {}
"""Quantities from outside, by name; :mod:`init_monitor.records.registry` keeps them."""


class Quantity(str, Enum):
    """What is measured. The value is the column name in records, in the run store and in TensorBoard tags.

    Plain names are about a layer's output (an activation); ``gradient_*`` is ∂loss/∂activation;
    ``weight_*`` and ``update_ratio`` are about a parameter; ``residual_*`` is about a residual addition, ``attention_*`` about
    a head of an attention. Variances have correction 0.
    """

    facts: Facts
    _value_: str

    def __new__(cls, name: str, facts: Facts = _NOTHING) -> Self:
        """Make a member from its name and what is known about it."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.facts = facts
        return member

    @classmethod
    def _missing_(cls, value: object) -> Quantity | None:
        return added.get(str(value))

    def __str__(self) -> str:
        """Return the column name."""
        return str.__str__(self)

    # Three or four lines per entry, so that the table can be read at a glance.
    # fmt: off

    COUNT = "count", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.OUTPUT, moment="count", title="Elements", unit="elements",
        form=Form.COUNT, means="finite elements",
    )
    MEAN = "mean", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.OUTPUT, moment="mean", title="Mean", short="mean",
        unit="of the activation", form=Form.SIGNED, means="E[x]", explains="Mean of each layer's output.", centre=0.0,
        heading=Heading("mean", gives_way=1), in_events=True,
    )
    VARIANCE = "variance", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.OUTPUT, moment="variance", title="Forward variance",
        short="variance", unit="the activation's, squared", means="E[(x − E[x])²], correction 0",
        explains="Variance of each layer's output. It should stay level over depth, neither vanish nor explode.", centre=1.0,
        guides=((1.0, "unit variance"),), summary=("log10_min", "log10_median", "log10_max"),
        pages=(Page.OVERVIEW, Page.PROPAGATION), picture="Forward: variance of outputs",
        chart=("Signal", "Variance over depth (log10)"), heading=Heading("std", Cell.ROOT, gives_way=0),
        in_events=True, compared="variance",
    )
    MEAN_SQUARE = "mean_square", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.OUTPUT, moment="mean_square", title="Mean square",
        unit="the activation's, squared", means="E[x²]; not the variance: after a ReLU the mean is not 0",
    )
    ABS_MAX = "abs_max", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.OUTPUT, moment="abs_max", title="Largest magnitude",
        short="max |x|", unit="of the activation", means="largest |x|",
        explains="Largest absolute value of a layer's output; float16 ends at 65,504.", summary=("max",),
        heading=Heading("max |x|", gives_way=2), in_events=True,
    )
    ZERO_FRACTION = "zero_fraction", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.OUTPUT, moment="zero_fraction", title="Zeros", short="zeros",
        form=Form.SHARE, means="share of exact zeros among the elements",
        explains="Share of elements that are exactly 0. About half after a healthy ReLU; says nothing about dead units.",
        in_events=True,
    )
    NONFINITE_COUNT = "nonfinite_count", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.OUTPUT, moment="nonfinite_count", title="Non-finite outputs",
        short="non-finite", unit="elements", form=Form.COUNT, means="NaN and ±Inf",
        explains="NaN and infinite elements of a layer's output.", healthy=(0.0, 0.0), summary=("max",),
        keeps_largest=True, in_events=True,
    )
    GRADIENT_COUNT = "gradient_count", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.GRADIENT, moment="count", title="Gradient elements",
        unit="elements", form=Form.COUNT, means="finite elements of ∂loss/∂x",
    )
    GRADIENT_MEAN = "gradient_mean", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.GRADIENT, moment="mean", title="Gradient mean",
        unit="of the gradient", form=Form.SIGNED, means="E[∂loss/∂x]", centre=0.0,
    )
    GRADIENT_VARIANCE = "gradient_variance", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.GRADIENT, moment="variance", title="Gradient variance",
        short="gradient", unit="the gradient's, squared", means="variance of ∂loss/∂x, correction 0",
        explains="Variance of ∂loss/∂output. Its level depends on the loss; how it changes over depth is what counts.",
        summary=("log10_min", "log10_median", "log10_max"), pages=(Page.OVERVIEW, Page.PROPAGATION),
        absent="No gradient has reached a layer yet: gradients are measured from the first training step on.",
        picture="Backward: variance of gradients",
        chart=("Signal", "Gradient variance over depth (log10)"), heading=Heading("grad std", Cell.ROOT, gives_way=4),
        in_events=True, compared="gradient variance",
    )
    GRADIENT_MEAN_SQUARE = "gradient_mean_square", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.GRADIENT, moment="mean_square", title="Gradient mean square",
        unit="the gradient's, squared", means="E[(∂loss/∂x)²]",
    )
    GRADIENT_ABS_MAX = "gradient_abs_max", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.GRADIENT, moment="abs_max", title="Largest gradient",
        short="max |gradient|", unit="of the gradient", means="largest |∂loss/∂x|",
        explains="Largest absolute value of ∂loss/∂output.", summary=("max",), in_events=True,
    )
    GRADIENT_ZERO_FRACTION = "gradient_zero_fraction", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.GRADIENT, moment="zero_fraction", title="Gradient zeros",
        form=Form.SHARE, means="share of exact zeros in ∂loss/∂x",
    )
    GRADIENT_NONFINITE_COUNT = "gradient_nonfinite_count", Facts(
        of=Of.LAYER, group=Group.SIGNAL, stream=Stream.GRADIENT, moment="nonfinite_count",
        title="Non-finite gradients", short="non-finite gradient", unit="elements", form=Form.COUNT,
        means="NaN and ±Inf in ∂loss/∂x", explains="NaN and infinite elements of ∂loss/∂output.", healthy=(0.0, 0.0),
        summary=("max",), keeps_largest=True, in_events=True,
    )
    INPUT_MEAN = "input_mean", Facts(
        of=Of.LAYER, group=Group.GAIN, stream=Stream.INPUT, moment="mean", title="Input mean", unit="of the input",
        form=Form.SIGNED, means="E[x] of what a weight layer receives",
    )
    INPUT_VARIANCE = "input_variance", Facts(
        of=Of.LAYER, group=Group.GAIN, stream=Stream.INPUT, moment="variance", title="Input variance",
        unit="the input's, squared", means="variance of what a weight layer receives",
    )
    INPUT_MEAN_SQUARE = "input_mean_square", Facts(
        of=Of.LAYER, group=Group.GAIN, stream=Stream.INPUT, moment="mean_square", title="Input mean square",
        unit="the input's, squared", means="E[x²] of what a weight layer receives",
    )
    INPUT_ABS_MAX = "input_abs_max", Facts(
        of=Of.LAYER, group=Group.GAIN, stream=Stream.INPUT, moment="abs_max", title="Largest input",
        unit="of the input", means="largest |x| of what a weight layer receives",
    )
    GAIN = "gain", Facts(
        of=Of.LAYER, group=Group.GAIN, title="Local gain", short="gain", means="Var(out) / E[in²] of one layer",
        explains="Var(output)/E[input²] of one layer: shows which layer changes the variance.", centre=1.0,
        summary=("median",), in_events=True,
    )
    EXPECTED_GAIN = "expected_gain", Facts(
        of=Of.LAYER, group=Group.GAIN, title="Expected gain", means="fan_in · Var(W): what zero-mean weights give",
    )
    BACKWARD_GAIN = "backward_gain", Facts(
        of=Of.LAYER, group=Group.GAIN, title="Backward gain", means="Var(∂loss/∂in) / E[(∂loss/∂out)²]",
    )
    EXPECTED_BACKWARD_GAIN = "expected_backward_gain", Facts(
        of=Of.LAYER, group=Group.GAIN, title="Expected backward gain", means="fan_out · Var(W)",
    )
    DEAD_FRACTION = "dead_fraction", Facts(
        of=Of.LAYER, group=Group.UNITS, title="Dead units", short="dead", form=Form.SHARE,
        means="units whose pre-activation was never positive",
        explains="Share of a rectifier's units that were never positive on any sample seen.", summary=("max",),
        pages=(Page.OVERVIEW,),
        absent="This network has no rectifier, or too few samples were seen to call a unit dead.",
        chart=("Units", "Most dead units in a layer"), heading=Heading("dead %", Cell.PERCENT, gives_way=3),
        in_events=True, compared="dead share",
    )
    DEAD_AT_LEAST = "dead_at_least", Facts(
        of=Of.LAYER, group=Group.UNITS, title="Dead units, at least", form=Form.SHARE,
        means="share of units that are dead with 95 % confidence, whatever rare ones may yet fire: from how many units fell "
        "silent between the two halves of the window",
    )
    ALL_POSITIVE_FRACTION = "all_positive_fraction", Facts(
        of=Of.LAYER, group=Group.UNITS, title="All-positive units", short="all positive", form=Form.SHARE,
        means="units whose pre-activation was always positive",
        explains="Share of a rectifier's units that were positive on every sample: to them it is the identity.",
        in_events=True,
    )
    UNIT_COUNT = "unit_count", Facts(
        of=Of.LAYER, group=Group.UNITS, title="Units", unit="units", form=Form.COUNT, means="units of the rectifier",
    )
    UNIT_SAMPLES = "unit_samples", Facts(
        of=Of.LAYER, group=Group.UNITS, title="Positions per unit", short="positions per unit", unit="positions",
        form=Form.COUNT, means="positions per unit behind the claim",
        explains="Samples and positions over which dead and always positive units were counted. Few positions say little.",
        healthy=(1000.0, math.inf), in_events=True,
    )
    SATURATED_FRACTION = "saturated_fraction", Facts(
        of=Of.LAYER, group=Group.LAYER, title="Saturation", short="saturated", form=Form.SHARE,
        means="elements of a bounded activation beyond its knee (derivative below 5 % of its largest)",
        explains="Share of elements beyond the knee of a bounded activation.", summary=("max",),
        chart=("Units", "Most saturation in a layer"), in_events=True,
    )
    BETWEEN_SAMPLE_SHARE = "between_sample_share", Facts(
        of=Of.LAYER, group=Group.LAYER, title="Between-sample share", short="between samples", form=Form.SHARE,
        means="variance between the samples' mean signals over the total: 0 if all samples look the same",
        explains="Share of the variance that lies between samples. Near 0 the layer gives the same output for every input.",
        summary=("min",), in_events=True,
    )
    POSITION_SHARE = "position_share", Facts(
        of=Of.LAYER, group=Group.LAYER, title="Share between positions", short="between positions", form=Form.SHARE,
        means="variance between the positions (tokens, pixels, nodes) of one sample over the total: 0 if they all look the same",
    )
    LOG_PARTITION = "log_partition", Facts(
        of=Of.LAYER, group=Group.LAYER, title="log Z", short="log Z", form=Form.SIGNED,
        means="ln Σ exp(logits) of the logits that a cross entropy gets, in the watched model or of its output, mean over (at most 128) rows; ln C where all C are 0",
        explains="ln Σ exp(logits) of the network's output. The loss does not hold it: where it drifts off, logits are rounded coarsely.",
        summary=("median",), in_events=True,
    )
    WEIGHT_COUNT = "weight_count", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT, moment="count", title="Weights", unit="elements",
        form=Form.COUNT, means="finite elements of a parameter",
    )
    WEIGHT_MEAN = "weight_mean", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT, moment="mean", title="Weight mean",
        unit="of the weight", form=Form.SIGNED, means="E[w], before the step", centre=0.0,
    )
    WEIGHT_VARIANCE = "weight_variance", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT, moment="variance", title="Weight variance",
        short="weight variance", unit="the weight's, squared", means="Var(w), before the step",
        explains="Variance of each parameter.", in_events=True,
    )
    WEIGHT_NORM = "weight_norm", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT, moment="norm", title="Weight norm",
        unit="of the weight", means="‖w‖, Euclidean, before the step",
    )
    WEIGHT_NONFINITE_COUNT = "weight_nonfinite_count", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT, moment="nonfinite_count",
        title="Non-finite weights", unit="elements", form=Form.COUNT, means="NaN and ±Inf in a parameter",
        healthy=(0.0, 0.0),
    )
    WEIGHT_UNIT_SPREAD = "weight_unit_spread", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, title="Unit spread",
        means="how unlike the units of a weight are: the variance over (up to 256) units of a fixed ±1 combination of "
        "their incoming weights, over fan_in · E[w²]; about 1 for random weights, 0 if all units are the same",
    )
    TRAINABLE = "trainable", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, title="Trainable", form=Form.COUNT,
        means="1 if a parameter requires a gradient, else 0",
    )
    WEIGHT_GRADIENT_VARIANCE = "weight_gradient_variance", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT_GRADIENT, moment="variance",
        title="Weight gradient variance", unit="the weight gradient's, squared",
        means="variance of ∂loss/∂w as the optimizer gets it, before clipping",
    )
    WEIGHT_GRADIENT_NORM = "weight_gradient_norm", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT_GRADIENT, moment="norm",
        title="Weight gradient norm", short="‖weight gradient‖", unit="of the weight gradient",
        means="‖∂loss/∂w‖ as the optimizer gets it, before clipping",
        explains="Euclidean norm of ∂loss/∂weight, as the optimizer received it.",
        summary=("log10_min", "log10_median", "log10_max"), in_events=True,
    )
    WEIGHT_GRADIENT_NONFINITE_COUNT = "weight_gradient_nonfinite_count", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, stream=Stream.WEIGHT_GRADIENT, moment="nonfinite_count",
        title="Non-finite weight gradients", unit="elements", form=Form.COUNT, means="NaN and ±Inf in ∂loss/∂w",
        healthy=(0.0, 0.0),
    )
    WEIGHT_ROWS_USED = "weight_rows_used", table_facts.USED
    WEIGHT_ROWS = "weight_rows", table_facts.COUNT
    WEIGHT_ROW_FIRST = "weight_row_first", table_facts.FIRST
    WEIGHT_ROW_LAST = "weight_row_last", table_facts.LAST
    WEIGHT_ROWS_IN_ORDER = "weight_rows_in_order", table_facts.IN_ORDER
    WEIGHT_PADDING_ALONE = "weight_padding_alone", table_facts.PADDING_ALONE
    UPDATE_RATIO = "update_ratio", Facts(
        of=Of.PARAMETER, group=Group.PARAMETER, title="Update ratio", short="update",
        means="‖Δw‖/‖w‖, measured around the optimizer's step (on an even sample of 65,536 elements of all parameters "
        "together, at least 256 of each)",
        explains="‖Δw‖/‖w‖ of each weight in one optimizer step. About 10⁻³ is common; far below, nothing is learned.",
        healthy=(0.0001, 0.1), centre=0.001, summary=("log10_min", "log10_median", "log10_max"),
        pages=(Page.OVERVIEW,), absent="No optimizer step was measured yet.", chart=("Signal", "Update ratio (log10)"),
        in_events=True, compared="update ratio",
    )
    RESIDUAL_VARIANCE_RATIO = "residual_variance_ratio", residual_facts.VARIANCE_RATIO
    RESIDUAL_GROWTH = "residual_growth", residual_facts.GROWTH
    RESIDUAL_COVARIANCE = "residual_covariance", residual_facts.COVARIANCE
    RESIDUAL_CORRELATION = "residual_correlation", residual_facts.CORRELATION
    RESIDUAL_BACKWARD_GROWTH = "residual_backward_growth", residual_facts.BACKWARD_GROWTH
    RESIDUAL_SKIP_VAR = "residual_skip_var", residual_facts.SKIP_VAR
    RESIDUAL_BRANCH_VAR = "residual_branch_var", residual_facts.BRANCH_VAR
    RESIDUAL_SUM_VAR = "residual_sum_var", residual_facts.SUM_VAR
    RESIDUAL_SKIP_GRADIENT_VAR = "residual_skip_gradient_var", residual_facts.SKIP_GRADIENT_VAR
    RESIDUAL_BRANCH_GRADIENT_VAR = "residual_branch_gradient_var", residual_facts.BRANCH_GRADIENT_VAR
    RESIDUAL_SUM_GRADIENT_VAR = "residual_sum_gradient_var", residual_facts.SUM_GRADIENT_VAR
    RESIDUAL_LOSS_DECREASE = "residual_loss_decrease", residual_facts.LOSS_DECREASE
    ATTENTION_LOGIT_MAX = "attention_logit_max", head_facts.LOGIT_MAX
    ATTENTION_LOGIT_RMS = "attention_logit_rms", head_facts.LOGIT_RMS
    ATTENTION_ENTROPY = "attention_entropy", head_facts.ENTROPY
    ATTENTION_ONE_PLACE = "attention_one_place", head_facts.ONE_PLACE
    ATTENTION_FIRST = "attention_first", head_facts.FIRST
    ATTENTION_KEYS = "attention_keys", head_facts.KEYS
    ATTENTION_ROWS = "attention_rows", head_facts.ROWS

    # fmt: on


def _of(of: Of, *, in_events: bool = False) -> tuple[Quantity, ...]:
    return tuple(one for one in Quantity if one.facts.of is of and one.facts.in_events >= in_events)


LAYER_QUANTITIES, LAYER_VECTORS = _of(Of.LAYER), _of(Of.LAYER, in_events=True)
PARAMETER_QUANTITIES, PARAMETER_VECTORS = _of(Of.PARAMETER), _of(Of.PARAMETER, in_events=True)
RESIDUAL_QUANTITIES, RESIDUAL_VECTORS = _of(Of.RESIDUAL), _of(Of.RESIDUAL, in_events=True)
HEAD_QUANTITIES, HEAD_VECTORS = _of(Of.HEAD), _of(Of.HEAD, in_events=True)
"""Those of the package. Registered ones are in ``registry.quantities`` and ``registry.vectors`` only."""
