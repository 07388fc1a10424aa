"""Capture, rules and sinks put together, for any training loop.

A step: :meth:`Monitor.begin_batch` (opens it if it is due), :meth:`Monitor.end_batch` after each micro-batch,
:meth:`Monitor.before_optimizer` just before the update, :meth:`Monitor.end_step` after it. Others cost a comparison, or a look at signs.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from init_monitor.capture.hearing import hear
from init_monitor.capture.ranks import Ranks
from init_monitor.capture.schedule import Patience, Schedule
from init_monitor.capture.step_facts import StepFacts
from init_monitor.consequences import must_stop
from init_monitor.errors import InitMonitorError
from init_monitor.guard import LETTING_GO, Guard
from init_monitor.judgement import Judgement
from init_monitor.layer_choice import TOO_MANY_CALLS, capture_of
from init_monitor.monitor_state import MonitorState
from init_monitor.notices import Notices
from init_monitor.records import LossStretch, Structure
from init_monitor.torch_compat import EAGER, unseen
from init_monitor.training_loss import TrainingLoss

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from init_monitor.capture.capture import Capture
    from init_monitor.capture.outer_loss import OuterLoss
    from init_monitor.options import Options
    from init_monitor.records import Finding, StepRecord
    from init_monitor.sinks.sink import Run


class Monitor:
    """Watches one model through one training.

    Args:
        model: the module to watch.
        options: what was asked for.
        run: where the sinks find loggers, directory and console.
        show: False on every rank but the first: measured and judged, but not shown.
        resumed: the :meth:`state_dict` of the training that is resumed.

    Attributes:
        guard: keeps failures from the training, here and in adapters.
        should_stop: a critical finding appeared and ``on_critical="stop"``.
    """

    def __init__(
        self,
        model: nn.Module,
        options: Options,
        run: Run,
        *,
        show: bool = True,
        resumed: Mapping[str, Any] | None = None,
    ) -> None:
        """Choose layers and open the sinks."""
        self.options = options
        self.should_stop = False
        self._notices = Notices(strict=options.strict)
        self.guard = Guard(self._notices, self._let_go)
        self._open = self._due = False
        self._ranks = Ranks(self._notices.tell)
        self._schedule = Schedule(options.dense_steps, options.every_n_steps)
        self._previous = -1
        self._patience = Patience()
        self._facts = StepFacts(step=-1)
        self.loss = TrainingLoss()
        self._judgement = Judgement(options, self.loss, self.guard, self._notices)
        self._capture: Capture | None = None
        with self.guard("choosing the layers"):
            self._choose_layers(model)
        if resumed:
            self.load_state_dict(resumed)
        try:
            if show:
                self._judgement.open_sinks(replace(run, findings=tuple(self.findings)))
        except InitMonitorError:
            self.close()
            raise

    @property
    def findings(self) -> list[Finding]:
        """Every finding so far, oldest first."""
        return self._judgement.findings

    @property
    def records(self) -> deque[StepRecord]:
        """The last ``options.window`` records, oldest first."""
        return self._judgement.records

    @property
    def is_open(self) -> bool:
        """Whether a sampled step is under way."""
        return self._open

    @property
    def notices(self) -> list[str]:
        """What was switched off or has no effect, in words."""
        return self._notices.told

    @property
    def structure(self) -> Structure:
        """The network as it was executed at the last sampled step."""
        return Structure() if self._capture is None else self._capture.structure

    def join_ranks(self) -> None:
        """Merge what all processes measure from now on; all call it, at the same point, and go through the same steps."""
        self._ranks.join()

    def is_due(self, step: int) -> bool:
        """Say whether optimizer step ``step`` (from 0) is to be sampled; a rank that failed still has to meet the others then."""
        self._due = self._due or self._schedule.is_due(step, self._previous) or self._loss_has_turned()
        return self._due

    def begin_batch(self, step: int) -> None:
        """Start a micro-batch of optimizer step ``step`` (from 0); opens the step if it is due."""
        due = self.is_due(step)
        if self.guard.off or self._capture is None or not (due or self._capture.looks.wanted(step)):
            return
        with self.guard("attaching to the model"):
            EAGER.hold(self)  # first: tracing a compiled model under the probe's mode would fail
            if not due:
                self._capture.looks.begin_batch()
                return
            if self._open:
                self._capture.begin_batch()
                return
            self._patience.renew()
            if not self._capture.is_current:
                self._choose_layers(self._capture.model, self._capture.state_dict())
            self._open = True
            self._capture.open_step()

    def _loss_has_turned(self) -> bool:
        # Each process knows only its own batches, and all have to sample the same steps.
        if self._ranks.size == 1 and not self.guard.off:
            with self.guard("looking at the loss"):
                return self.loss.has_turned()
        return False

    def _choose_layers(self, model: nn.Module, units: Mapping[str, Any] | None = None) -> None:
        with unseen():
            self._capture = capture_of(model, self.options, self._notices)
        self._capture.load_state_dict(units or {})

    def end_forward(self, output: object = None) -> OuterLoss | None:
        """Note that the forward is over; later ones are measured by module only. What it returns is to hear of losses of the output."""
        if self._open and self._capture is not None:
            with self.guard("ending a forward"):
                return self._capture.end_forward(output)
        return None

    def end_backward(self, gradient_factor: float | Tensor) -> None:
        """End one of several backwards of a micro-batch, with its own factor (see :meth:`end_batch`)."""
        if self._open and self._capture is not None:
            with self.guard("merging a backward"), unseen():
                self._capture.end_backward(gradient_factor)

    def end_batch(self, gradient_factor: float | Tensor = 1.0) -> None:
        """End a micro-batch; the factor makes an activation gradient that of the mean loss over the whole effective batch.

        It is 1/loss scale, 1/world size.
        """
        if self._open and self._capture is not None:
            with self.guard("merging a batch"), unseen():
                self._capture.end_batch(gradient_factor)

    def before_optimizer(self, optimizer: Optimizer, gradient_factor: Tensor | None = None) -> None:
        """Look at the parameters an optimizer is about to update, and at their unclipped gradients.

        Args:
            optimizer: about to step.
            gradient_factor: 1/loss scale, if the gradients are still scaled.
        """
        if not self.guard.off:
            with self.guard("noting the optimizer"):
                self.loss.assign(optimizer)
                if self._capture is not None:
                    self._capture.left_out.note_step(optimizer)
        if not self.is_open or self._capture is None:
            return
        with self.guard("measuring the parameters"):
            self._facts = self._facts.with_optimizer(optimizer)
            held = (parameter for group in optimizer.param_groups for parameter in group["params"])
            self._capture.before_optimizer(held, gradient_factor)

    def note_loss(self, loss: object, factor: float | Tensor = 1.0) -> None:
        """Take a loss that is back-propagated in the current step; it stays on its device.

        Args:
            loss: a number or a tensor of one element; anything else is ignored.
            factor: what makes it its part of the step's loss: 1/loss scale.
        """
        self._note(self.loss.note, loss, factor)

    def set_loss(self, loss: object) -> None:
        """Take ``loss`` as that of the current step, whatever was noted."""
        self._note(self.loss.replace, loss)

    def _note(self, what: Callable[..., None], *given: object, **more: bool) -> None:
        if not self.guard.off:
            with self.guard("noting the loss"), unseen():
                what(*given, **more)

    def end_of_patience(self, step: int) -> bool:
        """Note a batch without an optimizer step: too many, and the step is abandoned; True if it is to be ended, none ever having stepped."""
        if self._open and self._patience.ends():
            self.abort_step()
            self._previous = step
            self._notices.tell(Patience.NOTICE)
        elif self._open and self._previous < 0 and self._patience.is_half_way:
            self._facts = self._facts._replace(batches_waited=self._patience.batches)
            return True
        return False

    def measure_parameters(self) -> None:
        """Look at every weight and its gradient where no optimizer is going to step."""
        if self.is_open and self._capture is not None:
            with self.guard("measuring the parameters"):
                self._capture.measure_parameters()

    def after_optimizer(self) -> None:
        """Look at the parameters after all optimizers have stepped."""
        if self.is_open and self._capture is not None:
            with self.guard("measuring the updates"):
                self._capture.after_optimizer()

    def end_step(
        self,
        step: int,
        *,
        gradient_factor: float | Tensor = 1.0,
        loss_scaled: bool = False,
        optimizers: Iterable[Optimizer] = (),
        mean_loss: bool = False,
    ) -> None:
        """End optimizer step ``step``: one copy to the host, then rules and sinks.

        Args:
            step: from 0.
            gradient_factor: see :meth:`end_batch`.
            loss_scaled: a gradient scaler is at work.
            optimizers: all of the training, whether they stepped or not: what none of them holds is not trained.
            mean_loss: the losses noted in the step are of its micro-batches, each of the same share.

        Raises:
            CriticalFindingError: a critical finding is new and ``on_critical="raise"``.
        """
        self._previous = step
        self._note(self.loss.end_step, step, mean=mean_loss)
        if self._capture is not None and self._capture.looks.attached:
            with self.guard("ending a look at signs"):
                self._capture.looks.end_step(step)
                EAGER.release(self)
        if not self._due:
            return
        self._due = False
        facts = self._facts._replace(step=step, loss_scaled=loss_scaled, optimizers=tuple(optimizers))
        record = self._record(facts, gradient_factor)
        new = self._judgement.judge(record, self.structure, self._ranks)
        self.should_stop = must_stop(new, self.options.on_critical) or self.should_stop

    def _record(self, facts: StepFacts, gradient_factor: float | Tensor) -> StepRecord | None:
        measured = share = record = None
        self.after_optimizer()
        self.end_batch(gradient_factor)
        with self.guard("going back to compiled graphs"):
            EAGER.release(self)  # not sooner: an evaluation within the step must not be compiled with the hooks in it
        if self._open and self._capture is not None:
            with self.guard("reading the measurements"), unseen():
                measured = self._capture.close_step(self.loss.waiting())
                share = self._capture.share(measured) if self._ranks.size > 1 else None
                self._open = False
        self._facts = StepFacts(step=-1)
        losses = LossStretch()
        if measured is not None:
            with self.guard("reading the losses"), unseen():
                losses = self.loss.read(measured.losses)
        heard = hear(self._ranks, share, losses, (self._capture, measured), self.guard)
        if measured is None or self._capture is None:
            return None
        with self.guard("making the record"), unseen():
            losses = self.loss.keep(losses if heard is None else heard.outcome.losses())
            facts = facts._replace(losses=losses, loss_by_optimizer=self.loss.by_optimizer)
            record = self._capture.record(measured, facts, heard)
            self.records.append(record)
            if self._capture.dropped_calls:
                self._notices.tell(TOO_MANY_CALLS.format(self.options.max_layers))
        return record

    def abort_step(self) -> None:
        """Abandon the step: no hook, no stance, nothing of it kept, and nothing sent to other ranks."""
        self._due = False
        self._let_go()

    def _let_go(self) -> None:
        """Leave the model as it was."""
        self._open = False
        self._facts = StepFacts(step=-1)
        with self.guard(LETTING_GO), ExitStack() as leaving:
            leaving.callback(self.loss.forget_step)
            if self._capture is not None:
                leaving.callback(self._capture.abort)
            leaving.callback(EAGER.release, self)

    def close(self) -> None:
        """End the run: detach, and let every sink finish."""
        # Whatever fails (and raises, if strict), the sinks get their turn, after the model is free.
        with ExitStack() as leaving:
            leaving.callback(self._judgement.close_sinks)
            leaving.callback(lambda: self._judgement.judge_the_end(self.structure))
            leaving.callback(self._leave_ranks)
            leaving.callback(self.abort_step)

    def _leave_ranks(self) -> None:
        with self.guard("parting from the other processes"):
            self._ranks.leave()

    def pause(self, *, paused: bool) -> None:
        """Ignore forwards while ``paused``: an evaluation between two batches of one step is not part of the training signal."""
        if self._capture is not None:
            with self.guard("ignoring an evaluation"):
                self._capture.pause(paused=paused)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: the last step, what is known already, and the unit windows."""
        with self.guard("saving its state"):
            units, losses = ({} if self._capture is None else self._capture.state_dict()), self.loss.saved()
            return MonitorState(self._previous, self._judgement.state_dict(), self.findings, units, losses).saved()
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        with self.guard("resuming from a checkpoint"):
            saved = MonitorState.restored(state)
            self._previous = saved.step
            self._judgement.load_state_dict(saved.cases, saved.findings)
            self.loss.resume(saved.losses)
            if self._capture is not None:
                self._capture.load_state_dict(saved.units)
