"""What happens at checkpoint steps: export for evaluation, held-out loss, a row in the log, state for a restart."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from workflow_scripts.training.curve import LearningCurve
from workflow_scripts.training.heldout import FormLoss
from workflow_scripts.training.trainer import LossMeter

logger = logging.getLogger(__name__)


class CheckpointCallback(TrainerCallback):
    """Exports, evaluates and logs at exactly the given steps, 0 included.

    The order makes a kill harmless at any point: first the exported folder, then the log, then (by Trainer) the state
    to resume from. A run that resumes at step n therefore has every folder up to n, and writes later ones again.
    """

    def __init__(
        self,
        steps: Sequence[int],
        *,
        log_every: int,
        export: Callable[[int], None],
        evaluate: Callable[[], Sequence[FormLoss]],
        meter: LossMeter,
        curve: LearningCurve,
        together: bool = False,
        distilled: Callable[[], tuple[float, int, int] | None] = lambda: None,
    ) -> None:
        """export(step) writes a checkpoint folder; evaluate() gives the held-out losses; log_every: steps.

        together: every process exports and evaluates, because the model is split over them; else only one does.
        distilled() gives loss, samples and positions of the distillation since the last time, if there is one.
        """
        self.steps = frozenset(steps)
        self.last = max(steps)
        self.log_every = log_every
        self.export = export
        self.evaluate = evaluate
        self.meter = meter
        self.curve = curve
        self.together = together
        self.distilled = distilled

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The untrained start, unless the run resumes."""
        self._started = time.monotonic() - self.curve.seconds
        self._first_step = state.global_step
        self._first_time = self._reported = time.monotonic()
        if (args.should_save or self.together) and state.global_step == 0 and 0 in self.steps:
            self._checkpoint(0, 0.0, args.should_save)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Train rows, and at checkpoint steps everything else."""
        step = state.global_step
        at_checkpoint = step in self.steps
        if step % self.log_every == 0 or at_checkpoint:
            rate = kwargs["lr_scheduler"].get_last_lr()[0]
            self._log_training(step, rate)
            if at_checkpoint and (args.should_save or self.together):
                self._checkpoint(step, rate, args.should_save)
        control.should_save = at_checkpoint and step < self.last
        return control

    def _log_training(self, step: int, rate: float) -> None:
        losses = self.meter.read()
        for form, (loss, n_samples, n_tokens) in losses.items():
            self._row(step, "train", form, loss, n_samples, n_tokens, rate)
        if (distilled := self.distilled()) is not None:
            self._row(step, "train", "distill", *distilled, rate)
            logger.info("step %d: distillation %.4f per sample", step, distilled[0])
        now = time.monotonic()
        n_samples = losses["all"][1] if losses else 0
        left = (now - self._first_time) / max(step - self._first_step, 1) * (self.last - step)
        logger.info(
            "step %d of %d: loss %s, rate %.2e, %.1f samples/s, %.0f s left",
            step,
            self.last,
            ", ".join(f"{form} {values[0]:.3f}" for form, values in losses.items()),
            rate,
            n_samples / max(now - self._reported, 1e-9),
            left,
        )
        self._reported = now

    def _checkpoint(self, step: int, rate: float, writes: bool) -> None:
        self.export(step)
        for found in self.evaluate():
            self._row(step, "heldout", found.form, found.loss_per_token, found.n_samples, found.n_tokens, rate)
            logger.info("step %d: held-out %s loss %.3f per answer token", step, found.form, found.loss_per_token)
        if writes:
            self.curve.save()
        self._reported = time.monotonic()

    def _row(self, step: int, split: str, form: str, loss: float, n_samples: int, n_tokens: int, rate: float) -> None:
        self.curve.add(
            step=step,
            split=split,
            form=form,
            loss_per_token=loss,
            n_samples=n_samples,
            n_tokens=n_tokens,
            learning_rate=rate,
            seconds=time.monotonic() - self._started,
        )
