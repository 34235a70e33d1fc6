"""How many bits of luck a random function that fits the training data needs to fit the test data as well."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from erlangen.audit.bias.noncentral import fit_noncentral, noncentral_logcdf
from erlangen.audit.bias.posterior import Kernel, interpolants, rbf
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.stats.quadratic_form import quadratic_form_logcdf
from erlangen.stats.resample import clopper_pearson

BITS = 1 / math.log(2)
CITATION = "Boopathy, Yue, Hwang, Iyer and Fiete 2024, arXiv:2406.15941"
CURVE_POINTS = 40
Method = Literal["contour", "saddlepoint", "tilted", "ncx2", "mc"]


def inductive_bias(
    x_train: Tensor,
    y_train: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    *,
    eps: float | Sequence[float],
    kernel: Literal["rbf"] | Kernel = "rbf",
    bandwidth: float = 1.0,
    noise: float = 0.0,
    landmarks: int | None = None,
    method: Method = "contour",
    samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Finding:
    """`I(eps) = -log2 P(test error <= eps)` in bits, over functions of a Gaussian process that fit the training data.

    The test error, the mean of squares over test points and outputs, is a weighted sum of non-central chi-squares; its
    left tail is computed, not sampled. The number depends on the kernel, on `eps` and on how many test points there
    are (every point is a constraint): all three are in `details`, and only curves with the same ones compare.

    Arguments:
        x_train, y_train, x_test, y_test: `[n, features]` (further axes are flattened) and `[n, outputs]`; labels of
            classes go in as one-hot rows.
        eps: the error to reach; the first one is the finding's value, all are in `details`.
        kernel: "rbf" with this `bandwidth`, or `(a, b) -> [len(a), len(b)]`.
        noise, landmarks: as in `interpolants`.
        method: "contour" is exact to any depth; "saddlepoint" is good to a few hundredths of a bit; "tilted" is
            importance sampling, which checks; "mc" counts (`samples` of them; blind beyond log2 of that) and "ncx2"
            fits a scaled non-central chi-square to those draws, as the authors do.

    Returns:
        A finding in bits (the authors' code prints nats). Infinite, and said so, where `eps` is below the error that
        all functions share.

    Raises:
        ValueError: `eps` not positive; shapes; equal inputs with different labels.

    Source: Boopathy, Yue, Hwang, Iyer and Fiete, Towards Exact Computation of Inductive Bias, 2024, arXiv:2406.15941.
    The authors solve for mean and covariance by gradient descent and fit the tail of samples; here both are exact.
    """
    wanted = _check_eps(eps)
    chosen = rbf(bandwidth) if kernel == "rbf" else kernel
    if not callable(chosen):
        raise ValueError(f"kernel: {kernel!r}; allowed are 'rbf' and functions (a, b) -> [len(a), len(b)]")
    posterior = interpolants(x_train, y_train, x_test, kernel=chosen, noise=noise, landmarks=landmarks)
    target = y_test.double().cpu()
    target = target[:, None] if target.dim() == 1 else target.flatten(1)
    if target.shape != posterior.mean.shape:
        raise ValueError(f"y_test: {tuple(target.shape)} for {tuple(posterior.mean.shape)} predicted values")
    offset, lam, nc, df = posterior.error_law(target)
    mean = offset + float((lam * (df + nc)).sum())
    if not len(lam):
        raise ValueError("x_test: the functions do not vary there at all; every one has the same error")
    low = min([*wanted, mean])
    grid = torch.logspace(math.log10(max(low, offset * 1.0001)), math.log10(1.5 * mean), CURVE_POINTS).double()
    asked = torch.tensor(wanted, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    interval = None
    if method == "mc" or method == "ncx2":
        drawn = torch.cat([posterior.draw(500, generator) for _ in range(max(1, samples // 500))])
        errors = (drawn - target).square().mean((1, 2))
        if method == "mc":
            hits = (errors <= asked[:, None]).double().mean(1)
            bits = -hits.log() * BITS
            share_low, share_high = clopper_pearson(round(float(hits[0]) * len(errors)), len(errors), level=level)
            interval = Interval(_bits(share_high), _bits(share_low), level, "clopper-pearson", len(errors))
            curve = -(errors <= grid[:, None]).double().mean(1).log() * BITS
        else:
            fitted = fit_noncentral(errors[None])
            bits = -noncentral_logcdf(fitted, asked)[0] * BITS
            curve = -noncentral_logcdf(fitted, grid)[0] * BITS
    else:
        options = {"method": method, "samples": samples, "generator": generator}
        bits = quadratic_form_logcdf(lam, nc, asked - offset, df=df, **options).abs() * BITS  # type: ignore[arg-type]
        curve = quadratic_form_logcdf(lam, nc, grid - offset, df=df).abs() * BITS
        interval = Interval(float(bits[0]), float(bits[0]), level, "exact", 0) if method == "contour" else None
    details = {
        "eps": wanted,
        "bits": bits.tolist(),
        "mean_error": mean,
        "shared_error": offset,
        "train": len(x_train),
        "test": len(target),
        "outputs": target.shape[1],
        "kernel": f"rbf, bandwidth {bandwidth:g}" if kernel == "rbf" else "given",
        "jitter": posterior.jitter,
        "method": method,
    }
    return bias_finding(
        float(bits[0]), wanted[0], grid, curve, details, interval, "functions that fit the training data"
    )


def bias_finding(
    bits: float,
    eps: float,
    grid: Tensor,
    curve: Tensor,
    details: dict[str, object],
    interval: Interval | None,
    population: str,
    *,
    band: tuple[Tensor, Tensor] | None = None,
    warnings: tuple[str, ...] = (),
) -> Finding:
    """The record of a number of bits at `eps` with its curve over the errors `grid`."""
    if math.isinf(bits):
        meaning = f"A test error of {eps:.3g} is not representable: no {population} come that low."
    else:
        meaning = f"Of all {population}, one in 2^{bits:.1f} reaches a test error of {eps:.3g}."
    shown = curve.isfinite()
    series: dict[str, object] = {
        "name": "bits needed",
        "x": grid[shown].log10().tolist(),
        "y": curve[shown].tolist(),
    }
    if band is not None:
        series |= {"low": band[0][shown].tolist(), "high": band[1][shown].tolist()}
    return Finding(
        "inductive_bias",
        "inductive_bias.bits",
        bits,
        ci=interval,
        reference=Reference(1.0, kind="theory", source="one bit: an error that half of them reach"),
        meaning=meaning,
        rule="bits compare only at the same eps, test set and population, so no verdict",
        figure=FigureSpec(
            "curve",
            "Bits of inductive bias that a test error asks for",
            "test error, mean squared (log10)",
            "bits",
            [series],
            lines=[{"name": "half of them", "value": 1.0}],
        ),
        assumptions=("squared error, mean over test points and outputs", f"the population: {population}"),
        warnings=warnings,
        citation=CITATION,
        details=details,
    )


def _bits(share: float) -> float:
    return math.inf if share <= 0 else -math.log2(share)


def _check_eps(eps: float | Sequence[float]) -> list[float]:
    wanted = [float(e) for e in (eps if isinstance(eps, Sequence) else [eps])]
    if not wanted or not all(e > 0 and math.isfinite(e) for e in wanted):
        raise ValueError(f"eps: {eps}; positive numbers are needed")
    return wanted
