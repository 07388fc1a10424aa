"""Recurrent layers: how many gates each keeps in one parameter."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

GATES: Mapping[str, int] = MappingProxyType({"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3, "RNN": 1, "RNNCell": 1})
"""By class name in ``torch.nn``: the gates whose weights are stacked in one parameter."""
