"""The problem that the closed forms solve, solved by descent: linear layers on features that are free parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class UnconstrainedFeatures:
    """The best minimiser found: `weights` from first to last layer, class means `[dim, classes]`, and the bias."""

    weights: list[Tensor]
    means: Float[Tensor, "dim classes"]
    bias: Float[Tensor, " classes"]
    loss: float

    @property
    def logits(self) -> Float[Tensor, "classes classes"]:
        """The product of all layers with the class means, without the bias."""
        out = self.means
        for weight in self.weights:
            out = weight @ out
        return out


def unconstrained_features(
    counts: Sequence[float] | Sequence[int] | Tensor,
    lam_w: float | Sequence[float],
    lam_h: float,
    *,
    depth: int = 1,
    dim: int | None = None,
    bias: bool = False,
    restarts: int = 5,
    steps: int = 500,
    generator: torch.Generator | None = None,
) -> UnconstrainedFeatures:
    """Minimise `1/(2N) ||W_M ... W_1 H + b - Y||^2 + sum_j lam_Wj/2 ||W_j||^2 + lam_H/2 ||H||^2` by L-BFGS in float64.

    The samples of a class share one column of H, weighted by their number: for given weights the problem is strictly
    convex in each column, so that they are equal at every minimum. `dim` is the width of all layers (default: twice the
    number of classes). The zero solution is always stationary for more than one layer, so it is compared with as well.

    Raises ValueError for a decay that is not positive or a number of decays other than `depth`.
    """
    n = torch.as_tensor(counts, dtype=torch.float64)
    classes, total = len(n), float(n.sum())
    width = dim or 2 * classes
    decays = [float(lam_w)] * depth if isinstance(lam_w, (int, float)) else [float(v) for v in lam_w]
    if len(decays) != depth or not (min(decays) > 0 and lam_h > 0):
        raise ValueError(f"lam_w, lam_h: {decays} and {lam_h} for {depth} layers; all must be positive, one for each")
    shapes = [(width, width)] * (depth - 1) + [(classes, width), (width, classes), (classes,)]

    def objective(parts: list[Tensor]) -> Tensor:
        out = parts[-2]
        for weight in parts[:-2]:
            out = weight @ out
        error = (out + parts[-1].unsqueeze(1) * bias - torch.eye(classes, dtype=torch.float64)).square().sum(0)
        penalty = sum(d * w.square().sum() for d, w in zip(decays, parts[:-2], strict=True))
        return (n @ error) / (2 * total) + penalty / 2 + lam_h / 2 * (n @ parts[-2].square().sum(0))

    best = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
    if bias:
        best[-1] = n / total
    lowest = float(objective(best))
    for restart in range(restarts):
        scale = (1 + restart / 2) / width**0.5  # with several layers, classes that start small fall to zero
        parts = [scale * torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
        parts = [part.requires_grad_() for part in parts]
        solver = torch.optim.LBFGS(
            parts, max_iter=steps, tolerance_grad=1e-11, tolerance_change=1e-14, line_search_fn="strong_wolfe"
        )

        def closure(solver: torch.optim.LBFGS = solver, parts: list[Tensor] = parts) -> Tensor:
            solver.zero_grad()
            loss = objective(parts)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        solver.step(closure)  # type: ignore[no-untyped-call]
        found = float(objective(parts).detach())
        if found < lowest:
            lowest, best = found, [part.detach() for part in parts]
    return UnconstrainedFeatures(best[:-2], best[-2], best[-1] * bias, lowest)
