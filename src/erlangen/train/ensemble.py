"""Train many small networks of one shape at once: one batched operation where a loop would make sixty-four small ones."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from erlangen.train.stacked_optimizers import OPTIMIZERS, StackedOptimizer

Loss = Callable[[Any, Tensor], Tensor]


class Ensemble:
    """Networks of one architecture with their weights stacked along a first axis.

    A buffer that is one and the same tensor in all of several models (a fixed table, a projection) is kept once, in
    `shared`. The models given are not changed.

    Arguments:
        models: at least one, of the same architecture; their weights are copied.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        if not models:
            raise ValueError("models: none given; at least one network is needed")
        named = [dict(m.named_parameters()) for m in models]
        stored = [dict(m.named_buffers()) for m in models]
        for place, (weights, tables) in enumerate(zip(named, stored, strict=True)):
            shape = {n: tuple(t.shape) for n, t in {**weights, **tables}.items()}
            if place == 0:
                first = shape
            elif shape != first:
                odd = next(iter(sorted(shape.items() ^ first.items())))[0]
                raise ValueError(f"models: number {place} has another architecture than number 0 (see {odd!r})")
        separate = len({id(m) for m in models}) == len(models) > 1
        self.parameters = {n: torch.stack([w[n].detach() for w in named]) for n in named[0]}
        self.shared = {n: t for n, t in stored[0].items() if separate and all(b[n] is t for b in stored)}
        self.buffers = {n: torch.stack([b[n].detach() for b in stored]) for n in stored[0] if n not in self.shared}
        self.skeleton = _copy_around(models[0], self.shared)
        self._trainable = {name for name, p in named[0].items() if p.requires_grad}
        self._members = len(models)

    def __len__(self) -> int:
        return self._members

    def __call__(self, x: Tensor, *, each: bool = False, chunk_size: int | None = None) -> Any:
        """Outputs of all members, `[members, batch, ...]`, in evaluation mode and without a graph.

        `each=True`: `x` is `[members, batch, ...]`, one batch a member; otherwise all see the same.
        """
        self.skeleton.eval()

        def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Any:
            return functional_call(self.skeleton, (parameters, buffers, self.shared), (batch,))

        with torch.no_grad():
            mapped = vmap(call, in_dims=(0, 0, 0 if each else None), randomness="different", chunk_size=chunk_size)
            return mapped(self.parameters, self.buffers, x)

    def members(self) -> list[nn.Module]:
        """The networks as separate modules again, in evaluation mode; `shared` tensors stay one."""
        made = []
        for place in range(len(self)):
            module = _copy_around(self.skeleton, self.shared)
            own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            with torch.no_grad():
                for name, stacked in {**self.parameters, **self.buffers}.items():
                    own[name].copy_(stacked[place])
            made.append(module.eval())
        return made


def _copy_around(model: nn.Module, shared: dict[str, Tensor]) -> nn.Module:
    return copy.deepcopy(model, {id(t): t for t in shared.values()})


@dataclass(frozen=True)
class EnsembleRun:
    """What `fit_ensemble` returns: the trained ensemble and the loss of every member at the recorded steps."""

    ensemble: Ensemble
    steps: list[int] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)

    @property
    def models(self) -> list[nn.Module]:
        return self.ensemble.members()


def fit_ensemble(
    models: Sequence[nn.Module] | Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = nn.functional.cross_entropy,
    steps: int,
    batch_size: int | None = None,
    lr: float | Sequence[float] = 1e-3,
    optimizer: Literal["sgd", "adam", "adamw"] = "adam",
    momentum: float = 0.0,
    weight_decay: float | Sequence[float] = 0.0,
    each: bool = False,
    seeds: Sequence[int] | int = 0,
    record_every: int = 100,
    chunk_size: int | None = None,
) -> EnsembleRun:
    """Train all members together; every member ends as it would have by itself (to rounding).

    Arguments:
        models: networks of one architecture, or an `Ensemble` to go on with (changed in place).
        x: inputs `[samples, ...]`, or `[members, samples, ...]` with `each=True`.
        y: targets `[samples, ...]`, or `[members, samples, ...]` with `each=True`.
        loss: `(output, target) -> number` for one member.
        steps: optimizer steps.
        batch_size: samples a step; None takes all of them. Batches run through permutations, dropping the last partial one.
        lr: one rate, or one for each member.
        optimizer: as in torch.optim, with its default constants.
        momentum: of "sgd".
        weight_decay: one, or one for each member.
        each: whether every member has data of its own.
        seeds: of the order of the batches: one number for all (the batches are then shared), or one for each member.
        record_every: how often the losses are kept; the last step always is.
        chunk_size: how many members go together; None is all.

    Raises:
        ValueError: sizes that do not fit, by name.
    """
    ensemble = models if isinstance(models, Ensemble) else Ensemble(models)
    members = len(ensemble)
    count = x.shape[1] if each else x.shape[0]
    _check_sizes(members, x, y, each=each, steps=steps, batch_size=batch_size)
    batches = _Batches(members, count, batch_size or count, seeds)
    shared = not each and batches.shared
    trainable = {n: p.clone() for n, p in ensemble.parameters.items() if n in ensemble._trainable}
    if not trainable:
        raise ValueError("models: no weights that require a gradient; there is nothing to train")
    frozen = {n: p for n, p in ensemble.parameters.items() if n not in ensemble._trainable}
    skeleton, fixed = ensemble.skeleton.train(), ensemble.shared
    if loss is nn.functional.cross_entropy and _is_plain(y):
        loss = class_entropy

    def objective(
        own: dict[str, Tensor], rest: dict[str, Tensor], state: dict[str, Tensor], a: Tensor, b: Tensor
    ) -> Any:
        return loss(functional_call(skeleton, ({**own, **rest}, state, fixed), (a,)), b)

    data_axis = None if shared else 0
    step = vmap(
        grad_and_value(objective),
        in_dims=(0, 0, 0, data_axis, data_axis),
        randomness="different",
        chunk_size=chunk_size,
    )
    rule = StackedOptimizer(optimizer, trainable, lr=lr, weight_decay=weight_decay, momentum=momentum)
    run = EnsembleRun(ensemble)
    for number in range(steps):
        index = batches.at(number).to(x.device)
        if shared:
            a, b = x[index], y[index]
        elif each:
            rows = torch.arange(members, device=x.device)[:, None]
            index = index.expand(members, -1)
            a, b = x[rows, index], y[rows, index]
        else:
            a, b = x[index], y[index]
        gradients, losses = step(trainable, frozen, ensemble.buffers, a, b)
        rule.step(trainable, gradients)
        if number % record_every == 0 or number == steps - 1:
            run.steps.append(number)
            run.losses.append(losses.detach().clone())
    ensemble.parameters = {**trainable, **frozen}
    return run


def class_entropy(output: Tensor, target: Tensor) -> Tensor:
    """`torch.nn.functional.cross_entropy` of class numbers, from operations that stay fast when they are batched.

    The batched softmax over a handful of classes is the slowest part of a small network's step.
    """
    if output.dim() != 2 or target.dim() != 1:
        return nn.functional.cross_entropy(output, target)
    chosen = target[:, None] == torch.arange(output.shape[1], device=output.device)
    return (output.logsumexp(1) - torch.where(chosen, output, 0).sum(1)).mean()


def _is_plain(target: Tensor) -> bool:
    """Whether all targets are class numbers (none is to be left out)."""
    return target.dtype == torch.int64 and target.numel() > 0 and int(target.min()) >= 0


class _Batches:
    """The indices of each step: `[batch]` where all members share them, else `[members, batch]`."""

    def __init__(self, members: int, count: int, size: int, seeds: Sequence[int] | int) -> None:
        self.shared = isinstance(seeds, int)
        self.seeds = [seeds] if isinstance(seeds, int) else list(seeds)
        if not self.shared and len(self.seeds) != members:
            raise ValueError(f"seeds: {len(self.seeds)} for {members} members; give one for each, or one for all")
        self.count, self.size = count, size
        self.per_epoch = count // size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def at(self, step: int) -> Tensor:
        epoch, place = divmod(step, self.per_epoch)
        if self.size == self.count:
            whole = torch.arange(self.count)
            return whole if self.shared else whole.expand(len(self.seeds), -1)
        if epoch != self._epoch:
            orders = [
                torch.randperm(self.count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
                for seed in self.seeds
            ]
            self._order, self._epoch = torch.stack(orders), epoch
        chosen = self._order[:, place * self.size : (place + 1) * self.size]
        return chosen[0] if self.shared else chosen


def _check_sizes(members: int, x: Tensor, y: Tensor, *, each: bool, steps: int, batch_size: int | None) -> None:
    axis = 1 if each else 0
    if each and (len(x) != members or len(y) != members):
        raise ValueError(f"x, y: {len(x)} and {len(y)} data sets for {members} members; each=True needs one for each")
    if x.ndim <= axis or y.ndim <= axis or x.shape[axis] != y.shape[axis]:
        raise ValueError(f"y: shape {tuple(y.shape)} for x of shape {tuple(x.shape)}; the numbers of samples differ")
    if steps < 1:
        raise ValueError(f"steps: {steps}; at least 1 is needed")
    if batch_size is not None and not 1 <= batch_size <= x.shape[axis]:
        raise ValueError(f"batch_size: {batch_size}; between 1 and the {x.shape[axis]} samples is needed")


__all__ = ["OPTIMIZERS", "Ensemble", "EnsembleRun", "fit_ensemble"]
