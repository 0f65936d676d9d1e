"""transformers' Trainer for an `LSLM`: mixed batches, two learning rates, exact token means, small resume files.

Several processes: started by torchrun or accelerate (environment variables RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR,
MASTER_PORT), each process takes its part of every batch; losses are summed over processes. Files are written by the
process with `args.should_save`, except its own random state and, where the model is split (`sharding`), its own part of
the optimiser's state.
"""

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments

from workflow_scripts.speech_lm.trainable.checkpoint import whole_tensors
from workflow_scripts.speech_lm.trainable.lslm import LSLM
from workflow_scripts.training.distill import Distillation
from workflow_scripts.training.sampler import MixedBatchSampler
from workflow_scripts.training.sharding import is_sharded, load_optimizer_part, place, save_optimizer_part
from workflow_scripts.training.unfinished import write_checksums

FORMS = ("speech", "text")
WEIGHTS_FILE = "model.safetensors"
"""Name under which Trainer looks for weights when it resumes; here: only what is trained, in its own precision."""
OPTIMIZER_PART = "optimizer_{}.pt"
SCHEDULER_FILE = "scheduler.pt"


class LossMeter:
    """Sums of the training loss per form since the last reading."""

    def __init__(self, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> None:
        """total: adds up a tensor over processes; every process must then read at the same time."""
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0, 0])
        self._total = total

    def add(self, token_nll: Tensor, rows: Tensor, spoken: Tensor) -> None:
        """token_nll (N,) and the row of each; spoken (B,) bool per row."""
        for form, of_form in zip(FORMS, (spoken, ~spoken)):
            chosen = of_form[rows]
            sums = self._sums[form]
            sums[0] += float(token_nll.detach()[chosen].double().sum())
            sums[1] += int(of_form.sum())
            sums[2] += int(chosen.sum())

    def read(self) -> dict[str, tuple[float, int, int]]:
        """(loss per token, samples, tokens) of speech, text and all, forms without tokens left out; starts anew."""
        own = torch.tensor([self._sums[form] for form in FORMS], dtype=torch.float64)
        self._sums.clear()
        sums = dict(zip(FORMS, self._total(own).tolist()))
        sums["all"] = [sum(values) for values in zip(*sums.values())]
        return {
            form: (nll / tokens, int(samples), int(tokens)) for form, (nll, samples, tokens) in sums.items() if tokens
        }


class LSLMTrainer(Trainer):
    """Trainer of an `LSLM`; `compute_loss` gives the mean over all answer tokens of the optimiser step."""

    def __init__(
        self,
        model: LSLM,
        args: TrainingArguments,
        *,
        sampler: MixedBatchSampler,
        adapter_learning_rate: float,
        distillation: Distillation | None = None,
        **options: Any,
    ) -> None:
        """args.learning_rate is the language model's; `sampler` yields whole optimiser steps (see there).

        distillation: a loss beside that of the answers; batches then hold what it reads (`Collator.written`).
        """
        super().__init__(model, args, **options)
        self.sampler = sampler
        self.adapter_learning_rate = adapter_learning_rate
        self.distillation = distillation
        self.sharded = is_sharded(model)
        self.meter = LossMeter(self._over_processes)
        # Makes Trainer count the label tokens of the whole step, over micro-batches and processes.
        self.model_accepts_loss_kwargs = True

    def distilled(self) -> tuple[float, int, int] | None:
        """Mean loss of the distillation per sample, samples and positions since the last reading; None without any."""
        if self.distillation is None:
            return None
        total, n_samples, n_positions = self._over_processes(self.distillation.read()).tolist()
        return (total / n_samples, int(n_samples), int(n_positions)) if n_samples else None

    def _over_processes(self, sums: Tensor) -> Tensor:
        if self.args.world_size == 1:
            return sums
        return self.accelerator.reduce(sums.to(self.args.device), "sum").cpu()

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self.sampler

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW; groups: language model, adapter, each with decay on matrices and none on vectors."""
        if self.optimizer is None:
            settings = {"betas": (self.args.adam_beta1, self.args.adam_beta2), "eps": self.args.adam_epsilon}
            groups = parameter_groups(
                self.model, self.args.learning_rate, self.adapter_learning_rate, self.args.weight_decay
            )
            self.optimizer = torch.optim.AdamW(groups, lr=self.args.learning_rate, fused=True, **settings)
        return self.optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of the label costs over the number of label tokens of the whole optimiser step.

        With distillation, plus its weight times its loss, averaged over the step's spoken samples.

        Raises:
            FloatingPointError: the loss is not finite; names step and remedy.
        """
        output, distilled = (
            (model(**inputs), None) if self.distillation is None else self.distillation.run(model, inputs)
        )
        # Gradients are averaged over processes, hence the factor.
        loss = output.token_nll.sum() / num_items_in_batch * self.args.world_size
        if self.sharded and "features" not in inputs:
            # Every process must have a gradient for the same parameters, also where a micro-batch is all written.
            loss = loss + 0.0 * sum(parameter.sum() for parameter in self.model.adapter.parameters())
        if distilled is not None:
            weight = self.distillation.settings.weight * self.args.world_size / self.sampler.n_spoken
            loss = loss + weight * distilled
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}; lower the recipe's learning_rate or "
                "adapter_learning_rate, or start from a warmed-up adapter"
            )
        self.meter.add(output.token_nll, output.rows, inputs["speech_mask"].any(dim=1))
        return (loss, output) if return_outputs else loss

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        """Gradients are summed and split at every micro-batch: kept whole until the last they would not fit."""
        return nullcontext()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """The trained parameters only, as safetensors: the frozen rest comes from the backbone."""
        folder = Path(output_dir or self.args.output_dir)
        trained = whole_tensors(trained_parameters(self.model), keep=self.args.should_save)
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(trained, folder / WEIGHTS_FILE)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.sharded:
            folder = Path(output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_optimizer_part(self.optimizer, folder / OPTIMIZER_PART.format(self.args.process_index))
            if self.args.should_save:
                torch.save(self.lr_scheduler.state_dict(), folder / SCHEDULER_FILE)
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # trainer_state.json, which marks completeness, comes next: not before every process has written its part.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            write_checksums(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.sharded and checkpoint is not None:
            folder = Path(checkpoint)
            load_optimizer_part(self.optimizer, folder / OPTIMIZER_PART.format(self.args.process_index))
            self.lr_scheduler.load_state_dict(torch.load(folder / SCHEDULER_FILE, weights_only=True))
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Put the parameters written by `_save` back, every one of them."""
        saved = load_file(Path(resume_from_checkpoint) / WEIGHTS_FILE)
        parameters = trained_parameters(model or self.model)
        if saved.keys() != parameters.keys():
            raise ValueError(f"{resume_from_checkpoint} is of another model; delete it and train again")
        for name, parameter in parameters.items():
            place(parameter, saved[name])


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters with gradients by name; tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def parameter_groups(
    model: nn.Module, learning_rate: float, adapter_learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Optimiser groups: the language model's first, then the adapter's; weight decay on matrices only."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in trained_parameters(model).items():
        groups[name.startswith("adapter."), parameter.ndim < 2].append(parameter)
    return [
        {
            "params": groups[key],
            "lr": adapter_learning_rate if key[0] else learning_rate,
            "weight_decay": 0.0 if key[1] else weight_decay,
        }
        for key in sorted(groups)
    ]
