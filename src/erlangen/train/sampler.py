"""Which samples make step n, as a function of n."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from erlangen.train.randomness import generator_for


@dataclass(frozen=True)
class StepSampler:
    """Batches as a pure function of (seed, epoch, batch): a fit resumes at any step from the step number alone.

    The permutation of epoch e is drawn from (seed, e), the augmentation generator of batch b from (seed, e, b, rank).
    `batch_size` counts the samples of one optimizer step over all ranks; rank r of w takes every w-th of them, so that
    the same command means the same steps on one device and on many. The last, incomplete batch of an epoch is left
    out (its samples come first in no fixed order: each epoch has its own permutation); fewer samples than `batch_size`
    make one batch.
    """

    num_samples: int
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.num_samples < self.world:
            raise ValueError(f"data: {self.num_samples} training samples cannot feed {self.world} devices")
        if self.batch_size < 1 or self.batch_size % self.world:
            raise ValueError(
                f"batch_size: {self.batch_size} cannot be shared by {self.world} devices; give a positive multiple"
            )

    @property
    def step_size(self) -> int:
        """Samples per optimizer step, all ranks together."""
        return min(self.batch_size, self.num_samples - self.num_samples % self.world)

    @property
    def steps_per_epoch(self) -> int:
        return self.num_samples // self.step_size

    def position(self, step: int) -> tuple[int, int]:
        """(epoch, batch) of step number `step`."""
        return divmod(step, self.steps_per_epoch)

    def permutation(self, epoch: int) -> Int64[Tensor, " samples"]:
        return torch.randperm(self.num_samples, generator=generator_for(self.seed, "permutation", epoch))

    def shard(self, permutation: Int64[Tensor, " samples"], batch: int) -> Int64[Tensor, " shard"]:
        """This rank's samples of batch number `batch`."""
        start = batch * self.step_size
        return permutation[start : start + self.step_size][self.rank :: self.world]

    def generator(self, epoch: int, batch: int) -> torch.Generator:
        """The generator that augments this rank's part of a batch."""
        return generator_for(self.seed, "views", epoch, batch, self.rank)
