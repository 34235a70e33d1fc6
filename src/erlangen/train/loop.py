"""The Lightning side of a fit: one module, one callback. Imported only while fitting."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from erlangen.data import PairBatch
from erlangen.train.batches import BatchMaker, evaluate
from erlangen.train.checkpoint import Checkpoint, Progress, cpu_copy, write_checkpoint
from erlangen.train.errors import TrainingError
from erlangen.train.monitoring import tell, watch
from erlangen.train.optimization import build_optimizer, rate_factor
from erlangen.train.progress_bar import ProgressBar
from erlangen.train.randomness import seed_globals
from erlangen.train.sampler import StepSampler


class Interrupted(Exception):
    """Ctrl-C arrived; the step under way was finished and saved."""


@dataclass
class Plan:
    """What the loop needs to know, beyond the modules."""

    sampler: StepSampler
    validation: BatchMaker | None
    epochs: int
    lr: float
    weight_decay: float
    optimizer: str
    schedule: str
    patience: int | None
    seed: int
    out: Path | None
    save_every_steps: int | None
    seconds_between_saves: float = 10.0
    progress: Progress = field(default_factory=Progress)
    optimizer_state: dict[str, Any] | None = None
    best_weights: dict[str, Tensor] | None = None
    watched: Tensor | None = None

    @property
    def total_steps(self) -> int:
        return self.epochs * self.sampler.steps_per_epoch


class FitModule(pl.LightningModule):
    """Encoder plus objective as Lightning sees them."""

    def __init__(self, encoder: nn.Module, objective: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.encoder, self.objective = encoder, objective
        self.plan = plan
        self.values: dict[str, Tensor] = {}

    def transfer_batch_to_device(self, batch: PairBatch, device: torch.device, dataloader_idx: int) -> PairBatch:
        return batch.to(device)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        terms = self.objective(self.encoder, batch)
        total = terms.total
        self.values = {"loss": total.detach(), **dict(terms.detach())}
        if not bool(torch.isfinite(total)):
            raise TrainingError(self._complaint(batch))
        return total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        plan = self.plan
        return build_optimizer(plan.optimizer, self.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)

    def _complaint(self, batch: PairBatch) -> str:
        step = self.plan.progress.step
        if not bool(torch.isfinite(batch.x).all()):
            rows = (~torch.isfinite(batch.x).flatten(1).all(1)).nonzero().flatten()
            index = batch.index[rows[0]].item() if batch.index is not None else rows[0].item()
            return f"data: sample {index} holds NaN or infinity (step {step}); clean the data and run again"
        bad = [name for name, value in self.values.items() if name != "loss" and not bool(torch.isfinite(value).all())]
        named = ", ".join(f"loss term {name} = {float(self.values[name])}" for name in bad)
        named = named or f"the total of the weighted loss terms = {float(self.values.get('loss', float('nan')))}"
        return (
            f"{named} at step {step} (epoch {step // self.plan.sampler.steps_per_epoch}); "
            f"a smaller lr than {self.plan.lr:g} is the usual cure"
        )


class FitCallback(pl.Callback):
    """Learning rate, history, validation, early stopping, checkpoints and the bar."""

    def __init__(self, plan: Plan, bar: ProgressBar) -> None:
        self.plan, self.bar = plan, bar
        self._interrupted = False
        self._sums: dict[str, Tensor] = {}
        self._clock = self._saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: FitModule) -> None:  # type: ignore[override]
        if self.plan.optimizer_state is not None:
            trainer.strategy.load_optimizer_state_dict({"optimizer_states": [self.plan.optimizer_state]})
            self.plan.optimizer_state = None
        self._sums = {k: torch.tensor(v, dtype=torch.float64) for k, v in self.plan.progress.sums.items()}
        if self.plan.progress.step == 0:
            self.save(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, module: FitModule, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        plan = self.plan
        step = plan.progress.step
        rate = plan.lr * rate_factor(plan.schedule, step, plan.total_steps)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate
        seed_globals(plan.seed, "step", step, plan.sampler.rank)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, module: FitModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        plan, progress = self.plan, self.plan.progress
        progress.step += 1
        after = getattr(module.objective, "after_step", None)
        if after is not None:
            after(module.encoder, step=progress.step, total_steps=plan.total_steps)
        for name, value in module.values.items():
            old = self._sums.get(name)
            new = value.to("cpu", torch.float64)
            self._sums[name] = new if old is None else old + new
        if self.bar.due():
            epoch = (progress.step - 1) // plan.sampler.steps_per_epoch
            self.bar.update(progress.step, f"epoch {epoch + 1}/{plan.epochs}  loss {float(module.values['loss']):.4f}")
        if progress.step % plan.sampler.steps_per_epoch:  # the last step of an epoch is saved after validation
            every = plan.save_every_steps
            if (every and progress.step % every == 0) or (not every and self._overdue(trainer, 6)):
                self.save(trainer)
            self._stop_if_interrupted(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: FitModule) -> None:  # type: ignore[override]
        plan, progress = self.plan, self.plan.progress
        steps = plan.sampler.steps_per_epoch
        row: dict[str, Any] = {"epoch": progress.step // steps - 1, "step": progress.step}
        row |= {f"train/{name}": float(value) / steps for name, value in self._sums.items()}
        self._sums = {}
        if plan.validation is not None:
            size = plan.sampler.step_size
            scores = evaluate(
                module.encoder, module.objective, plan.validation, batch_size=size, seed=plan.seed, device=module.device
            )
            row |= {f"val/{name}": value for name, value in scores.items()}
        if plan.watched is not None:
            row |= watch(module.encoder, module.objective, plan.watched, row, module.device)
        row = trainer.strategy.broadcast(row)
        if trainer.is_global_zero:
            tell(row, progress.history[-1] if progress.history else None)
        progress.history.append(row)
        self._judge(row, trainer, module)
        finished = progress.step >= plan.total_steps or progress.stopped is not None
        every = plan.save_every_steps
        if finished or (progress.step % every == 0 if every else self._overdue(trainer, 1)):
            self.save(trainer)
        if self.bar.due() or finished:
            self.bar.update(progress.step, f"epoch {row['epoch'] + 1}/{plan.epochs}  loss {row['train/loss']:.4f}")
        if progress.stopped is not None:
            trainer.should_stop = True
        elif not finished:
            self._stop_if_interrupted(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write a checkpoint of this very step; every rank takes part in gathering, rank 0 writes."""
        plan = self.plan
        now = time.monotonic()
        plan.progress.seconds += now - self._clock
        self._clock = now
        if plan.out is None:
            return
        plan.progress.sums = {name: float(value) for name, value in self._sums.items()}
        weights = cpu_copy(trainer.strategy.lightning_module_state_dict())
        optimizer = trainer.strategy.optimizer_state(trainer.optimizers[0])
        if trainer.is_global_zero:
            write_checkpoint(plan.out, Checkpoint(plan.progress, weights, optimizer, plan.best_weights))
        trainer.strategy.barrier()
        self._saved = time.monotonic()

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: finish the step, save, stop; a second Ctrl-C does not wait."""
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def _judge(self, row: dict[str, Any], trainer: pl.Trainer, module: FitModule) -> None:
        plan, progress = self.plan, self.plan.progress
        if plan.patience is None:
            return
        score = row.get("val/loss", row["train/loss"])
        if progress.best is None or score < progress.best:
            progress.best, progress.best_epoch = score, row["epoch"]
            plan.best_weights = cpu_copy(trainer.strategy.lightning_module_state_dict())
        elif row["epoch"] - (progress.best_epoch or 0) >= plan.patience:
            progress.stopped = f"no better loss for {plan.patience} epochs"

    def _overdue(self, trainer: pl.Trainer, factor: int) -> bool:
        late = time.monotonic() - self._saved > factor * self.plan.seconds_between_saves
        return bool(trainer.strategy.broadcast(late))

    def _stop_if_interrupted(self, trainer: pl.Trainer) -> None:
        if trainer.world_size == 1 and self._interrupted:
            self.save(trainer)
            raise Interrupted


class FirstInterrupt:
    """While open, Ctrl-C calls `handler` instead of breaking into the middle of a step (main thread only)."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self.handler = handler
        self._old: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread() and "LOCAL_RANK" not in os.environ:
            self._old = signal.signal(signal.SIGINT, self.handler)

    def __exit__(self, *exception: Any) -> None:
        if self._old is not None:
            signal.signal(signal.SIGINT, self._old)
