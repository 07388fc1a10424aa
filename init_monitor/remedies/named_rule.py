"""What a finding takes from the rule that it is of; a rule has thresholds of its own besides, which those ask for who read them."""

from __future__ import annotations

from typing import Protocol


class NamedRule(Protocol):
    """Has a name and a code."""

    @property
    def name(self) -> str:
        """As in ``"dead-relu"``."""

    @property
    def code(self) -> str:
        """As in ``"IM301"``."""


class CitedRule(NamedRule, Protocol):
    """Has a source as well."""

    @property
    def source(self) -> str:
        """Where its knowledge is from."""
