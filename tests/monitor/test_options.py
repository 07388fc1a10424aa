"""What the options accept beyond the obvious."""

from __future__ import annotations

from collections import UserList

import pytest

from init_monitor import DEFAULT_RULES, InitMonitor
from init_monitor.errors import OptionError
from init_monitor.options import Options
from init_monitor.rules import DeadReLU


def test_no_rules_given_are_the_default_ones() -> None:
    assert Options().chosen_rules == Options(rules=None).chosen_rules == DEFAULT_RULES
    assert Options().settings()["rules"] == [rule.code for rule in DEFAULT_RULES]
    assert Options(rules=[DeadReLU()]).chosen_rules == (DeadReLU(),)
    assert Options(rules=()).chosen_rules == ()


def test_any_sequence_is_one_also_that_of_a_configuration_library() -> None:
    class ListConfig(UserList[str]):
        """As Hydra's: a mutable sequence that is no list."""

    options = Options(include=ListConfig(["net.*"]), rules=UserList([DeadReLU()]))
    assert list(options.include or ()) == ["net.*"]
    assert options.chosen_rules == (DeadReLU(),)
    InitMonitor(exclude=ListConfig(["head"]))
    with pytest.raises(OptionError, match="include must be None, an fnmatch pattern or a sequence of patterns"):
        Options(include=UserList([1]))  # type: ignore[list-item]
