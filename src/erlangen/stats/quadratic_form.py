"""The distribution of a weighted sum of non-central chi-squares: exact to the far tails, by a contour integral."""

import math
from typing import Literal

import torch
from torch import Tensor

Method = Literal["contour", "saddlepoint", "tilted"]
NODES_PER_SCALE = 8
REACH = 13.0
CELLS = 2_000_000


def quadratic_form_logcdf(
    lam: Tensor,
    nc: Tensor,
    q: Tensor | float,
    *,
    df: Tensor | None = None,
    method: Method = "contour",
    samples: int = 20_000,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`log P(Q <= q)` in nats for `Q = sum_i lam_i chi'^2(df_i, nc_i)`, in float64, of the shape of `q`.

    That is the squared length of a Gaussian vector with covariance of eigenvalues `lam` and mean of coordinates
    `sqrt(lam nc)`. Its cumulant generating function is
    `K(s) = sum -df/2 log(1 - 2 lam s) + nc lam s / (1 - 2 lam s)`.

    Methods:
        "contour": `P = -1/(2 pi i) integral exp(K(s) - s q) / s ds` over the parabola `s = a + i t + c t²` that follows
            the steepest descent through (or near) the saddle point, by the trapezoidal rule. Nothing cancels there,
            so that the logarithm is good to about 1e-10 of itself at any depth.
        "saddlepoint": Lugannani and Rice in the form of Barndorff-Nielsen, `log Phi(r + log(v / r) / r)`: one
            evaluation, with an error of some per cent of P.
        "tilted": importance sampling from the law tilted to the mean `q`, for an independent check.

    Arguments:
        lam: weights, not negative, `[terms]`; zeros count for nothing.
        nc: non-centralities, not negative.
        df: degrees of freedom, by default one each; whole numbers for "tilted".

    Raises:
        ValueError: by name; negative or not finite weights, none at all.

    Sources: Lugannani and Rice, Saddle point approximation for the distribution of the sum of independent random
    variables, 1980; Rice, Distribution of quadratic forms in normal random variables, evaluation by numerical
    integration, 1980.
    """
    form = _Form(lam, nc, df)
    q = torch.as_tensor(q, dtype=torch.float64, device=form.lam.device)
    if bool(q.isnan().any()):
        raise ValueError("q: contains NaN")
    flat = q.flatten()
    result = torch.where(flat > 0, 0.0, -torch.inf).to(torch.float64)
    inside = (flat > 0) & flat.isfinite()
    if bool(inside.any()):
        asked = flat[inside]
        if method == "contour":
            found = torch.cat([_contour(form, part) for part in asked.split(max(1, CELLS // (400 * len(form.lam))))])
        elif method == "saddlepoint":
            found = _saddlepoint(form, asked)
        elif method == "tilted":
            single = _one_degree_each(form)
            found = torch.stack([_tilted(single, value, samples, generator) for value in asked])
        else:
            raise ValueError(f"method: {method!r}; allowed are 'contour', 'saddlepoint' and 'tilted'")
        result[inside] = found.clamp(max=0.0)
    return result.view(q.shape)


class _Form:
    """The terms with positive weight, and the derivatives of K at real points `s` `[...]`."""

    def __init__(self, lam: Tensor, nc: Tensor, df: Tensor | None) -> None:
        lam, nc = lam.double().flatten(), nc.double().flatten()
        df = torch.ones_like(lam) if df is None else df.double().flatten()
        for name, value in (("lam", lam), ("nc", nc), ("df", df)):
            if value.shape != lam.shape or not bool((value.isfinite() & (value >= 0)).all()):
                raise ValueError(f"{name}: {tuple(value.shape)} numbers for {len(lam)} terms; finite and not negative")
        kept = (lam > 0) & (df + nc > 0)
        if not bool(kept.any()):
            raise ValueError("lam: no positive weight; the sum is the constant 0")
        self.lam, self.nc, self.df = lam[kept], nc[kept], df[kept]
        self.edge = float(1 / (2 * self.lam.max()))
        self.spread = float((2 * self.lam.square() * (self.df + 2 * self.nc)).sum().sqrt())

    def cumulants(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """K and its first three derivatives."""
        u = 1 / (1 - 2 * self.lam * s[..., None])
        a = self.lam * u
        k = (0.5 * self.df * u.log() + self.nc * a * s[..., None]).sum(-1)
        first = (a * (self.df + self.nc * u)).sum(-1)
        second = (2 * a.square() * (self.df + 2 * self.nc * u)).sum(-1)
        third = (8 * a.pow(3) * (self.df + 3 * self.nc * u)).sum(-1)
        return k, first, second, third

    def complex_k(self, s: Tensor) -> Tensor:
        rest = 1 - 2 * self.lam * s[..., None]
        return (-0.5 * self.df * rest.log() + self.nc * self.lam * s[..., None] / rest).sum(-1)

    def saddle(self, q: Tensor) -> Tensor:
        """The real s with K'(s) = q, by bisection in the logarithm of its distance from the edge of the domain."""
        largest = self.df[self.lam == self.lam.max()].max().clamp(min=1e-3)
        low = torch.log(largest / (2 * q)).clamp(max=math.log(self.edge) + 700) - 1e-9
        high = torch.log(self.edge + (self.df.sum() / 2 + self.nc.sum() / 8) / q) + 1e-9
        for _ in range(80):
            middle = (low + high) / 2
            above = self.cumulants(self.edge - middle.exp())[1] > q
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return self.edge - ((low + high) / 2).exp()


def _contour(form: _Form, q: Tensor) -> Tensor:
    saddle = form.saddle(q)
    away = 0.35 / form.spread  # the pole at zero must stay at a distance
    left = saddle < 0
    start = torch.where(left, torch.minimum(saddle, saddle.new_tensor(-away)), saddle.clamp(min=away))
    start = torch.where(start < form.edge, start, (saddle.clamp(min=0) + form.edge) / 2)
    k, _, second, third = form.cumulants(start)
    scale = torch.minimum(second.rsqrt(), torch.minimum(start.abs(), form.edge - start))
    count = int(REACH * NODES_PER_SCALE * float((second.rsqrt() / scale).max())) + 1
    step = REACH * second.rsqrt() / count
    t = torch.arange(count + 1, dtype=torch.float64, device=q.device) * step[:, None]
    bend = (third / (6 * second))[:, None]
    s = torch.complex(start[:, None] + bend * t.square(), t)
    slope = torch.complex(2 * bend * t, torch.ones_like(t))
    relative = (form.complex_k(s) - k[:, None] - (s - start[:, None]) * q[:, None]).exp()
    terms = (relative / s * slope).imag
    terms[:, 0] /= 2
    total = terms.sum(1) * step / math.pi
    side = torch.where(left, -total, total)
    logarithm = k - start * q + side.log()  # of P(Q <= q) on the left, of P(Q > q) on the right
    return torch.where(left, logarithm, torch.log(-torch.expm1(logarithm.clamp(max=-1e-300))))


def _saddlepoint(form: _Form, q: Tensor) -> Tensor:
    s = form.saddle(q)
    k, _, second, third = form.cumulants(s)
    r = s.sign() * (2 * (s * q - k)).clamp(min=0).sqrt()
    v = s * second.sqrt()
    near = r.abs() < 1e-4  # the limit at the mean: log(v / r) / r -> third / (6 second^{3/2})
    safe = torch.where(near, torch.ones_like(r), r)
    ratio = torch.where(near, torch.ones_like(r), v / safe)
    correction = torch.where(near, third / (6 * second.pow(1.5)), ratio.log() / safe)
    return torch.special.log_ndtr(r + correction)


def _one_degree_each(form: _Form) -> _Form:
    """The same law with one degree of freedom a term: all the non-centrality may sit in the first of equal terms."""
    count = form.df.round().long()
    if not torch.equal(count.double(), form.df) or not bool((count > 0).all()):
        raise ValueError("df: method 'tilted' draws normal numbers; positive whole numbers are needed")
    nc = torch.zeros(int(count.sum()), dtype=torch.float64, device=form.nc.device)
    nc[count.cumsum(0) - count] = form.nc
    return _Form(form.lam.repeat_interleave(count), nc, None)


def _tilted(form: _Form, q: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    s = form.saddle(q[None])[0].clamp(max=0.0)
    k = form.cumulants(s[None])[0][0]
    u = 1 / (1 - 2 * form.lam * s)
    parts = []
    for some in torch.ones(samples).split(max(1, CELLS // len(form.lam))):
        z = torch.randn(len(some), len(form.lam), generator=generator, dtype=torch.float64).to(u.device)
        total = ((form.nc.sqrt() * u + u.sqrt() * z).square() * form.lam).sum(1)
        parts.append(torch.where(total <= q, k - s * total, -torch.inf))
    return torch.cat(parts).logsumexp(0) - math.log(samples)
