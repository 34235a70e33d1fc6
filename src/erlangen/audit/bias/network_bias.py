"""The same bits for networks: how rarely one trained from random weights generalises to a given error."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from erlangen.audit.bias.kernel_bias import BITS, CURVE_POINTS, _check_eps, bias_finding
from erlangen.audit.bias.noncentral import fit_noncentral, noncentral_logcdf
from erlangen.audit.finding import Finding, Interval
from erlangen.stats.resample import clopper_pearson
from erlangen.train.ensemble import fit_ensemble

DRAWS = 200


def inductive_bias_nn(
    model_fn: Callable[[], nn.Module],
    x_train: Tensor,
    y_train: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    *,
    eps: float | Sequence[float],
    members: int = 64,
    steps: int = 500,
    batch_size: int | None = None,
    lr: float = 1e-3,
    level: float = 0.95,
    seed: int = 0,
    chunk_size: int | None = None,
) -> Finding:
    """`-log2 P(test error <= eps)` over networks of one architecture trained from random weights by squared error.

    `members` networks are trained at once; a scaled non-central chi-square through three cumulants of their test
    errors gives the tail, with an interval from the parametric bootstrap (draws from the fitted law, fitted again).
    Beyond log2(members) bits that is extrapolation, and a warning says so; `details` has the counted share as well,
    with the interval of Clopper and Pearson.

    Arguments:
        model_fn: builds the network, with weights from torch's global generator; outputs `[batch, outputs]`.
        y_train, y_test: `[n, outputs]`.
        eps, level: as in `inductive_bias`.
        steps, batch_size, lr, chunk_size: as in `fit_ensemble`, with Adam.

    Raises:
        ValueError: `eps` not positive, fewer than 8 members, shapes.

    Source: Boopathy, Yue, Hwang, Iyer and Fiete, Towards Exact Computation of Inductive Bias, 2024, arXiv:2406.15941.
    """
    wanted = _check_eps(eps)
    if members < 8:
        raise ValueError(f"members: {members}; at least 8 are needed to see the law of their errors")
    models = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(members):
            models.append(model_fn())
    run = fit_ensemble(
        models,
        x_train,
        y_train,
        loss=nn.functional.mse_loss,
        steps=steps,
        batch_size=None if batch_size is None else min(batch_size, len(x_train)),
        lr=lr,
        seeds=seed,
        record_every=steps,
        chunk_size=chunk_size,
    )
    outputs = torch.cat([run.ensemble(part, chunk_size=chunk_size) for part in x_test.split(256)], 1)
    if outputs.shape[1:] != y_test.shape:
        raise ValueError(f"y_test: {tuple(y_test.shape)} for outputs of shape {tuple(outputs.shape[1:])}")
    errors = (outputs - y_test).double().square().flatten(1).mean(1).cpu()
    train_error = float(run.losses[-1].mean())
    fitted = fit_noncentral(errors[None])
    drawn = fit_noncentral(_draws(fitted[0], DRAWS, members, torch.Generator().manual_seed(seed)))
    asked = torch.tensor(wanted, dtype=torch.float64)
    grid = torch.logspace(
        math.log10(min([*wanted, 0.7 * float(errors.min())])), math.log10(1.2 * float(errors.max())), CURVE_POINTS
    ).double()
    everything = torch.cat([asked, grid])
    bits = -noncentral_logcdf(fitted, everything)[0] * BITS
    ordered = (-noncentral_logcdf(drawn, everything) * BITS).sort(0).values
    low = ordered[int((1 - level) / 2 * DRAWS)]
    high = ordered[math.ceil((1 + level) / 2 * DRAWS) - 1]
    hits = int((errors <= wanted[0]).sum())
    share = clopper_pearson(hits, members, level=level)
    value = float(bits[0])
    warnings: tuple[str, ...] = ()
    if value > math.log2(members):
        warnings = (f"{value:.1f} bits from {members} networks is extrapolation by the fitted law",)
    details = {
        "eps": wanted,
        "bits": bits[: len(wanted)].tolist(),
        "counted_bits": [_bits(hits / members), _bits(share[1]), _bits(share[0])],
        "mean_error": float(errors.mean()),
        "train_error": train_error,
        "members": members,
        "train": len(x_train),
        "test": len(x_test),
        "scale_df_noncentrality": fitted[0].tolist(),
        "method": "ncx2",
    }
    n = len(wanted)
    return bias_finding(
        value,
        wanted[0],
        grid,
        bits[n:],
        details,
        Interval(float(low[0]), float(high[0]), level, "bootstrap-parametric", members),
        "networks trained from random weights",
        band=(low[n:], high[n:]),
        warnings=warnings,
    )


def _draws(law: Tensor, count: int, members: int, generator: torch.Generator) -> Tensor:
    """Errors from `a chi'^2(k, d)`: a chi-square whose degrees of freedom are k + 2 Poisson(d / 2)."""
    scale, df, nc = law
    extra = torch.poisson((nc / 2).expand(count, members).contiguous(), generator=generator)
    return scale * 2 * torch._standard_gamma(df / 2 + extra, generator)


def _bits(share: float) -> float:
    return math.inf if share <= 0 else -math.log2(share)
