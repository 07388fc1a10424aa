"""What to do about a network before it trains: a recipe per layer, as a table, as code, or applied."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from init_monitor.capture.single_pass import Rehearsal, rehearse, untouched
from init_monitor.errors import OptionError
from init_monitor.measured_plan import carried_out, needed
from init_monitor.randomness import kept_randomness, rendered
from init_monitor.rate_trial import tried
from init_monitor.recipes.apply import carry_out, code_of
from init_monitor.recipes.assignment import assign
from init_monitor.remedies.phrases import number
from init_monitor.structure.layers import plain_name

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from rich.console import Console, ConsoleOptions, RenderResult
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from typing_extensions import Self

    from init_monitor.rate_trial import Rate
    from init_monitor.records import Structure
    from init_monitor.records.plan import LayerPlan

Style = Literal["measured", "theory"]
MEASURED, THEORY = STYLES = get_args(Style)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class InitPlan:
    """How each layer of a network should be initialised; made by :func:`recommend`. It prints as a table.

    Attributes:
        layers: one plan per layer with weights, in execution order.
        left: qualified names of the parameters that no plan is about: they belong to no layer that ran, or to one that
            no recipe knows. They are left as they are.
        structure: the network as it was executed.
        rate: what the optimizer that was given should train with after the plan, where its own rate is too large for that; ``None``
            where it is not, or none was given.
    """

    layers: tuple[LayerPlan, ...]
    left: tuple[str, ...]
    structure: Structure
    _model: nn.Module = field(repr=False)
    rate: Rate | None = None

    @property
    def misfits(self) -> tuple[LayerPlan, ...]:
        """The layers whose weight variance is off by more than a factor of 1.5."""
        return tuple(plan for plan in self.layers if not plan.fits)

    @property
    def verdict(self) -> str:
        """One sentence: how far the network is from its plan; and one about the learning rate where that has to change."""
        planned = sum(bool(plan.recipe) for plan in self.layers)
        if not planned and any(plan.kept for plan in self.layers):
            return "Every layer that a recipe knows is kept as it is."
        if not planned:
            return "There is no layer that a recipe could initialise."
        off = len(self.misfits)
        return (
            f"{planned - off} of {planned} layers have the weight variance they need"
            f"{'.' if not off else f'; {off} would be changed by more than a factor of 1.5.'}"
            f"{f' {self.rate}' if self.rate else ''}"
        )

    def apply_(self, *, generator: torch.Generator | None = None) -> Self:
        """Initialise the model in place.

        Args:
            generator: source of the random numbers; torch's own state is then left alone.

        Returns:
            This plan, whose ``current_variance`` still is what it was before.
        """
        carry_out(self.layers, self._model, generator)
        return self

    def to_code(self) -> str:
        """Return a function ``initialise(model, generator=None)`` to paste; it needs torch only and draws the same."""
        return code_of(self.layers, self._model)

    @kept_randomness()
    def compare(self, batch: Any, loss_fn: Callable[..., Tensor] | None = None) -> Comparison:  # noqa: ANN401
        """Measure the signal as the network is and as it would be with this plan; the weights stay as they are.

        Args:
            batch: as :func:`recommend` takes it.
            loss_fn: as :func:`recommend` takes it.
        """
        before = rehearse(self._model, batch, loss_fn, caller="compare(batch)")
        with carried_out(self.layers, self._model):
            after = rehearse(self._model, batch, loss_fn, caller="compare(batch)")
        return Comparison(before, after)

    def __len__(self) -> int:
        """Count the layers."""
        return len(self.layers)

    @rendered
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the plan as a table, with a line below that sums it up."""
        from init_monitor.display.plan_table import plan_table  # noqa: PLC0415 - printing only

        yield from plan_table(self.layers, self.left, self.verdict, console, options)

    def __repr__(self) -> str:
        """Say how large it is and how far the network is from it, in a line."""
        return f"InitPlan({len(self)} layers: {self.verdict.rstrip('.')})"

    def _repr_html_(self) -> str:
        """Show the plan in a notebook."""
        return _html(self)

    @kept_randomness()
    def __str__(self) -> str:
        """Return the plan as plain text."""
        return _printed(self)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """The signal before and after a plan, layer by layer. It prints as a table.

    Attributes:
        before: the network as it is.
        after: the network with the plan applied.
    """

    before: Rehearsal
    after: Rehearsal

    def range_of(self, rehearsal: Rehearsal, *, backward: bool = False) -> float:
        """Return the largest variance over depth divided by the smallest; infinite if one is 0, NaN if none is known.

        A layer of a residual branch that is exactly 0 does not count: the skip carries the signal past it.

        Args:
            rehearsal: ``before`` or ``after``.
            backward: of the gradients instead of the activations.
        """
        beside = {name for residual in rehearsal.structure.residuals for name in residual.layers}
        known = [
            moments.variance
            for name, layer in rehearsal.record.layers.items()
            for moments in (layer.backward if backward else layer.forward,)
            if moments is not None and not math.isnan(moments.variance) and (moments.variance or name not in beside)
        ]
        if not known:
            return math.nan
        return max(known) / min(known) if min(known) > 0 else math.inf

    @rendered
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw standard deviations before and after, forward and backward."""
        from init_monitor.display.plan_table import comparison_table  # noqa: PLC0415 - printing only

        yield from comparison_table(self.before.record, self.after.record, console, options)

    def __repr__(self) -> str:
        """Say by how much the signal varies over depth before and after, in a line."""
        before, after = (number(self.range_of(one)) for one in (self.before, self.after))
        return f"Comparison(the variance of the signal ranges over {before}× before and {after}× after)"

    def _repr_html_(self) -> str:
        """Show the comparison in a notebook."""
        return _html(self)

    @kept_randomness()
    def __str__(self) -> str:
        """Return the comparison as plain text."""
        return _printed(self)


@kept_randomness()
def recommend(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None = None,
    *,
    style: Style = "measured",
    optimizer: Optimizer | None = None,
) -> InitPlan:
    """Say which layers of a network should be initialised otherwise, and how and why; nothing is changed.

    The network runs a few times, forward and backward: as it is, to see what follows each layer, where residual branches
    end, what is the output and what is off; and with what is to be changed, to see whether it helps. Weights, gradients,
    buffers, modes and random state are what they were before.

    >>> import torch, init_monitor
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    >>> [layer.recipe for layer in init_monitor.recommend(net, torch.eye(8)).layers]  # healthy as it is
    ['', '']
    >>> plan = init_monitor.recommend(net, torch.eye(8), style="theory")
    >>> [(layer.layer, layer.recipe) for layer in plan.layers]
    [('0', 'he_normal_'), ('2', 'xavier_normal_')]

    Args:
        model: any module; a LightningModule's ``training_step`` is not called, its forward is.
        batch: a tensor, or ``(input, target)``, or a mapping of keyword arguments.
        loss_fn: ``loss_fn(output, target)``, or ``loss_fn(output)`` if the batch has no target; noise stands in for it.

        style: ``"measured"`` keeps every layer that is healthy as it is and changes one only where something measured is
            off and the change is measured to fix it; ``"theory"`` gives each layer the textbook's recipe.
        optimizer: what it will be trained with, if known. A signal that arrives makes gradients larger, and a rate that was tuned for the
            network as it is may be too large: some steps of it are then tried from the new start, and undone (``InitPlan.rate``).

    Raises:
        OptionError: there is no such style, or the optimizer holds no parameter of the model.
        InitMonitorError: the forward returns no floating tensor to back-propagate from, or ``loss_fn`` no single number.
        TypeError: ``model`` is no module.
    """
    if style not in STYLES:
        message = f'recommend(style=…) is "{MEASURED}" or "{THEORY}", got {style!r}.'
        raise OptionError(message)
    seen = rehearse(model, batch, loss_fn, caller="recommend(model, batch)")
    structure = seen.structure
    with untouched(model):  # reading a weight under spectral normalisation moves its buffers
        layers = assign(model, structure)
        if style == MEASURED:
            layers = needed(model, batch, loss_fn, layers, seen)
    changed = [plan for plan in layers if plan.recipe]
    rate = tried(model, batch, loss_fn, changed, optimizer) if optimizer is not None and changed else None
    return InitPlan(layers, _left(model, layers), structure, model, rate)


def _left(model: nn.Module, plans: tuple[LayerPlan, ...]) -> tuple[str, ...]:
    """Return the trainable parameters that belong to no planned layer."""
    planned = {plan.layer for plan in plans if plan.recipe or plan.kept}
    tied = {plan.parameter for plan in plans if not plan.recipe}
    wrapped = hasattr(model, "module")
    names = [plain_name(name, wrapped_root=wrapped) for name, p in model.named_parameters() if p.requires_grad]
    return tuple(
        name
        for name in names
        if name not in tied and not any(name.startswith(f"{layer}.") or not layer for layer in planned)
    )


def _html(what: InitPlan | Comparison) -> str:
    from init_monitor.display.notebook import html_of  # noqa: PLC0415 - printing only

    return html_of(what)


def _printed(what: InitPlan | Comparison) -> str:
    from io import StringIO  # noqa: PLC0415 - printing only

    from rich.console import Console  # noqa: PLC0415

    out = StringIO()
    Console(file=out, width=100, color_system=None, force_terminal=False).print(what)
    return out.getvalue()
