"""Linear classifiers with one right answer: closed-form ridge and multinomial logistic regression by L-BFGS."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot


@dataclass(frozen=True)
class LinearProbe:
    """`standardise(x) @ weight + bias`; `converged` tells whether the fit reached its optimum."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor
    converged: bool = True

    def __call__(self, x: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows outputs"]:
        return ((x.to(self.mean.dtype) - self.mean) / self.std) @ self.weight + self.bias

    def predict(self, x: Float[Tensor, "rows dim"]) -> Int[Tensor, " rows"]:
        return self(x).argmax(1)


def _standardise(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    if len(x) < 2:
        raise ValueError(f"x: {len(x)} rows are too few for a probe; at least 2 are needed")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x: contains NaN or infinite values; a probe needs finite features")
    x = x.to(dtype)
    mean, std = x.mean(0), x.std(0)
    # a constant feature carries nothing: leave it at zero instead of dividing its rounding noise by itself
    std = torch.where(std <= 1e-6 * mean.abs() + 1e-30, torch.inf, std)
    return (x - mean) / std, mean, std


def fit_ridge(
    x: Float[Tensor, "rows dim"], target: Float[Tensor, "rows outputs"], *, penalty: float | None = None
) -> LinearProbe:
    """Ridge regression on standardised features, solved exactly in float64.

    Minimises `||x w + b - target||^2 + penalty ||w||^2`. Without a penalty it is chosen from a grid by leave-one-out
    error, which one eigen-decomposition gives for every value (Allen's PRESS, 1974; the bias is never penalised).
    """
    z, mean, std = _standardise(x, torch.float64)
    y = target.double()
    bias = y.mean(0)
    y = y - bias
    if penalty is not None and penalty > 0 and len(z) >= z.shape[1]:  # the normal equations, safe by their penalty
        gram = z.T @ z + penalty * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        return LinearProbe(mean, std, torch.linalg.solve(gram, z.T @ y), bias)
    u, s, vt = torch.linalg.svd(z, full_matrices=False)
    projected = u.T @ y
    if penalty is None:
        grid = torch.logspace(-6, 3, 19, dtype=torch.float64) * s.square().mean().clamp(min=1e-30)
        errors = []
        for candidate in grid:
            shrink = s.square() / (s.square() + candidate)
            leverage = (u.square() * shrink).sum(1, keepdim=True) + 1 / len(z)
            errors.append((((y - u @ (projected * shrink.unsqueeze(1))) / (1 - leverage).clamp(min=1e-9)) ** 2).mean())
        penalty = float(grid[int(torch.stack(errors).argmin())])
    elif penalty < 0:
        raise ValueError(f"penalty: {penalty}; must not be negative")
    gain = torch.where(s > 1e-12 * s.max().clamp(min=1e-300), s / (s.square() + penalty), torch.zeros_like(s))
    weight = vt.T @ (projected * gain.unsqueeze(1))
    return LinearProbe(mean, std, weight, bias)


def fit_ridge_classes(
    x: Float[Tensor, "rows dim"], label: Int[Tensor, " rows"], num_classes: int, *, penalty: float | None = None
) -> LinearProbe:
    """Ridge regression on one-hot labels: a classifier in one decomposition."""
    return fit_ridge(x, one_hot(label, num_classes).double(), penalty=penalty)


def fit_logistic(
    x: Float[Tensor, "rows dim"],
    label: Int[Tensor, " rows"],
    num_classes: int,
    *,
    penalty: float = 1.0,
    max_iterations: int = 200,
    tolerance: float = 1e-5,
    dtype: torch.dtype = torch.float64,
) -> LinearProbe:
    """Multinomial logistic regression on standardised features by L-BFGS.

    Minimises `sum_i CE(x_i w + b, label_i) + penalty/2 ||w||^2` (scikit-learn's objective with `C = 1/penalty`; the
    bias is not penalised). The start is zero, so the answer does not depend on a seed.
    """
    if len(label) and not 0 <= int(label.min()) <= int(label.max()) < num_classes:
        raise ValueError(f"label: {int(label.min())} to {int(label.max())}; must be 0 to {num_classes - 1}")
    z, mean, std = _standardise(x, dtype)
    n = len(z)
    weight = torch.zeros(z.shape[1], num_classes, dtype=dtype, device=z.device, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=dtype, device=z.device, requires_grad=True)
    target = one_hot(label, num_classes).to(dtype)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_iterations,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    @torch.no_grad()
    def closure() -> Tensor:
        log_share = (z @ weight + bias).log_softmax(1)
        miss = (log_share.exp() - target) / n  # the gradient in closed form: no graph to record and walk back
        weight.grad, bias.grad = z.T @ miss + penalty / n * weight, miss.sum(0)
        return -(log_share * target).sum() / n + penalty / (2 * n) * weight.square().sum()

    with torch.inference_mode(False), torch.no_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
        closure()
    gradient = max(float(p.grad.abs().max()) for p in (weight, bias) if p.grad is not None)
    return LinearProbe(mean, std, weight.detach(), bias.detach(), gradient <= 100 * tolerance)
