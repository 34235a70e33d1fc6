"""A predictor that needs no tuning and no training loop: kernel ridge regression on pixels, patches or polynomials."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PATCHES = 64
Feature = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Choice:
    """Which features and which kernel: chosen once by leave-one-out error and used for the twins as well."""

    features: str
    power: float  # bandwidth in median distances; 0 stands for the polynomial kernel (1 + <x, y>)²
    ridge: float


class KernelPredictor:
    """Kernel ridge regression `[N, ...] -> [N, outputs]` on standardised features, solved in closed form."""

    def __init__(self, x: Tensor, target: Tensor, choice: Choice) -> None:
        self.choice = choice
        self.feature = make_features(x, choice.features)
        z = self.feature(x)
        self.mean = z.mean(0)
        std = z.std(0)
        self.std = torch.where(std < 1e-6 * std.max().clamp_min(1e-30), torch.inf, std)
        self.z = self._standard(z)
        self.scale = _median_square(self.z)
        self.bias = target.mean(0)
        kernel = self._kernel(self.z, self.z)
        kernel.diagonal().add_(choice.ridge * float(kernel.diagonal().mean()))
        self.factor = torch.linalg.cholesky(kernel)
        self.weight = torch.cholesky_solve(target - self.bias, self.factor)

    def refitted(self, target: Tensor) -> KernelPredictor:
        """The same predictor for another target of the same samples."""
        other = copy.copy(self)
        other.bias = target.mean(0)
        other.weight = torch.cholesky_solve(target - other.bias, self.factor)
        return other

    def __call__(self, x: Tensor) -> Tensor:
        parts = [self._kernel(self._standard(self.feature(part)), self.z) @ self.weight for part in x.split(1024)]
        return torch.cat(parts) + self.bias

    def _standard(self, z: Tensor) -> Tensor:
        return (z - self.mean) / self.std

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        return kernel_of(a, b, self.choice.power, self.scale)


def kernel_of(a: Tensor, b: Tensor, power: float, scale: float) -> Tensor:
    """exp(-‖a - b‖² / (power² · scale)), or (1 + <a, b> / dim)² for power 0."""
    if power == 0.0:
        return (1 + a @ b.mT / a.shape[1]).square()
    square = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.mT
    return torch.exp(-square.clamp_min(0) / (power**2 * scale))


def choose(x: Tensor, target: Tensor, *, is_image: bool, limit: int = 500) -> Choice:
    """The features, kernel and ridge with the smallest leave-one-out error on at most `limit` samples."""
    x, target = x[:limit], target[:limit].double()
    best, found = float("inf"), Choice("pixels", 1.0, 1e-3)
    for name in ("pixels", "patches") if is_image else ("pixels",):
        z = make_features(x, name)(x).double()
        std = z.std(0)
        z = (z - z.mean(0)) / torch.where(std < 1e-6 * std.max().clamp_min(1e-30), torch.inf, std)
        scale = _median_square(z)
        for power in (0.5, 1.0, 2.0) if is_image else (0.0, 0.5, 1.0, 2.0):
            kernel = kernel_of(z, z, power, scale)
            values, vectors = torch.linalg.eigh(kernel)
            average = float(kernel.diagonal().mean())
            centred = target - target.mean(0)
            turned = vectors.mT @ centred
            for ridge in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0):
                shrink = 1 / (values.clamp_min(0) + ridge * average)
                weight = vectors @ (turned * shrink[:, None])
                leverage = (vectors.square() * shrink).sum(1)
                error = float((weight / leverage[:, None]).square().mean())
                if error < best:
                    best, found = error, Choice(name, power, ridge)
    return found


def make_features(x: Tensor, name: str) -> Feature:
    """`pixels`: everything flattened. `patches`: responses to random patches of these images, whitened, rectified and
    summed over a 3 x 3 grid (A. Coates, A. Ng, "The importance of encoding versus training with sparse coding and
    vector quantization", 2011)."""
    if name == "pixels":
        return lambda images: images.flatten(1)
    size = 3 if min(x.shape[-2:]) < 16 else 6
    generator = torch.Generator().manual_seed(0)
    some = x[torch.randint(len(x), (min(len(x), 300),), generator=generator)]
    patches = F.unfold(some, size, stride=2).transpose(1, 2).flatten(0, 1)
    patches = patches[torch.randint(len(patches), (4000,), generator=generator)]
    patches = patches - patches.mean(1, keepdim=True)
    active = patches.norm(dim=1) > 0.1 * patches.norm(dim=1).mean()
    patches = patches[active]
    values, vectors = torch.linalg.eigh(patches.mT @ patches / len(patches))
    whiten = (vectors / (values + 0.05 * values.mean()).sqrt()) @ vectors.mT
    chosen = patches[torch.randint(len(patches), (PATCHES,), generator=generator)] @ whiten
    filters = (F.normalize(chosen, dim=1) @ whiten).unflatten(1, (x.shape[1], size, size))

    def respond(images: Tensor) -> Tensor:
        out = []
        for part in images.split(256):
            response = F.conv2d(part, filters, stride=1 if size == 3 else 2)
            both = torch.cat([F.relu(response - 0.25), F.relu(-response - 0.25)], 1)
            out.append(F.adaptive_avg_pool2d(both, 3).flatten(1))
        return torch.cat(out)

    return respond


def _median_square(z: Tensor) -> float:
    some = z[:300]
    square = some.square().sum(1)[:, None] + some.square().sum(1) - 2 * some @ some.mT
    rows, columns = torch.triu_indices(len(some), len(some), 1)
    return max(float(square[rows, columns].median()), 1e-12)
