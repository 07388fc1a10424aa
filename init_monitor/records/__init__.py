"""The frozen records that all packages exchange: what was measured, found, and built."""

from __future__ import annotations

from init_monitor.records.attention import Attention as Attention
from init_monitor.records.entries import (
    LayerRecord as LayerRecord,
    Moments as Moments,
    ParameterRecord as ParameterRecord,
    ResidualRecord as ResidualRecord,
    Units as Units,
)
from init_monitor.records.facts import (
    Cell as Cell,
    Column as Column,
    Facts as Facts,
    Form as Form,
    Group as Group,
    Heading as Heading,
    Of as Of,
    Page as Page,
)
from init_monitor.records.finding import (
    TAKEN_BACK as TAKEN_BACK,
    Figure as Figure,
    Finding as Finding,
    Severity as Severity,
    settled as settled,
)
from init_monitor.records.history import History as History
from init_monitor.records.layer import (
    INPUT as INPUT,
    PARAMETER as PARAMETER,
    Layer as Layer,
    Residual as Residual,
    Role as Role,
)
from init_monitor.records.losses import LossCurve as LossCurve, LossStretch as LossStretch
from init_monitor.records.registry import register as register, unregister as unregister
from init_monitor.records.step import StepRecord as StepRecord
from init_monitor.records.structure import Structure as Structure
from init_monitor.records.table import Table as Table
