"""What was measured at one sampled step.

A :class:`StepRecord` keeps its numbers in three tables (one float64 array per quantity, one entry per layer, parameter or
residual addition in execution order), because a window of hundreds of records of hundreds of layers has to stay small.
Reading one layer as an object goes through :attr:`StepRecord.layers`. NaN means *not measured*; it never means healthy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from init_monitor.records.entries import layer_record, parameter_record, residual_record
from init_monitor.records.facts import Of
from init_monitor.records.losses import LossStretch
from init_monitor.records.once import Keeping
from init_monitor.records.table import Rows, Table, known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from init_monitor.records.entries import LayerRecord, ParameterRecord, ResidualRecord
    from init_monitor.records.facts import Column
    from init_monitor.records.quantities import Quantity


@dataclass(frozen=True, eq=False, repr=False)
class StepRecord(Keeping):
    """Everything measured at one sampled optimizer step.

    Attributes:
        step: optimizer step, on the axis the Trainer's loggers use; the first is 0.
        time: seconds since the epoch.
        layer_table: the numbers of the layers, by tap name, in execution order.
        parameter_table: those of the parameters, by qualified name.
        residual_table: those of the residual additions, in execution order.
        head_table: those of the attention heads: all heads of the first attention, then those of the next.
        exact: False if the numbers come from a sample of the elements (``measure="staged"``).
        optimizer: class name of the optimizer that stepped (comma-separated if several), or empty.
        learning_rate: largest learning rate of its parameter groups; NaN if unknown.
        initial_rate: largest of the rates that a schedule multiplies (``initial_lr``); NaN where there is no schedule.
        weight_decay: largest weight decay of them, decoupled or not; NaN if unknown.
        momentum: largest momentum of them (of Adam, the first of its betas); NaN if unknown.
        second_momentum: smallest of Adam's second betas; NaN where there is none.
        loss_scaled: True if a gradient scaler was active (non-finite gradients are then part of its work).
        stepped: False if the optimizer step was seen to change no parameter.
        unoptimized: qualified names of the trainable parameters that no optimizer holds; empty if none is known.
        unstepped: those that have had a gradient, and whose optimizers have not stepped once so far.
        unregistered: where the model holds tensors that get a gradient and that no module registers as a parameter.
        kept_gradients: True if the gradients of the step before were still there, and this step's were added to them.
        weight_dtype: number format in which the optimizer keeps all weights; empty if they differ, or that is not known.
        losses: the training losses of the optimizer steps since the record before, this step included, where known.
        loss_by_optimizer: the parts of this step's loss by optimizer, where several of them step by hand.
        batches_waited: batches since the start of the run in which no optimizer stepped; 0 where one did.
    """

    step: int
    time: float
    layer_table: Table = field(default_factory=Table)
    parameter_table: Table = field(default_factory=Table)
    residual_table: Table = field(default_factory=Table)
    head_table: Table = field(default_factory=Table)
    exact: bool = True
    optimizer: str = ""
    learning_rate: float = math.nan
    initial_rate: float = math.nan
    weight_decay: float = math.nan
    momentum: float = math.nan
    second_momentum: float = math.nan
    loss_scaled: bool = False
    stepped: bool = True
    unoptimized: tuple[str, ...] = ()
    unstepped: tuple[str, ...] = ()
    unregistered: tuple[str, ...] = ()
    kept_gradients: bool = False
    weight_dtype: str = ""
    losses: LossStretch = field(default_factory=LossStretch)
    loss_by_optimizer: Mapping[str, float] = field(default_factory=dict)
    batches_waited: int = 0

    @property
    def loss(self) -> float:
        """The training loss of this step, over the whole effective batch; NaN where it is not known."""
        known = len(self.losses) and self.losses.steps[-1] == self.step
        return float(self.losses.values[-1]) if known else math.nan

    def __post_init__(self) -> None:
        """Add what registered quantities make of the columns."""
        for name, of in (
            ("layer_table", Of.LAYER),
            ("parameter_table", Of.PARAMETER),
            ("residual_table", Of.RESIDUAL),
            ("head_table", Of.HEAD),
        ):
            object.__setattr__(self, name, getattr(self, name).derived(of))

    def table(self, of: Of) -> Table:
        """Return the table of the layers, the parameters, the residual additions or the heads."""
        if of is Of.LAYER:
            return self.layer_table
        if of is Of.HEAD:
            return self.head_table
        return self.parameter_table if of is Of.PARAMETER else self.residual_table

    def column(self, quantity: Quantity | str) -> Column:
        """Return one quantity over all layers (or parameters, or residuals): float64, NaN where not measured."""
        quantity = known(quantity)
        return self.table(quantity.facts.of).column(quantity)

    def __repr__(self) -> str:
        """Say which step it is and how much was measured, in a line."""
        sizes = f"{len(self.names)} layers, {len(self.parameter_names)} parameters, {len(self.residual_names)} residual additions"
        return f"<StepRecord of step {self.step}: {sizes}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Tap names in execution order."""
        return self.layer_table.names

    @property
    def columns(self) -> Mapping[Quantity, Column]:
        """One float64 array per layer quantity, aligned with ``names``; NaN where not measured."""
        return self.layer_table.columns

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Qualified parameter names."""
        return self.parameter_table.names

    @property
    def parameter_columns(self) -> Mapping[Quantity, Column]:
        """One float64 array per parameter quantity, aligned with ``parameter_names``."""
        return self.parameter_table.columns

    @property
    def residual_names(self) -> tuple[str, ...]:
        """Names of the residual additions, in execution order."""
        return self.residual_table.names

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of the attention heads, in execution order."""
        return self.head_table.names

    @property
    def head_columns(self) -> Mapping[Quantity, Column]:
        """One float64 array per head quantity, aligned with ``head_names``."""
        return self.head_table.columns

    @property
    def residual_columns(self) -> Mapping[Quantity, Column]:
        """One float64 array per residual quantity, aligned with ``residual_names``."""
        return self.residual_table.columns

    @property
    def layers(self) -> Mapping[str, LayerRecord]:
        """The layers by tap name, in execution order; one is built when it is asked for."""
        return Rows(self.layer_table, layer_record)

    @property
    def parameters(self) -> Mapping[str, ParameterRecord]:
        """The parameters by qualified name; one is built when it is asked for."""
        return Rows(self.parameter_table, parameter_record)

    @property
    def residuals(self) -> tuple[ResidualRecord, ...]:
        """The residual additions in execution order, built on demand."""
        return tuple(residual_record(self.residual_table, i) for i in range(len(self.residual_names)))

    def __iter__(self) -> Iterator[LayerRecord]:
        """Iterate over the layers in execution order."""
        return (layer_record(self.layer_table, i) for i in range(len(self.names)))
