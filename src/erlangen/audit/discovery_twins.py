"""A predictor and its scores on samples it has not seen, and the target that no motion leaves alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from erlangen.audit.discovery_data import Samples
from erlangen.audit.discovery_model import Choice, KernelPredictor, choose
from erlangen.audit.discovery_report import Reading
from erlangen.stats.resample import bootstrap_bca


@dataclass
class CrossFitted:
    """Two predictors, each for the half of the samples that the other was fitted to."""

    x: Tensor
    halves: tuple[Tensor, Tensor]
    models: list[KernelPredictor]
    truth: Tensor
    is_class: bool
    level: float

    @classmethod
    def make(
        cls, x: Tensor, found: Samples, level: float, generator: torch.Generator, *, choice: Choice | None = None
    ) -> CrossFitted:
        assert found.y is not None
        is_class = found.task == "classification"
        target = _wide(found.y, is_class)
        order = torch.randperm(len(x), generator=generator)
        halves = (order[: len(x) // 2], order[len(x) // 2 :])
        chosen = choice or choose(x[halves[0]], target[halves[0]], is_image=found.type == "image")
        models = [KernelPredictor(x[halves[1 - k]], target[halves[1 - k]], chosen) for k in range(2)]
        return cls(x, halves, models, found.y, is_class, level)

    def for_target(self, y: Tensor, is_class: bool) -> CrossFitted:
        """Predictors of another target from the same inputs."""
        target = _wide(y, is_class)
        models = [model.refitted(target[self.halves[1 - k]]) for k, model in enumerate(self.models)]
        return CrossFitted(self.x, self.halves, models, y, is_class, self.level)

    @property
    def choice(self) -> Choice:
        return self.models[0].choice

    @cached_property
    def score(self) -> Tensor:
        """The score of every unmoved sample."""
        return self.score_of(self.x, self.truth)

    @cached_property
    def base(self) -> float:
        """The score of not looking at the inputs."""
        return float(torch.bincount(self.truth).max() / len(self.truth)) if self.is_class else 0.0

    @cached_property
    def skill(self) -> Reading:
        value = self.score.double()
        generator = torch.Generator().manual_seed(0)
        low, high = bootstrap_bca(value, level=self.level, generator=generator, resamples=500)
        shares = [(v - self.base) / (1 - self.base) for v in (float(value.mean()), low, high)]
        return Reading(*shares)

    def score_of(self, x: Tensor, y: Tensor) -> Tensor:
        """What each sample adds to the score: 1 for a right class, 1 - squared error / variance for numbers."""
        out = torch.zeros(len(x))
        variance = 1.0 if self.is_class else self.truth.var(0).sum()
        for half, model in zip(self.halves, self.models, strict=True):
            answer = model(x[half])
            if self.is_class:
                out[half] = (answer.argmax(1) == y[half]).to(torch.float32)
            else:
                out[half] = 1 - (answer - y[half]).square().sum(1) / variance
        return out


def _wide(y: Tensor, is_class: bool) -> Tensor:
    return torch.nn.functional.one_hot(y).to(torch.float32) if is_class else y


def no_symmetry_target(x: Tensor, moved: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Classes (up to four; numbers `[N, 1]` for `classes` 0) that no motion leaves alone: a random linear map of the
    directions, among the inputs' thirty main components, that the motion changes most for their variance."""
    flat, after = x.flatten(1), moved.flatten(1)
    mean = flat.mean(0)
    values, vectors = _main_components(flat - mean, 30, generator)
    whiten = vectors / (values + 0.02 * values[0]).sqrt()
    main, change = (flat - mean) @ whiten, (after - flat) @ whiten
    amount, directions = torch.linalg.eigh(change.mT @ change)
    directions = directions[:, amount >= 0.3 * amount[-1]][:, -8:]
    signal = main @ directions
    signal = signal / signal.std(0).clamp_min(1e-6)
    outputs = min(max(classes, 2), 4) if classes else 1
    mixed = signal @ torch.randn(signal.shape[1], outputs, generator=generator)
    return mixed.argmax(1) if classes else mixed / mixed.std()


def _main_components(centred: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The largest variances, descending, and their directions `[F, k]`, by a randomised range finder: the number of
    features may be in the thousands (N. Halko, P. Martinsson, J. Tropp, "Finding structure with randomness", 2011)."""
    size = min(count + 10, *centred.shape)
    span = centred.mT @ (centred @ torch.randn(centred.shape[1], size, generator=generator))
    for _ in range(2):
        span = centred.mT @ (centred @ torch.linalg.qr(span)[0])
    basis = torch.linalg.qr(span)[0]
    values, turn = torch.linalg.eigh((centred @ basis).mT @ (centred @ basis) / len(centred))
    keep = (values > 1e-5 * values[-1]).nonzero()[-count:, 0].flip(0)
    return values[keep], basis @ turn[:, keep]
