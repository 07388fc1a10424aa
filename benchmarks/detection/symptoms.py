"""Which rules name a fault rightly, by kind of fault; fixed before the monitor was run on any case."""

from __future__ import annotations

TOO_LARGE = frozenset({"IM101", "IM201", "IM502"})
"""Weights far too large: what grows forward or backward, and the weights themselves."""

SATURATING = TOO_LARGE | {"IM303"}
"""The same where something bounded follows."""

SATURATING_STREAM = SATURATING | {"IM401"}
"""The same where attention or a gate saturates, and where branches are added to a stream."""

TOO_SMALL = frozenset({"IM102", "IM202", "IM502"})

NO_DIFFERENCE = frozenset({"IM501", "IM502"})
"""Units that are the same: the symmetry, or weights without any variance."""

NOTHING = frozenset({"IM501", "IM502", "IM102", "IM202", "IM602"})
"""All weights zero: no symmetry broken, no signal, no gradient."""

RATE_TOO_HIGH = frozenset({"IM603", "IM101", "IM201", "IM601"})
RATE_TOO_HIGH_BEFORE_RELU = RATE_TOO_HIGH | {"IM301"}
"""One huge step may leave rectifiers dead."""

RATE_TOO_LOW = frozenset({"IM603"})
GRADIENT_TOO_SMALL = frozenset({"IM603", "IM202"})
CUT_OFF = frozenset({"IM602"})
