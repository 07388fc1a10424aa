"""The adapter for the Hugging Face Trainer: translates its events into those of a watched loop, and nothing else.

>>> from init_monitor.integrations.huggingface import InitMonitorCallback
>>> monitor = InitMonitorCallback(every_n_steps=100)  # Trainer(model, args, ..., callbacks=[monitor])
>>> monitor.findings
[]
"""

# The Trainer fixes the names and arguments of its events.
# ruff: noqa: ARG002, ANN401
from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from init_monitor.errors import InitMonitorWarning
from init_monitor.options import Options
from init_monitor.records import Structure
from init_monitor.report import Report
from init_monitor.sinks.sink import Run
from init_monitor.standalone import Watch
from init_monitor.torch_compat import Hook, is_training_signal, kwargs_and_output
from init_monitor.versions import versions_of

try:
    from transformers import TrainerCallback
except ImportError as error:
    _MESSAGE = "InitMonitorCallback needs the Hugging Face Trainer: pip install transformers accelerate."
    raise ImportError(_MESSAGE) from error

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray
    from torch import nn
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle
    from torch.utils.tensorboard import SummaryWriter
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from typing_extensions import Self

    from init_monitor.records import Finding, StepRecord

STATE_FILE = "init_monitor.json"
"""In a checkpoint's directory: the state that a resumed run continues from."""

EVENTS = Path("runs", "init_monitor")
"""Where the event files go, below ``output_dir``: a directory of their own, because with two writers in one directory
TensorBoard shows only one."""


@dataclass(frozen=True)
class _EventFiles:
    """What the sinks accept as a logger: it has a writer of event files, and a directory."""

    experiment: SummaryWriter
    log_dir: str


class InitMonitorCallback(TrainerCallback):
    """Watch the signal of a network while a Hugging Face Trainer trains it.

    ``Trainer(..., callbacks=[InitMonitorCallback()])`` is all. A step is an optimizer step, counted from 0, however many
    batches it accumulates; evaluation is not measured. Records and findings go to the console, to
    ``output_dir/init_monitor`` and, if ``report_to`` names TensorBoard, to ``output_dir/runs/init_monitor``. Every
    checkpoint gets the monitor's state; a run that is resumed from one in ``output_dir`` goes on with it.

    The Trainer clips gradients before it notifies its callbacks of a step: weight gradients are measured clipped, those of
    the activations are not. It does not tell them that a training ended with an exception either: use the callback as a
    context manager around ``trainer.train()`` to have the model freed at once even then.

    Args:
        **options: those of :class:`init_monitor.InitMonitor`.

    Raises:
        OptionError: if an option has a value that cannot be used.
        TypeError: for an option that does not exist.
    """

    def __init__(self, **options: Any) -> None:
        """Check the options; nothing is attached before a training starts."""
        self._options = Options.of("InitMonitorCallback()", options)
        self._watch: Watch | None = None
        self._writer: SummaryWriter | None = None
        self._open = False
        self._loss_handle: RemovableHandle | None = None

    def __enter__(self) -> Self:
        """Do nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the model, however the training ended."""
        self.close()

    @property
    def findings(self) -> list[Finding]:
        """Everything found in the last training, oldest first."""
        return [] if self._watch is None else self._watch.findings

    @property
    def records(self) -> list[StepRecord]:
        """The last ``window`` sampled steps of the last training, oldest first."""
        return [] if self._watch is None else self._watch.records

    @property
    def structure(self) -> Structure:
        """The network as it was executed at the last sampled step."""
        return Structure() if self._watch is None else self._watch.structure

    @property
    def losses(self) -> NDArray[np.float32]:
        """The training loss of every optimizer step up to the last sampled one: ``[n]`` float32, see ``watch``."""
        return np.empty(0, np.float32) if self._watch is None else self._watch.losses

    @property
    def loss_steps(self) -> NDArray[np.int64]:
        """The optimizer steps of :attr:`losses`: ``[n]`` int64."""
        return np.empty(0, np.int64) if self._watch is None else self._watch.loss_steps

    @property
    def notices(self) -> list[str]:
        """What was switched off or has no effect, in words."""
        return [] if self._watch is None else self._watch.notices

    @property
    def report(self) -> Report:
        """The last training so far, to print, show or save."""
        return Report() if self._watch is None else self._watch.report

    def close(self) -> None:
        """Detach from the model and let the sinks finish. May be called at any time, and more than once."""
        self._open = False
        if self._loss_handle is not None:
            self._loss_handle.remove()
            self._loss_handle = None
        if self._watch is not None:
            self._watch.__exit__(None, None, None)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **others: Any,
    ) -> None:
        """Choose the layers, open the sinks, and continue where a checkpoint was made."""
        model: nn.Module = others["model"]
        optimizer: Optimizer | None = others.get("optimizer")
        self.close()  # from a training that ended with an exception; the Trainer itself restarts with a smaller batch
        run = Run(
            loggers=self._loggers(args, first=state.is_world_process_zero),
            log_dir=_directory(args),
            first_step=state.global_step,
            dense_steps=self._options.dense_steps,
            settings=self._options.settings(),
            versions=versions_of("transformers", "accelerate"),
            write=_write,
        )
        self._watch = Watch(
            model,
            optimizer,
            self._options,
            scaler=getattr(optimizer, "scaler", None),
            run=run,
            show=state.is_world_process_zero,
        )
        self._watch.__enter__()
        self._loss_handle = model.register_forward_hook(Hook(self._note_loss), with_kwargs=True)
        if args.world_size > 1:
            self._watch.join_ranks(args.world_size)
        if state.global_step:
            self._resume(_checkpoint(args, state))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Attach if the optimizer step that begins is sampled."""
        if self._watch is None:
            return
        if self._open:  # an epoch that was stopped in the middle of a step
            self._watch.abort_step()
        self._open = True
        self._watch.begin_step(state.global_step)

    def _note_loss(self, module: nn.Module, args: object, *given: Any) -> None:
        """Take the loss that a model of transformers returns with its output, at every step."""
        kwargs, output = kwargs_and_output(given)
        if self._watch is None or not self._open or not is_training_signal():
            return
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(loss, torch.Tensor):
            # A model that is given the number of labels in the step returns its part of the sum over all micro-batches.
            self._watch.note_loss(loss.detach(), mean=kwargs.get("num_items_in_batch") is None)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Read, judge and show; the optimizer has stepped."""
        if self._watch is None or not self._open:
            return
        self._open = False
        try:
            self._watch.end_step()
        except BaseException:
            self.close()
            raise
        if self._watch.should_stop:
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Save the monitor's state next to the checkpoint's."""
        place = _checkpoint(args, state)
        if self._watch is None or not state.is_world_process_zero or not place.is_dir():
            return
        try:
            (place / STATE_FILE).write_text(json.dumps(self._watch.state_dict()), encoding="utf-8")
        except OSError as error:
            _warn(f"the monitor's state could not be saved in {place} ({error}); a resumed run starts without it.")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Leave nothing on the model, and close the sinks."""
        self.close()

    def _resume(self, checkpoint: Path) -> None:
        path = checkpoint / STATE_FILE
        if self._watch is None or not path.is_file():
            return
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            _warn(f"{path} cannot be read ({error}); known findings may be reported again.")
            return
        self._watch.load_state_dict(saved)

    def _loggers(self, args: TrainingArguments, *, first: bool) -> tuple[_EventFiles, ...]:
        if not first or "tensorboard" not in (args.report_to or ()):
            return ()
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - seconds to import, only if it is used

        directory = str(_directory(args) / EVENTS)
        self._writer = SummaryWriter(directory)
        return (_EventFiles(self._writer, directory),)


def _directory(args: TrainingArguments) -> Path:
    return Path(args.output_dir or ".")


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    """Return the directory of the current step's checkpoint, as the Trainer names it."""
    return _directory(args) / f"checkpoint-{state.global_step}"


def _write(text: str) -> None:
    """Print above the Trainer's progress bar without tearing it."""
    from tqdm import tqdm  # noqa: PLC0415 - transformers brings it

    tqdm.write(text, file=sys.stdout)


def _warn(message: str) -> None:
    warnings.warn(f"init_monitor: {message}", InitMonitorWarning, stacklevel=3)
