"""One model under observation: attach, accumulate on the device, drain once, detach."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from init_monitor.capture.addresses import addresses_of
from init_monitor.capture.attention import attentions_of, head_columns
from init_monitor.capture.directory import Directory
from init_monitor.capture.ends import log_partitions, rows_looked_up
from init_monitor.capture.executions import execution_of, share_of, step_of_all, ties
from init_monitor.capture.forward_probe import ForwardProbe
from init_monitor.capture.hooks import LayerHooks
from init_monitor.capture.left_out import LeftOut
from init_monitor.capture.measured import Measured
from init_monitor.capture.parameters import ParameterTaps
from init_monitor.capture.reader import Reader
from init_monitor.capture.reading import (
    expected_gains,
    layer_columns,
    parameter_columns,
    parameters_moved,
    structure_of,
    tap_names,
)
from init_monitor.capture.residual import loss_decrease, residual_columns, residuals_of
from init_monitor.capture.sign_looks import SignLooks
from init_monitor.capture.tensors import DEEPEST, TOO_DEEP
from init_monitor.capture.unit_window import UnitWindow
from init_monitor.records import StepRecord, Structure, Table
from init_monitor.records.quantities import Quantity
from init_monitor.structure.layers import plain_name, select
from init_monitor.structure.module_facts import with_module_facts
from init_monitor.torch_compat import is_compiled, piece_ids, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from init_monitor.capture.attention import AttentionTap
    from init_monitor.capture.executions import Execution
    from init_monitor.capture.heard import Heard
    from init_monitor.capture.outer_loss import OuterLoss
    from init_monitor.capture.residual import ResidualTap
    from init_monitor.capture.scope import Scope
    from init_monitor.capture.share import Share
    from init_monitor.capture.step_facts import StepFacts
    from init_monitor.capture.taps import Tap, TapKey


_NO_CALL = (
    "no layer of this {} was seen to be called in a measured step, so there is nothing to judge. A program that was made"
    " by torch.export, scripted or compiled ahead of time calls functions in the place of modules: watch the model that it"
    " was made from."
)


class Capture:
    """Measures the sampled steps of one model; between them the model carries no hook.

    Args:
        model: the module to watch.
        scope: what of it to measure.
        on_failure: told ``(layer name, error)`` when measuring a layer failed and was stopped.
        on_cause: told in words why residuals and functional activations are not looked for (any more).
        on_notice: told in words what cannot be measured.

    Attributes:
        notices: what the user should know about the choice of layers.
        structure: the network as it was executed at the last sampled step.
        model: what is watched.
        looks, left_out: at the signs of rectifiers between the sampled steps; what gets a gradient and does not learn.
    """

    def __init__(
        self,
        model: nn.Module,
        scope: Scope,
        on_failure: Callable[[str, Exception], None],
        on_cause: Callable[[str], None] = lambda _: None,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Choose the layers; nothing is attached yet."""
        selection = select(model, scope.include, scope.exclude, scope.max_layers)
        self.notices = selection.notices
        self.model = model
        self._sharded = any(map(_is_sharded, model.parameters()))
        self._pieces = self._present_pieces()
        self.structure = Structure()
        self._scope = scope
        self._hooks = LayerHooks(
            model,
            selection.layers,
            exact=scope.exact,
            max_taps=scope.max_layers,
            on_failure=on_failure,
            on_unreadable=self._unreadable,
        )
        named: dict[str, Tensor] = {plain_name(name): p for name, p in model.named_parameters()}
        self._parameter_names = {id(parameter): name for name, parameter in named.items()}
        self._parameters = ParameterTaps(named, self._hooks.accumulator, self._unreadable)
        self.left_out, accepts = LeftOut(model, named), selection.accepts
        self._probe = ForwardProbe(model, self._hooks, accepts, on_cause, on_notice, names=self._parameter_names)
        self._probe.on_leaves = self.left_out.note_leaves
        self.looks = SignLooks(scope.every_n_steps, scope.window, lambda: self._hooks.paused, on_failure)
        self._on_failure = on_failure
        self._on_notice = on_notice
        self._unreadable_kinds: set[str] = set()
        self._windows: dict[TapKey, UnitWindow] = {}
        self._signature: tuple[object, ...] = ()
        self._directory = Directory()
        self._names: dict[TapKey, str] = {}
        self._saved_windows: dict[str, dict[str, list[int]]] = {}

    @property
    def dropped_calls(self) -> int:
        """Calls of layers that were not measured because ``max_layers`` taps exist already."""
        return self._hooks.dropped_calls

    @property
    def is_current(self) -> bool:
        """Whether the model still consists of the modules and parameters that were chosen from."""
        return self._pieces == self._present_pieces()

    def _present_pieces(self) -> frozenset[int]:
        # A sharded model has other parameters while it is gathered (after an evaluation, for instance).
        # Taps keep the modules alive, so their ids are not reused while they are compared.
        return piece_ids(self.model, parameters=not self._sharded)

    def open_step(self) -> None:
        """Start a sampled step and its first micro-batch."""
        self._hooks.attach()
        self._probe.begin_step()
        self._probe.enter()

    def pause(self, *, paused: bool) -> None:
        """Ignore forwards while ``paused``."""
        self._hooks.paused = paused

    def begin_batch(self) -> None:
        """Start another of its micro-batches."""
        self._hooks.begin_batch()
        self._probe.enter()

    def end_forward(self, output: object = None) -> OuterLoss | None:
        """Stop looking for residuals and functional activations; what it returns is to hear of losses of the output."""
        return self._probe.leave(output)

    def end_batch(self, gradient_factor: float | Tensor = 1.0) -> None:
        """End a micro-batch; its activation gradients are multiplied by ``gradient_factor``."""
        self._probe.leave()
        self.end_backward(gradient_factor)

    def end_backward(self, gradient_factor: float | Tensor) -> None:
        """End one of several backwards of a micro-batch, where each has a ``gradient_factor`` of its own."""
        for accumulator in self._hooks.accumulators.values():
            accumulator.end_batch(gradient_factor)

    def before_optimizer(self, parameters: Iterable[Tensor], gradient_factor: Tensor | None = None) -> None:
        """Measure weights and gradients (times a factor, if given) that an optimizer is about to use."""
        try:
            with unseen():
                self.left_out.look()
                known = self.left_out.held or self._sharded  # if not, they may move all the same
                chosen = parameters if known else self._parameters.all_with_gradient()
            self._parameters.before_step(chosen, gradient_factor)
        except Exception as error:  # noqa: BLE001 - must not reach the user's training
            self._parameters.forget()
            self._on_failure("the parameters", error)

    def measure_parameters(self) -> None:
        """Measure all weights and gradients, without an update to follow."""
        self.before_optimizer(self._parameters.all())
        self._parameters.forget()

    def after_optimizer(self) -> None:
        """Measure the updates."""
        try:
            self._parameters.after_step()
        except Exception as error:  # noqa: BLE001 - must not reach the user's training
            self._parameters.forget()
            self._on_failure("the parameter updates", error)

    def close_step(self, losses: Tensor | None = None) -> Measured:
        """Detach, and copy the step's numbers to the host (one copy per device).

        Args:
            losses: ``[n]`` that wait on a device to be copied along.
        """
        self._probe.leave()
        self._hooks.detach()
        drained = {
            accumulator: accumulator.drain(
                losses if losses is not None and losses.device == device else None, self.looks.flags(device)
            )
            for device, accumulator in self._hooks.accumulators.items()
        }
        travelled = next((read.also.tolist() for read in drained.values() if len(read.also)), None)
        if travelled is None:  # on a device that nothing else was measured on
            travelled = [] if losses is None else losses.tolist()
        return Measured(drained, tuple(self._hooks.order), travelled)

    def share(self, measured: Measured) -> Share:
        """Return what this process measured in a step as other processes of the training can read it."""
        rows = tuple(accumulator.rows for accumulator in self._hooks.accumulators.values())
        self._directory.renew(
            (rows, tuple(self._hooks.taps)), lambda: addresses_of(self._hooks, self._probe, self._parameters)
        )
        return self._directory.share(measured.drained, measured.order)._replace(
            ties=ties(self._hooks.order, self._probe.residuals.order)
        )

    def executed(self, measured: Measured) -> tuple[Execution, Share]:
        """Return what this process executed in a step, and the numbers of what each layer and addition got."""
        ran, added = self._hooks.order, self._probe.residuals.order
        return execution_of(ran, added), share_of(ran, added, measured.drained)

    def record(self, measured: Measured, facts: StepFacts, heard: Heard | None = None) -> StepRecord:
        """Return what was measured in a step as a record.

        Args:
            measured: by this process.
            facts: what the training loop knows.
            heard: the step of all processes, if there are several.
        """
        if heard is not None:
            self._directory.take_over(heard.outcome.together(), measured.drained)
        step = step_of_all(heard and heard.executed, self._hooks, self._probe.residuals.order)
        taps, additions = step.taps, step.sums
        reader = Reader({**measured.drained, **step.numbers})
        chosen = self._scope.include or self._scope.exclude  # patterns that leave nothing were reported already
        if not (taps or self.structure.layers or self._hooks.gave_up or chosen):
            self._on_notice(_NO_CALL.format(type(self.model).__name__))
        attentions = list(self._probe.attentions.order.values())
        self._update_structure(taps, additions, attentions)
        self._restore_windows()
        for accumulator, read in measured.drained.items():
            self.looks.add_to(self._windows, accumulator.device, read.flags)
        skips = [addition.skip for addition in additions]
        columns = layer_columns(taps, reader, self._windows, self._scope.window, skips)
        if heard is None:  # each process looks by itself, and records are the same for all of them
            self.looks.choose(taps, self._windows, facts.step, self._is_compiled)
        parameters, weights = parameter_columns(self._parameters.rows, reader)
        variances = dict(zip(parameters, weights[Quantity.WEIGHT_VARIANCE].tolist(), strict=True))
        columns[Quantity.LOG_PARTITION] = log_partitions(self._probe.ends.logits, taps, reader)
        weights |= rows_looked_up(self._probe.ends.tables, parameters, reader)
        expected_gains(columns, taps, self.structure, variances)
        residuals = residual_columns(additions, self.structure.residuals, reader)
        norms = dict(zip(parameters, weights[Quantity.WEIGHT_GRADIENT_NORM].tolist(), strict=True))
        squares = loss_decrease(self.structure.residuals, norms, self.structure.by_name())
        residuals[Quantity.RESIDUAL_LOSS_DECREASE] = facts.learning_rate * squares
        heads = head_columns(attentions, reader)
        for column in (*columns.values(), *weights.values(), *residuals.values(), *heads.values()):
            column.flags.writeable = False
        return StepRecord(
            step=facts.step,
            time=time.time(),
            layer_table=Table(tuple(self._names.values()), columns),
            parameter_table=Table(parameters, weights),
            residual_table=Table(tuple(residual.name for residual in self.structure.residuals), residuals),
            head_table=Table(tuple(name for one in self.structure.attentions for name in one.head_names), heads),
            exact=self._scope.exact,
            **facts.of_optimizers(),
            loss_scaled=facts.loss_scaled,
            stepped=parameters_moved(self._parameters.rows, reader),
            **self.left_out.facts(facts.optimizers),
            losses=facts.losses,
            loss_by_optimizer=facts.loss_by_optimizer,
            batches_waited=facts.batches_waited,
        )

    def _is_compiled(self) -> bool:
        return self._hooks.in_compiled_call or is_compiled(self.model)

    def abort(self) -> None:
        """Abandon a step: leave no hook, keep none of its numbers."""
        try:
            self._probe.leave()
        finally:
            self._hooks.detach()
            self.looks.detach()
            self._parameters.forget()
            for accumulator in self._hooks.accumulators.values():
                accumulator.discard()

    def state_dict(self) -> dict[str, dict[str, list[int]]]:
        """Return the unit windows by tap name."""
        seen = {self._names[key]: window.state_dict() for key, window in self._windows.items() if key in self._names}
        # A layer that was not seen since the run was resumed still has what was saved of it.
        return {**self._saved_windows, **seen}

    def load_state_dict(self, state: Mapping[str, dict[str, list[int]]]) -> None:
        """Continue with saved unit windows; each is restored when its layer is next seen."""
        self._saved_windows = dict(state)

    def _unreadable(self, kind: str, what: str) -> None:
        """Report the first tensor of a kind that cannot be measured."""
        if kind not in self._unreadable_kinds:
            self._unreadable_kinds.add(kind)
            if kind == TOO_DEEP:
                self._on_notice(f"{what} is nested more than {DEEPEST} levels deep. What lies deeper is not measured.")
            else:
                self._on_notice(f"{what} is a {kind} tensor. Tensors of that kind are not measured; all others are.")

    def _restore_windows(self) -> None:
        for key, name in self._names.items() if self._saved_windows else ():
            saved = self._saved_windows.pop(name, None)
            if saved is not None:
                self._windows[key] = UnitWindow(self._scope.window)
                self._windows[key].load_state_dict(saved)

    def _update_structure(
        self, taps: Sequence[Tap], additions: Sequence[ResidualTap], attentions: Sequence[AttentionTap]
    ) -> None:
        signature = (
            tuple(
                (
                    tap.key,
                    tuple(tap.feeds),
                    tap.direct,
                    tap.dtype,
                    tap.takes_input,
                    tap.takes_own,
                    tap.one_value,
                    tap.running,
                    tap.frequency,
                    tap.compared,
                    tap.times,
                )
                for tap in taps
            ),
            tuple((addition.site, addition.depth, addition.dtype) for addition in additions),
            tuple(tap.site for tap in attentions),
        )
        if signature != self._signature:
            self._signature = signature
            self._names = dict(zip((tap.key for tap in taps), tap_names(taps), strict=True))
            names = tuple(self._names.values())
            layers = structure_of(taps, names, self._parameter_names).layers
            residuals = residuals_of(additions, names, [tap.owner for tap in taps])
            found = Structure(layers, residuals, attentions_of(attentions, self._names))
            self.structure = with_module_facts(found, self.model)


def _is_sharded(parameter: Tensor) -> bool:
    return hasattr(parameter, "to_local") or hasattr(parameter, "_fsdp_flattened")
