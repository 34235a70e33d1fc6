"""All functions of a Gaussian process that fit the training data: the law of their values and errors on a test set."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_ROWS = 5_000
JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6)
FLAT = 1e-10
Kernel = Callable[[Tensor, Tensor], Tensor]


def rbf(bandwidth: float) -> Kernel:
    """`exp(-|a - b|² / (2 bandwidth²))`."""
    if not bandwidth > 0:
        raise ValueError(f"bandwidth: {bandwidth}; must be positive")
    return lambda a, b: torch.exp(-torch.cdist(a, b).square() / (2 * bandwidth**2))


@dataclass(frozen=True)
class Interpolants:
    """The posterior on the test inputs: mean `[m, outputs]`, covariance `[m, m]` (of each output).

    `prior` is the mean variance before the data are known, `jitter` the relative diagonal that was added.
    """

    mean: Tensor
    covariance: Tensor
    prior: float
    jitter: float

    def error_law(self, y: Tensor) -> tuple[float, Tensor, Tensor, Tensor]:
        """The mean squared error against `y` as `offset + sum lam chi'^2(df, nc)`: the offset, `lam`, `nc` and `df`.

        The offset is the error in directions in which the functions do not vary: by less than 1e-10 of the variance
        that they had before the data were known, which is what rounding leaves.
        """
        values, vectors = torch.linalg.eigh(self.covariance)
        apart = vectors.T @ (self.mean - y)
        count = apart.numel()
        free = values > FLAT * self.prior
        offset = float(apart[~free].square().sum()) / count
        lam, outputs = values[free] / count, apart.shape[1]
        return offset, lam, apart[free].square().sum(1) / values[free], torch.full_like(lam, outputs)

    def draw(self, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Values of random interpolants at the test inputs, `[samples, m, outputs]`."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root = vectors * values.clamp(min=0).sqrt()
        z = torch.randn(samples, *self.mean.shape, generator=generator, dtype=self.mean.dtype)
        return self.mean + root @ z


def interpolants(
    x: Tensor, y: Tensor, x_test: Tensor, *, kernel: Kernel, noise: float = 0.0, landmarks: int | None = None
) -> Interpolants:
    """The Gaussian process with this kernel (and mean 0) given `f(x) = y`, at `x_test`: by Cholesky, in float64.

    Arguments:
        x, y, x_test: `[n, features]`, `[n, outputs]`, `[m, features]`.
        kernel: `(a, b) -> [len(a), len(b)]`.
        noise: variance of the labels around the functions; 0 for interpolation.
        landmarks: condition through the first so many training inputs (Nyström), O(n landmarks²); needs `noise`.

    Raises:
        ValueError: equal inputs with different labels (by index) where there is no noise; more than 5,000 training
            points without landmarks; a kernel that is not positive definite.
    """
    x, y, x_test = (_rows(name, t) for name, t in (("x_train", x), ("y_train", y), ("x_test", x_test)))
    if len(x) != len(y) or x.shape[1] != x_test.shape[1]:
        raise ValueError(f"x_train, y_train, x_test: {tuple(x.shape)}, {tuple(y.shape)}, {tuple(x_test.shape)} differ")
    if noise < 0:
        raise ValueError(f"noise: {noise}; must not be negative")
    if landmarks is not None:
        return _through_landmarks(x, y, x_test, kernel, noise, landmarks)
    if len(x) > MOST_ROWS:
        raise ValueError(f"x_train: {len(x)} rows; the cost grows with the cube beyond {MOST_ROWS}, give landmarks=")
    if noise == 0:
        x, y = _distinct(x, y)
    gram, between = kernel(x, x), kernel(x, x_test)
    factor, jitter = _cholesky(gram + noise * torch.eye(len(x), dtype=x.dtype))
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    mean = half.T @ torch.linalg.solve_triangular(factor, y, upper=False)
    before = kernel(x_test, x_test)
    covariance = before - half.T @ half
    return Interpolants(mean, (covariance + covariance.T) / 2, float(before.diagonal().mean()), jitter)


def _through_landmarks(
    x: Tensor, y: Tensor, x_test: Tensor, kernel: Kernel, noise: float, landmarks: int
) -> Interpolants:
    if not noise > 0 or not 1 <= landmarks <= len(x):
        raise ValueError(f"landmarks, noise: {landmarks}, {noise}; 1 to {len(x)}, and a positive noise with them")
    anchors = torch.unique(x[:landmarks], dim=0)
    factor, jitter = _cholesky(kernel(anchors, anchors))
    train = torch.linalg.solve_triangular(factor, kernel(anchors, x), upper=False)
    test = torch.linalg.solve_triangular(factor, kernel(anchors, x_test), upper=False)
    inner, _ = _cholesky(train @ train.T / noise + torch.eye(len(anchors), dtype=x.dtype))
    half = torch.linalg.solve_triangular(inner, test, upper=False)
    mean = half.T @ torch.linalg.solve_triangular(inner, train @ y, upper=False) / noise
    before = kernel(x_test, x_test)
    covariance = before - test.T @ test + half.T @ half
    return Interpolants(mean, (covariance + covariance.T) / 2, float(before.diagonal().mean()), jitter)


def _rows(name: str, t: Tensor) -> Tensor:
    t = t.double().cpu()
    t = t[:, None] if t.dim() == 1 else t.flatten(1)
    if not len(t) or not bool(t.isfinite().all()):
        raise ValueError(f"{name}: {tuple(t.shape)}; finite numbers, at least one row")
    return t


def _distinct(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """One row for each different input; an error where equal inputs have different labels."""
    unique, group = torch.unique(x, dim=0, return_inverse=True)
    if len(unique) == len(x):
        return x, y
    first = torch.full((len(unique),), len(x)).scatter_reduce(0, group, torch.arange(len(x)), "amin")
    clash = ((y - y[first[group]]).abs().amax(1) > 0).nonzero().squeeze(1)
    if len(clash):
        late = int(clash[0])
        raise ValueError(
            f"x_train: rows {int(first[group[late]])} and {late} are equal and their labels differ "
            f"({len(clash)} such rows); no function fits both, give noise="
        )
    return x[first], y[first]


def _cholesky(matrix: Tensor) -> tuple[Tensor, float]:
    scale = float(matrix.diagonal().mean())
    for jitter in JITTERS:
        factor, failed = torch.linalg.cholesky_ex(matrix + jitter * scale * torch.eye(len(matrix), dtype=matrix.dtype))
        if not int(failed):
            return factor, jitter
    raise ValueError("kernel: its matrix is not positive definite, even with a relative jitter of 1e-6")
