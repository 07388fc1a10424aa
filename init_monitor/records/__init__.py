"""The frozen words that every room of the house speaks: what was measured, found, and built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.records.finding import Figure as Figure, Finding as Finding, Severity as Severity
from init_monitor.records.history import History as History
from init_monitor.records.step import (
    LayerRecord as LayerRecord,
    Moments as Moments,
    ParameterRecord as ParameterRecord,
    ResidualRecord as ResidualRecord,
    StepRecord as StepRecord,
    Units as Units,
)
from init_monitor.records.structure import (
    INPUT as INPUT,
    PARAMETER as PARAMETER,
    Layer as Layer,
    Residual as Residual,
    Role as Role,
    Structure as Structure,
)

if TYPE_CHECKING:
    from init_monitor.records.step import Column as Column
