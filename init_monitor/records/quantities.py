"""The names everyone speaks: quantities, TensorBoard tags and schema versions. No torch in here."""

from __future__ import annotations

from enum import Enum

PLUGIN_NAME = "init_monitor"
SCHEMA_VERSION = 1
"""Version of the run store, the JSON report and the TensorBoard payload; raised when a reader must change."""


class Quantity(str, Enum):
    """What is measured. The value is the column name in records, in the run store and in TensorBoard tags.

    Plain names are about a layer's output (an activation); ``gradient_*`` is ∂loss/∂activation;
    ``weight_*`` and ``update_ratio`` are about a parameter; ``residual_*`` is about a residual addition. Variances have
    correction 0.
    """

    COUNT = "count"
    MEAN = "mean"
    VARIANCE = "variance"
    MEAN_SQUARE = "mean_square"
    ABS_MAX = "abs_max"
    ZERO_FRACTION = "zero_fraction"
    NONFINITE_COUNT = "nonfinite_count"

    GRADIENT_COUNT = "gradient_count"
    GRADIENT_MEAN = "gradient_mean"
    GRADIENT_VARIANCE = "gradient_variance"
    GRADIENT_MEAN_SQUARE = "gradient_mean_square"
    GRADIENT_ABS_MAX = "gradient_abs_max"
    GRADIENT_ZERO_FRACTION = "gradient_zero_fraction"
    GRADIENT_NONFINITE_COUNT = "gradient_nonfinite_count"

    INPUT_MEAN = "input_mean"
    INPUT_VARIANCE = "input_variance"
    INPUT_MEAN_SQUARE = "input_mean_square"
    INPUT_ABS_MAX = "input_abs_max"
    GAIN = "gain"
    EXPECTED_GAIN = "expected_gain"
    BACKWARD_GAIN = "backward_gain"
    EXPECTED_BACKWARD_GAIN = "expected_backward_gain"

    DEAD_FRACTION = "dead_fraction"
    ALL_POSITIVE_FRACTION = "all_positive_fraction"
    UNIT_COUNT = "unit_count"
    UNIT_SAMPLES = "unit_samples"
    SATURATED_FRACTION = "saturated_fraction"
    BETWEEN_SAMPLE_SHARE = "between_sample_share"

    WEIGHT_COUNT = "weight_count"
    WEIGHT_MEAN = "weight_mean"
    WEIGHT_VARIANCE = "weight_variance"
    WEIGHT_NORM = "weight_norm"
    WEIGHT_NONFINITE_COUNT = "weight_nonfinite_count"
    WEIGHT_UNIT_SPREAD = "weight_unit_spread"
    TRAINABLE = "trainable"
    WEIGHT_GRADIENT_VARIANCE = "weight_gradient_variance"
    WEIGHT_GRADIENT_NORM = "weight_gradient_norm"
    WEIGHT_GRADIENT_NONFINITE_COUNT = "weight_gradient_nonfinite_count"
    UPDATE_RATIO = "update_ratio"

    RESIDUAL_SKIP_VAR = "residual_skip_var"
    RESIDUAL_BRANCH_VAR = "residual_branch_var"
    RESIDUAL_SUM_VAR = "residual_sum_var"
    RESIDUAL_VARIANCE_RATIO = "residual_variance_ratio"
    RESIDUAL_GROWTH = "residual_growth"
    RESIDUAL_COVARIANCE = "residual_covariance"
    RESIDUAL_CORRELATION = "residual_correlation"
    RESIDUAL_SKIP_GRADIENT_VAR = "residual_skip_gradient_var"
    RESIDUAL_BRANCH_GRADIENT_VAR = "residual_branch_gradient_var"
    RESIDUAL_SUM_GRADIENT_VAR = "residual_sum_gradient_var"
    RESIDUAL_BACKWARD_GROWTH = "residual_backward_growth"
    RESIDUAL_LOSS_DECREASE = "residual_loss_decrease"

    def __str__(self) -> str:
        """Return the column name."""
        return self.value


_ORDER = tuple(Quantity)
_PARAMETER_FIRST = _ORDER.index(Quantity.WEIGHT_COUNT)
_RESIDUAL_FIRST = _ORDER.index(Quantity.RESIDUAL_SKIP_VAR)

LAYER_QUANTITIES: tuple[Quantity, ...] = _ORDER[:_PARAMETER_FIRST]
"""Columns of ``StepRecord.columns``: one number per watched layer."""

PARAMETER_QUANTITIES: tuple[Quantity, ...] = _ORDER[_PARAMETER_FIRST:_RESIDUAL_FIRST]
"""Columns of ``StepRecord.parameter_columns``: one number per parameter."""

RESIDUAL_QUANTITIES: tuple[Quantity, ...] = _ORDER[_RESIDUAL_FIRST:]
"""Columns of ``StepRecord.residual_columns``: one number per residual addition."""

LAYER_VECTORS: tuple[Quantity, ...] = (
    Quantity.MEAN,
    Quantity.VARIANCE,
    Quantity.ABS_MAX,
    Quantity.ZERO_FRACTION,
    Quantity.NONFINITE_COUNT,
    Quantity.GRADIENT_VARIANCE,
    Quantity.GRADIENT_ABS_MAX,
    Quantity.GRADIENT_NONFINITE_COUNT,
    Quantity.GAIN,
    Quantity.DEAD_FRACTION,
    Quantity.ALL_POSITIVE_FRACTION,
    Quantity.UNIT_SAMPLES,
    Quantity.SATURATED_FRACTION,
    Quantity.BETWEEN_SAMPLE_SHARE,
)
"""Layer quantities that go to TensorBoard, one float32 vector each per sampled step."""

PARAMETER_VECTORS: tuple[Quantity, ...] = (
    Quantity.WEIGHT_VARIANCE,
    Quantity.WEIGHT_GRADIENT_NORM,
    Quantity.UPDATE_RATIO,
)
"""Parameter quantities that go to TensorBoard, one float32 vector each per sampled step."""

RESIDUAL_VECTORS: tuple[Quantity, ...] = (
    Quantity.RESIDUAL_VARIANCE_RATIO,
    Quantity.RESIDUAL_GROWTH,
    Quantity.RESIDUAL_CORRELATION,
    Quantity.RESIDUAL_SUM_VAR,
    Quantity.RESIDUAL_SUM_GRADIENT_VAR,
    Quantity.RESIDUAL_LOSS_DECREASE,
)
"""Residual quantities that go to TensorBoard, one float32 vector each per sampled step."""

LAYOUT_TAG = f"{PLUGIN_NAME}/layout"
FINDINGS_TAG = f"{PLUGIN_NAME}/findings"


def vector_tag(quantity: Quantity) -> str:
    """Return the TensorBoard tag of a quantity's vector.

    >>> vector_tag(Quantity.VARIANCE)
    'init_monitor/variance'
    """
    return f"{PLUGIN_NAME}/{quantity}"


def scalar_tag(quantity: Quantity, statistic: str) -> str:
    """Return the tag of one summary scalar, for instance the median over depth.

    >>> scalar_tag(Quantity.VARIANCE, "median")
    'init_monitor_summary/variance/median'
    """
    return f"{PLUGIN_NAME}_summary/{quantity}/{statistic}"
