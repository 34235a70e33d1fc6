"""A linear representation made invariant by gradient, where no subset of the features is."""

from __future__ import annotations

import torch
from torch import Tensor

from erlangen.audit.invariance.approximate import violations
from erlangen.audit.invariance.moments import EnvironmentMoments


def learn_invariant(
    envs: EnvironmentMoments,
    k: int,
    *,
    strength: float | int = 100.0,
    iterations: int = 300,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """`Phi [k, features]` and `w [k]` that minimise average squared error + strength x average violation ("risk").

    The relaxation of invariant prediction to a penalty; for k = 1 it is the idea of M. Arjovsky et al., "Invariant Risk
    Minimization", 2019, arXiv:1907.02893, with the exact excess risk in place of the squared gradient. It is not
    convex: the answer is a local optimum, to be judged by `approx_invariance` on other environments.

    Raises:
        ValueError: k outside 1 .. features, or a negative strength.
    """
    if not 1 <= k <= envs.features:
        raise ValueError(f"k: {k}; allowed: 1 .. {envs.features}")
    if not strength >= 0:
        raise ValueError(f"strength: {strength}; at least 0 is needed")
    phi = torch.randn(k, envs.features, generator=generator, dtype=envs.xy.dtype).to(envs.xy.device)
    # start near the pooled regression, so that the first weight is the predictor itself
    best = torch.linalg.lstsq(envs.xx.mean(0), envs.xy.mean(0)[:, None]).solution[:, 0]
    phi = 0.1 * phi * best.norm() / envs.features**0.5
    phi[0] = best
    phi.requires_grad_(True)
    w = torch.zeros(k, dtype=phi.dtype, device=phi.device)
    w[0] = 1.0
    w.requires_grad_(True)
    optimiser = torch.optim.LBFGS([phi, w], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> Tensor:
        optimiser.zero_grad()
        beta = w @ phi
        risk = (envs.yy - 2 * envs.xy @ beta + (envs.xx @ beta) @ beta).mean()
        loss = risk + strength * violations(phi, envs, w=w).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[arg-type, no-untyped-call]
    return phi.detach(), w.detach()
