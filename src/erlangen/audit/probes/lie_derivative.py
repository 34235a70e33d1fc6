"""How fast the embedding moves when the input is turned, shifted or scaled by an infinitesimal amount."""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING, as_embedding
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant, ratio_interval, relative_error
from erlangen.audit.words import percent

Gradient = Callable[[Tensor, int], Tensor]
UNITS = {
    "rotation": (math.pi / 18, "a turn by 10°"),
    "shift_right": (1.0, "a shift by one pixel to the right"),
    "shift_up": (1.0, "a shift by one pixel upwards"),
    "scaling": (0.1, "an enlargement by 10 %"),
}
FINITE_STEP = 1e-2
ROWS = 128
TWIN_ROWS = 64


def central_difference(x: Tensor, dim: int) -> Tensor:
    """Spatial derivative per pixel; pixels outside are zero."""
    padded = torch.nn.functional.pad(x, (1, 1) if dim == -1 else (0, 0, 1, 1))
    size = x.shape[dim]
    return (padded.narrow(dim, 2, size) - padded.narrow(dim, 0, size)) / 2


def fourier_derivative(x: Tensor, dim: int) -> Tensor:
    """Spatial derivative per pixel, exact for band-limited images (with one image's width of zeros around them)."""
    n = x.shape[dim]
    frequency = 2j * math.pi * torch.fft.rfftfreq(2 * n, dtype=torch.float64)
    frequency[-1] = 0
    spectrum = torch.fft.rfft(x.double(), n=2 * n, dim=dim)
    shape = [1] * x.dim()
    shape[dim] = len(frequency)
    return torch.fft.irfft(spectrum * frequency.view(shape), n=2 * n, dim=dim).narrow(dim, 0, n).to(x.dtype)


def tangent_image(x: Tensor, generator: str, gradient: Gradient = central_difference) -> Tensor:
    """`d/dt` at 0 of the image moved along a one-parameter subgroup: minus its gradient times the velocity field.

    `x` is `[..., H, W]`; rotation is counter-clockwise about the centre and per radian, shifts per pixel, scaling per
    unit of the logarithm of the scale; y points up.
    """
    h, w = x.shape[-2:]
    right = torch.arange(w, dtype=x.dtype) - (w - 1) / 2
    up = ((h - 1) / 2 - torch.arange(h, dtype=x.dtype)).unsqueeze(1)
    d_right, d_up = gradient(x, -1), -gradient(x, -2)
    if generator == "rotation":
        return d_right * up - d_up * right
    if generator == "scaling":
        return -(d_right * right + d_up * up)
    if generator in ("shift_right", "shift_up"):
        return -d_right if generator == "shift_right" else -d_up
    raise ValueError(f"generator: {generator!r}; allowed are {', '.join(UNITS)}")


def directional_derivatives(model: nn.Module, x: Tensor, tangents: Tensor) -> tuple[Tensor, str]:
    """`J(x) t` for every `t` in `tangents` `[k, ...]` by forward-mode differentiation, the value computed once for all.

    One tangent at a time where a layer cannot be vectorised; by central differences where it has no forward-mode
    derivative. Says which.
    """

    def f(z: Tensor) -> Tensor:
        return as_embedding(model(z))

    with torch.no_grad():
        try:
            moved = torch.func.vmap(lambda t: torch.func.jvp(f, (x,), (t,))[1])(tangents)
            return moved.float().cpu(), "forward-mode derivative"
        except (RuntimeError, NotImplementedError):
            parts = [directional_derivative(model, x, t) for t in tangents]
            return torch.stack([p[0] for p in parts]), parts[0][1]


def directional_derivative(model: nn.Module, x: Tensor, tangent: Tensor) -> tuple[Tensor, str]:
    """`J(x) tangent` by forward-mode differentiation; by central differences where a layer has none. Says which."""

    def f(z: Tensor) -> Tensor:
        return as_embedding(model(z))

    with torch.no_grad():
        try:
            return torch.func.jvp(f, (x,), (tangent,))[1].float().cpu(), "forward-mode derivative"
        except (RuntimeError, NotImplementedError):
            return ((f(x + FINITE_STEP * tangent) - f(x - FINITE_STEP * tangent)) / (2 * FINITE_STEP)).float().cpu(), (
                "central difference"
            )


@register("lie_derivative", summary="how fast the embedding moves along one-parameter subgroups")
class LieDerivative(Probe):
    """The Lie derivative of the embedding along rotations, shifts and scaling of the image.

    `sqrt(E ||d/dt f(exp(tX) x)||^2 / E ||f(x) - f(x')||^2)`, times a step a person can picture (10 degrees, one pixel,
    10 %). The tangent of the image is taken by central differences; how much it differs from the Fourier derivative is
    the interpolation floor and is printed. Source: Gruver et al., 2022, arXiv:2210.02984.
    """

    name = "lie_derivative"

    def needs(self, ctx: Context) -> Needs:
        return Needs(4 * 12 * min(ctx.rows, ROWS) * torch.Size(ctx.input_shape).numel())

    def finish(self, ctx: Context) -> list[Finding]:
        x = ctx.collected.inputs[:ROWS]
        if x.dim() != 4 or min(x.shape[-2:]) < 3:
            raise NotApplicable("the inputs are no images: one-parameter subgroups of the plane do not act on them")
        upright = ctx.collected.embedding[ctx.collected.input_rows][:ROWS]
        if is_constant(upright):
            raise NotApplicable("the embedding is the same for all inputs")
        tangents = torch.stack([tangent_image(x, name) * step for name, (step, _) in UNITS.items()])
        changes, how = _squared(ctx, ctx.model, x, tangents)
        twin_upright, twin_changes = None, changes
        if ctx.twin is not None:
            few = x[:TWIN_ROWS]
            twin_upright = ctx.run(few, twin=True)[EMBEDDING]
            if is_constant(twin_upright):
                twin_upright = None
            else:
                twin_changes, _ = _squared(ctx, ctx.twin, few, tangents[:, :TWIN_ROWS])
        found = [
            self._along(ctx, name, x, upright, change, how, twin_upright, twin)
            for name, change, twin in zip(UNITS, changes, twin_changes, strict=True)
        ]
        return [dataclasses.replace(found[0], figure=_picture(found, ctx)), *found[1:]]

    def _along(
        self,
        ctx: Context,
        name: str,
        x: Tensor,
        upright: Tensor,
        change: Tensor,
        how: str,
        twin_upright: Tensor | None,
        twin_change: Tensor,
    ) -> Finding:
        words = UNITS[name][1]
        tangent = tangent_image(x, name)
        smooth = tangent_image(x, name, fourier_derivative)
        floor = float((tangent - smooth).norm() / smooth.norm())
        value = relative_error(change, upright)
        low, high = ratio_interval(change, upright, level=ctx.level, generator=ctx.generator())
        reference = None
        if twin_upright is not None:
            ends = ratio_interval(twin_change, twin_upright, level=ctx.level, generator=ctx.generator())
            reference = Reference(relative_error(twin_change, twin_upright), *ends, ctx.twin_kind, ctx.twin_name)
        return Finding(
            "lie_derivative",
            f"lie_derivative.{name}",
            value,
            layer=EMBEDDING,
            group=name.replace("_", " "),
            ci=Interval(low, high, ctx.level, "bootstrap-bca", len(x)),
            reference=reference,
            direction="lower",
            meaning=f"At the rate at which it starts, {words} moves the embedding by {percent(value)} of the distance "
            f"between two unrelated inputs; the derivative of the images themselves is known to {percent(floor)}.",
            rule="info: how fast an embedding should move depends on the task",
            assumptions=(f"by {how}", "0 is locally invariant"),
            warnings=("the images are too coarse for their derivative to be certain",) if floor > 0.5 else (),
            citation="Gruver et al. 2022, arXiv:2210.02984",
            details={"interpolation_floor": floor, "method": how},
        )


def _picture(found: list[Finding], ctx: Context) -> FigureSpec:
    short = {"rotation": "turn 10°", "shift_right": "right 1 px", "shift_up": "up 1 px", "scaling": "+10 %"}
    names = [short[f.metric.split(".")[1]] for f in found]
    bars = {"name": "this model", "x": names, "y": [f.value for f in found]}
    bars |= {
        "low": [f.ci.low if f.ci else math.nan for f in found],
        "high": [f.ci.high if f.ci else math.nan for f in found],
    }
    twin = [f.reference.value if f.reference is not None else math.nan for f in found]
    grey = {"name": ctx.twin_words, "x": names, "y": twin}
    return FigureSpec("bars", "How fast the embedding starts to move", "", "share of an unrelated input", [bars, grey])


def _squared(ctx: Context, model: nn.Module, x: Tensor, tangents: Tensor) -> tuple[Tensor, str]:
    """`||J(x) t||^2` for every tangent, `[tangents, samples]`, in batches small enough for all tangents at once."""
    parts = [
        directional_derivatives(model, a.to(ctx.device), b.to(ctx.device))
        for a, b in zip(x.split(32), tangents.split(32, dim=1), strict=True)
    ]
    return torch.cat([p[0] for p in parts], 1).double().square().sum(2), parts[0][1]
