"""The Lightning adapter: translates the Trainer's calls into the monitor's, and nothing else."""

# Lightning fixes the names and arguments of its hooks, and batches are of any type.
# ruff: noqa: ARG002, ANN401
from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from torch.optim import LBFGS

from init_monitor.integrations.copies import Copies
from init_monitor.integrations.lightning_base import Undecided, adopt, decide, require_lightning
from init_monitor.integrations.places import run_place
from init_monitor.integrations.steps_by_hand import StepsByHand
from init_monitor.integrations.trainer_facts import loss_scale, optimizer_step, write_above_the_bar
from init_monitor.monitor import Monitor
from init_monitor.options import Options
from init_monitor.report import Report
from init_monitor.sinks.sink import Run
from init_monitor.versions import versions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from pytorch_lightning import Callback, LightningModule, Trainer

    from init_monitor.records import Finding, LossCurve, StepRecord, Structure
    from init_monitor.rules.rule import Rule
    from init_monitor.sinks.sink import Sink
else:
    require_lightning()
    Callback = Undecided


class InitMonitor(Callback):
    """Watch the signal of a network while a Trainer trains it.

    ``Trainer(callbacks=[InitMonitor()])`` is all: the first optimizer steps and then one in 50 are measured, findings
    are printed and everything goes to the Trainer's loggers. The training itself is not changed by a bit.

    Args:
        every_n_steps: after the dense start, one optimizer step in this many is sampled.
        measure: ``"exact"`` (every element) or ``"staged"`` (4,096 elements of each tensor).
        dense_steps: the first optimizer steps are all sampled.
        include: fnmatch pattern(s); only layers whose name matches are watched.
        exclude: fnmatch pattern(s); layers whose name matches are not watched.
        rules: what judges the records; ``None`` for :data:`~init_monitor.rules.DEFAULT_RULES`.
        sinks: where records and findings go; ``None`` for console, every logger of the Trainer, and the run store.
        on_critical: ``"warn"``, ``"stop"`` (``trainer.should_stop``) or ``"raise"`` (``CriticalFindingError``, an
            ``InitMonitorError``).
        per_layer_scalars: one TensorBoard scalar tag per layer and quantity.
        max_layers: how many layers are watched at most.
        window: sampled steps kept in ``records``.
        strict: raise what fails inside the monitor instead of switching it off with a warning.
        verbose: print every layer and all that a finding knows, where ``sinks`` is ``None``.

    Raises:
        OptionError: if a value cannot be used.
    """

    def __init__(  # noqa: PLR0913 - the public interface
        self,
        *,
        every_n_steps: int = 50,
        measure: Literal["exact", "staged"] = "exact",
        dense_steps: int = 10,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        rules: Sequence[Rule] | None = None,
        sinks: Sequence[Sink] | None = None,
        on_critical: Literal["warn", "stop", "raise"] = "warn",
        per_layer_scalars: bool = False,
        max_layers: int = 512,
        window: int = 256,
        strict: bool = False,
        verbose: bool = False,
    ) -> None:
        """Check the options; nothing is attached before a fit starts."""
        decide(InitMonitor)
        super().__init__()
        self._options = Options(
            every_n_steps=every_n_steps,
            measure=measure,
            dense_steps=dense_steps,
            include=include,
            exclude=exclude,
            rules=rules,
            sinks=sinks,
            on_critical=on_critical,
            per_layer_scalars=per_layer_scalars,
            max_layers=max_layers,
            window=window,
            strict=strict,
            verbose=verbose,
        )
        self._monitor: Monitor | None = None
        self._past = Report()
        self._copies = Copies()
        self._resumed: dict[str, Any] = {}
        self._global_step = -1
        self._gradient_factor: float | torch.Tensor = 1.0
        self._by_hand = StepsByHand()

    @cached_property  # Lightning asks at every hook of every batch
    def state_key(self) -> str:
        """Where a checkpoint keeps the state: monitors of different layers of one network each have a place."""
        chosen = {
            name: value if isinstance(value, str) else sorted(value)
            for name, value in (("include", self._options.include), ("exclude", self._options.exclude))
            if value is not None
        }
        return self._generate_state_key(**chosen) if chosen else super().state_key

    @property
    def findings(self) -> list[Finding]:
        """Everything found in the last fit, oldest first; if only copies of this callback have trained, in theirs."""
        return list(self._past.findings if self._shown is None else self._shown.findings)

    @property
    def records(self) -> list[StepRecord]:
        """The last ``window`` sampled steps of the last fit, oldest first."""
        return list(self._past.records if self._shown is None else self._shown.records)

    @property
    def structure(self) -> Structure:
        """The network as it was executed at the last sampled step."""
        return self._past.structure if self._shown is None else self._shown.structure

    @property
    def losses(self) -> NDArray[np.float32]:
        """The training loss of every optimizer step up to the last sampled one: ``[n]`` float32.

        After 16,384 steps every second is kept, then every fourth, and so on; :attr:`loss_steps` says which. Empty where
        no loss was seen.
        """
        return self._curve.values

    @property
    def loss_steps(self) -> NDArray[np.int64]:
        """The optimizer steps of :attr:`losses`: ``[n]`` int64."""
        return self._curve.steps

    @property
    def _curve(self) -> LossCurve:
        return self._past.losses if self._shown is None else self._shown.loss.curve

    @property
    def notices(self) -> list[str]:
        """What was switched off or has no effect, in words."""
        return [] if self._shown is None else self._shown.notices

    @property
    def report(self) -> Report:
        """The last fit so far, to print, show or save."""
        return Report.of(
            self.records,
            self.findings,
            self.structure,
            self._options.settings(),
            versions=versions_of("pytorch-lightning", "lightning"),
            losses=self._curve,
        )

    @property
    def _shown(self) -> Monitor | None:
        """What there is to show: this callback's own fit, else that of a copy that a library made of it."""
        return self._copies.newest if self._monitor is None and not self._past.records else self._monitor

    def __getstate__(self) -> dict[str, Any]:
        """Give a copy or a pickle what was found, not the live monitor with its model, hooks and open files."""
        own = {"_monitor": None, "_past": self.report, "_by_hand": StepsByHand()}
        return self.__dict__ | own | {"_copies": self._copies.place_of_copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the state of a copy or a pickle."""
        decide(InitMonitor)
        self.__dict__.update(state)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Drop the previous fit: until this one trains, the state is the checkpoint's."""
        if stage == "fit":
            self._past, self._monitor = self.report, None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the layers and open the sinks.

        Not before: a tuner runs its trials on the way here, and strategies that shard restore their checkpoints there.
        """
        log_dir, runs_dir = run_place(trainer) if trainer.is_global_zero else (None, None)
        run = Run(
            loggers=tuple(trainer.loggers),
            log_dir=log_dir,
            runs_dir=runs_dir,
            first_step=optimizer_step(trainer),
            dense_steps=self._options.dense_steps,
            settings=self._options.settings(),
            versions=versions_of("pytorch-lightning", "lightning"),
            write=partial(write_above_the_bar, trainer),
        )
        show, resumed = trainer.is_global_zero, self._resumed
        self._monitor = Monitor(pl_module, self._options, run, show=show, resumed=resumed)
        self._copies.tell(self._monitor)
        self._monitor.join_ranks()
        self._resumed = {}
        self._global_step = -1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Attach if the step this batch belongs to is sampled."""
        if self._monitor is None:
            return
        if self._global_step < 0:
            self._global_step = trainer.global_step
        self._gradient_factor = 1.0 / trainer.world_size
        self._monitor.begin_batch(optimizer_step(trainer))
        if self._monitor.is_open and not pl_module.automatic_optimization:
            self._by_hand.watch(trainer.optimizers, self._monitor.before_optimizer)

    def on_before_zero_grad(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Take the structure probe off: the forward is over, and zeroing gradients is none of it."""
        if self._monitor is not None and pl_module.automatic_optimization:
            self._monitor.end_forward()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Take the structure probe off before backward."""
        if self._monitor is None:
            return
        self._monitor.end_forward()
        if not pl_module.automatic_optimization:
            # With a gradient scaler it is the scaled loss that goes backward.
            scale = loss_scale(trainer)
            self._monitor.note_loss(loss, 1.0 if scale is None else 1.0 / scale)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the loss scale this backward ran under; the scaler changes it after the step."""
        if self._monitor is not None and self._monitor.is_open:
            scale = loss_scale(trainer)
            if scale is not None:
                self._gradient_factor = 1.0 / (scale * trainer.world_size)
                if not pl_module.automatic_optimization:
                    # By hand, the scaler may change its scale before the next backward of this batch.
                    self._monitor.end_backward(self._gradient_factor)
            if any(isinstance(optimizer, LBFGS) for optimizer in trainer.optimizers):
                # A re-evaluation within its step is not another call of the layers but another batch; its own
                # arithmetic must not be seen by the probe.
                self._monitor.begin_batch(optimizer_step(trainer))
                self._monitor.end_forward()

    def on_before_optimizer_step(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Look at weights and gradients: not yet clipped, and unscaled unless the optimizer does that itself."""
        if self._monitor is not None:
            scale = loss_scale(trainer) if getattr(optimizer, "_step_supports_amp_scaling", False) else None
            self._monitor.before_optimizer(optimizer, None if scale is None else 1.0 / scale)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Merge the batch; if the optimizer has stepped, read, judge and show."""
        monitor = self._monitor
        if monitor is None:
            return
        stepped_by_hand = self._by_hand.leave()
        automatic = pl_module.automatic_optimization
        if automatic or not monitor.loss.noted:
            # What Lightning returns is divided by the batches it accumulates; the last group of an epoch may be smaller.
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            monitor.note_loss(loss, float(trainer.accumulate_grad_batches) if automatic else 1.0)
        if trainer.global_step == self._global_step and not stepped_by_hand:  # the optimizer is still accumulating
            if automatic or not monitor.end_of_patience(optimizer_step(trainer)):
                monitor.end_batch(self._gradient_factor)
                return
            monitor.measure_parameters()
        self._global_step = trainer.global_step
        monitor.end_step(
            optimizer_step(trainer),
            gradient_factor=self._gradient_factor,
            loss_scaled=loss_scale(trainer) is not None,
            optimizers=trainer.optimizers,
            mean_loss=automatic,
        )
        if monitor.should_stop:
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure nothing while the network is evaluated."""
        if self._monitor is not None:
            self._monitor.pause(paused=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure again."""
        if self._monitor is not None:
            self._monitor.pause(paused=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the sinks while the loggers are still open."""
        self._by_hand.leave()
        if self._monitor is not None:
            self._monitor.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no hook behind and let the sinks finish, however the training ended."""
        self._by_hand.leave()
        if self._monitor is not None:
            self._monitor.close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close what is still open, and forget a checkpoint that no training continued from (a tuner's own)."""
        self._by_hand.leave()
        self._resumed = {}
        if self._monitor is not None:
            self._monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, for the checkpoint."""
        return self._resumed if self._monitor is None else self._monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's state until the fit starts."""
        self._resumed = dict(state_dict)


def decided() -> type[InitMonitor]:
    """Return the callback's class, with the base classes that are known by now."""
    adopt(InitMonitor)
    return InitMonitor


decided()
