"""The options of a monitor, checked once, before anything is attached."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from init_monitor.errors import OptionError
from init_monitor.rules import DEFAULT_RULES
from init_monitor.rules.rule import Rule
from init_monitor.sinks.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    Choice = TypeVar("Choice", bound=Enum)


class Measure(str, Enum):
    """How much of each tensor is read."""

    EXACT = "exact"
    STAGED = "staged"


class OnCritical(str, Enum):
    """What a critical finding does to the training."""

    WARN = "warn"
    STOP = "stop"
    RAISE = "raise"


@dataclass(frozen=True, slots=True)
class Options:
    """What :class:`init_monitor.InitMonitor`, :func:`init_monitor.watch` and :func:`init_monitor.check` accept.

    Attributes:
        every_n_steps: after the dense start, one optimizer step in this many is sampled; at least 1. A sampled step takes 1.1 to
            1.4 times as long on a CPU (with the compiled kernel), so one in 50 adds less than 1 %.
        measure: ``"exact"`` reads every element; ``"staged"`` reads an even sample of 4,096 per tensor, which is
            cheap enough for every step but gives no unit categories, and no exact extremes and non-finite counts.
        dense_steps: the first optimizer steps are all sampled, at least 0.
        include: fnmatch pattern or patterns; only layers whose name matches one are watched.
        exclude: fnmatch pattern or patterns; layers whose name matches one are not watched.
        rules: what judges the records; ``None`` for the default rules.
        sinks: where records and findings go; ``None`` for the console, every logger and the run store.
        on_critical: ``"warn"``, ``"stop"`` (the training ends after the step) or ``"raise"``.
        per_layer_scalars: one TensorBoard scalar tag per layer and quantity.
        max_layers: how many layers (and calls of layers) are watched at most; at least 1.
        window: records kept for judging, and the longest look-back of unit categories, in sampled steps.
        strict: raise what fails inside the monitor instead of switching it off with a warning.
        verbose: print every layer and all that a finding knows, where ``sinks`` is ``None``.

    Raises:
        OptionError: if a value cannot be used.
    """

    every_n_steps: int = 50
    measure: Literal["exact", "staged"] = "exact"
    dense_steps: int = 10
    include: str | Sequence[str] | None = None
    exclude: str | Sequence[str] | None = None
    rules: Sequence[Rule] | None = None
    sinks: Sequence[Sink] | None = None
    on_critical: Literal["warn", "stop", "raise"] = "warn"
    per_layer_scalars: bool = False
    max_layers: int = 512
    window: int = 256
    strict: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("include", "exclude", "rules", "sinks"):
            object.__setattr__(self, name, _without_omegaconf(getattr(self, name)))
        for name, least in (("every_n_steps", 1), ("dense_steps", 0), ("max_layers", 1), ("window", 1)):
            _check_whole(name, getattr(self, name), least)
        _check_choice("measure", self.measure, Measure)
        _check_choice("on_critical", self.on_critical, OnCritical)
        for name in ("include", "exclude"):
            _check_patterns(name, getattr(self, name))
        for name in ("per_layer_scalars", "strict", "verbose"):
            if not isinstance(getattr(self, name), bool):
                _refuse(name, "True or False", getattr(self, name))
        if self.rules is not None:
            _check_all("rules", self.rules, Rule, "code, name and judge(history)")
        if self.sinks is not None:
            _check_all("sinks", self.sinks, Sink, "open(run), emit(record, findings, structure) and close()")

    @classmethod
    def of(cls, caller: str, given: dict[str, Any]) -> Options:
        """Make options of keyword arguments, with an error that names the nearest option for an unknown one.

        Raises:
            TypeError: for an argument that does not exist.
            OptionError: for a value that cannot be used.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                message = f"{caller} got an unknown option {name!r}.{meant} It takes: {', '.join(known)}."
                raise TypeError(message)
        return cls(**given)

    @property
    def chosen_rules(self) -> tuple[Rule, ...]:
        """The rules that judge: those given, or the default ones."""
        return DEFAULT_RULES if self.rules is None else tuple(self.rules)

    def settings(self) -> dict[str, object]:
        """Return the options as JSON values, for the run store and the report."""
        plain: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "rules":
                value = [rule.code for rule in self.chosen_rules]
            elif field.name == "sinks":
                value = None if value is None else [type(sink).__name__ for sink in value]
            elif isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, str):
                value = [*value] if isinstance(value, Sequence) else sorted(value)
            plain[field.name] = value
        return plain


def _without_omegaconf(value: Any) -> Any:  # noqa: ANN401 - any list of a configuration
    """Return a list of Hydra's as a list of Python's: in its own, a rule (a dataclass) is no rule but its fields."""
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is not None and isinstance(value, omegaconf.ListConfig):
        return omegaconf.OmegaConf.to_object(value)
    return value


def _refuse(name: str, expected: str, got: object) -> None:
    message = f"{name} must be {expected}, got {got!r}."
    raise OptionError(message)


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        _refuse(name, f"a whole number of at least {least}", value)


def _check_choice(name: str, value: object, choices: type[Enum]) -> None:
    allowed = [choice.value for choice in choices]
    if value not in allowed:
        _refuse(name, " or ".join(f'"{choice}"' for choice in allowed), value)


def _check_patterns(name: str, value: object) -> None:
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, (Sequence, set, frozenset)) or not all(isinstance(item, str) for item in value):
        _refuse(name, "None, an fnmatch pattern or a sequence of patterns", value)


def _check_all(name: str, values: Iterable[object], protocol: type, members: str) -> None:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        _refuse(name, f"a sequence of objects with {members}", values)
    for value in values:
        if isinstance(value, type) or not isinstance(value, protocol):
            _refuse(name, f"a sequence of objects with {members}", value)
