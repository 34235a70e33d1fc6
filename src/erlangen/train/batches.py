"""From a data set and step numbers to the batches an objective takes, in training and in validation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erlangen.data import PairBatch
from erlangen.train.randomness import generator_for
from erlangen.train.sampler import StepSampler


@dataclass(frozen=True)
class BatchMaker:
    """Vectorised indexing plus views: `(x, generator) -> (x1, x2, g)` with g the transformation from x1 to x2.

    Without views a data set that has `pairs(indices, generator)` makes the pairs itself.
    """

    data: Any
    views: Callable[..., Any] | None
    pair: bool

    def __call__(self, indices: Tensor, generator: torch.Generator) -> PairBatch:
        if self.views is None and self.pair:
            return self.data.pairs(indices, generator)
        x, label = self.data.tensors(indices)
        if self.views is None:
            return PairBatch(x=x, label=label, index=indices)
        first, second, g = self.views(x, generator)
        if self.pair:
            return PairBatch(x=first, x2=second, g=g, label=label, index=indices)
        return PairBatch(x=second, label=label, index=indices)


class StepStream:
    """The batches from the step that has been reached to the end of its epoch: Lightning iterates once per epoch."""

    def __init__(self, maker: BatchMaker, sampler: StepSampler, step: Callable[[], int]) -> None:
        self.maker, self.sampler, self.step = maker, sampler, step

    def __iter__(self) -> Iterator[PairBatch]:
        epoch, first = self.sampler.position(self.step())
        permutation = self.sampler.permutation(epoch)
        for batch in range(first, self.sampler.steps_per_epoch):
            generator = self.sampler.generator(epoch, batch)
            indices = self.sampler.shard(permutation, batch)
            yield self.maker(indices, generator)


@torch.no_grad()
def evaluate(
    encoder: torch.nn.Module, objective: Any, maker: BatchMaker, *, batch_size: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Mean loss, loss terms and metrics over a data set in eval mode; the views are the same at every call."""
    modes = encoder.training, objective.training
    encoder.eval()
    objective.eval()
    sums: dict[str, float] = {}
    count = len(maker.data)
    for number, start in enumerate(range(0, count, batch_size)):
        indices = torch.arange(start, min(start + batch_size, count))
        if maker.pair and len(indices) < 2:  # a pair loss has no statistics on one sample
            continue
        batch = maker(indices, generator_for(seed, "evaluation", number)).to(device)
        terms = objective(encoder, batch)
        values = {"loss": terms.total, **dict(terms), **objective.metrics(encoder, batch)}
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(indices)
        sums["count"] = sums.get("count", 0.0) + len(indices)
    encoder.train(modes[0])
    objective.train(modes[1])
    total = sums.pop("count", 0.0)
    return {name: value / total for name, value in sums.items()} if total else {}
