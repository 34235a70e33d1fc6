"""A probability density on SO(3) from the coefficients of its logarithm, normalised on an equal-volume grid."""

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from erlangen.groups.harmonics import SO3Grid, wigner_D_all
from erlangen.groups.lie import nearest_orthogonal, rotation_exp
from erlangen.nn.spheres.camera import TO_POLAR, polar_matrix

CHUNK = 2_000_000  # grid values held at a time


class RotationDensity:
    """p(R) ∝ exp f(R), f(R) = Σ_l √(2l+1) Σ_{nm} x_{l,n,m} D^l_{mn}(R), one density for each row of `coefficients`.

    `coefficients` is `[batch, Σ (2l+1)²]`, degree by degree, n (which function) before m (the component rotations move):
    x -> D(g) x turns p(R) into p(g⁻¹ R). Densities are with respect to normalised Haar measure, so the uniform one is 1 and
    has log-density 0; papers that use the measure of total mass π² subtract log π² from ours. The integral of p over the
    grid of `grid_level`, 72 · 8^level rotations, is exactly 1. The grid is `SO3Grid` turned so that its pole is the optical
    axis z: quarter turns of the camera's picture permute it, so they change no normaliser.

    On the grid R = Qᵀ Y(α) X(β) Y(γ), and f is a trigonometric polynomial in γ: 2 l_max + 1 numbers a pixel (α, β), from one
    matrix product, then a transform in γ. Grids are gone through in pieces; no table over all rotations is ever made.

    Raises ValueError for a number of coefficients that fits no degree, and where they are not finite.
    """

    def __init__(self, coefficients: Tensor, *, grid_level: int = 3) -> None:
        if coefficients.ndim != 2:
            raise ValueError(f"coefficients: shape {tuple(coefficients.shape)}; expected [batch, coefficients]")
        self.l_max = degree_of(coefficients.shape[1])
        if not bool(coefficients.detach().isfinite().all()):
            raise ValueError("coefficients: not all finite")
        self.coefficients, self.grid_level = coefficients, grid_level
        self._log_normalizer: Tensor | None = None

    def __len__(self) -> int:
        return len(self.coefficients)

    # --- densities ------------------------------------------------------------------------------------------------

    @property
    def log_normalizer(self) -> Tensor:
        """log of the mean of exp f over the grid, `[batch]`; differentiable."""
        if self._log_normalizer is None:
            self._log_normalizer = self._reduce(self.grid_level)
        return self._log_normalizer

    def log_prob(self, rotation: Tensor) -> Tensor:
        """log p at `rotation`, `[batch, 3, 3] -> [batch]` or `[batch, count, 3, 3] -> [batch, count]`.

        Raises ValueError where `rotation` is not a rotation, or not one (or `count`) for each density.
        """
        value = self.unnormalized(rotation)
        return value - (self.log_normalizer if value.ndim == 1 else self.log_normalizer[:, None])

    def unnormalized(self, rotation: Tensor) -> Tensor:
        """f at `rotation`, with the shapes of `log_prob`."""
        if rotation.ndim not in (3, 4) or rotation.shape[-2:] != (3, 3) or len(rotation) != len(self):
            raise ValueError(
                f"rotation: shape {tuple(rotation.shape)}; expected [{len(self)}, 3, 3] or [{len(self)}, count, 3, 3]"
            )
        drift = (
            (rotation.mT @ rotation - torch.eye(3, dtype=rotation.dtype, device=rotation.device)).abs().amax((-2, -1))
        )
        if not bool(((drift < 1e-3) & (torch.linalg.det(rotation) > 0)).all()):
            raise ValueError(f"rotation: not a rotation matrix (R'R differs from 1 by {float(drift.max()):.1e})")
        rotation = rotation.to(self.coefficients.dtype)
        blocks = wigner_D_all(self.l_max, rotation)
        row = torch.cat([(2 * l + 1) ** 0.5 * d.mT.flatten(-2) for l, d in enumerate(blocks)], -1)
        return (row * (self.coefficients if rotation.ndim == 3 else self.coefficients[:, None])).sum(-1)

    def entropy(self) -> Tensor:
        """-E log p with respect to normalised Haar measure, on the grid, `[batch]`: at most 0, which is uniform."""
        total, count = torch.zeros_like(self.coefficients[:, 0]), len(SO3Grid(self.grid_level))
        for _, values in self.on_grid(self.grid_level):
            log_p = values - self.log_normalizer[:, None]
            total = total - (log_p.exp() * log_p).sum(-1) / count
        return total

    # --- rotations ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def mode(self, *, grid_level: int | None = None, starts: int = 8, refine: int = 8) -> Tensor:
        """The most likely rotation, `[batch, 3, 3]`.

        From the best rotation about each of the `starts` best pixels of the grid, `refine` Newton steps that never go
        down; then the best of these. Below the grid's resolution with `refine=0, starts=1` it is the best grid point.
        """
        level = self.grid_level if grid_level is None else grid_level
        turns = SO3Grid(level).n_turns
        tops, places = [], []
        for start, values in self.on_grid(level):
            top, turn = values.unflatten(-1, (-1, turns)).max(-1)
            tops.append(top)
            places.append(start + torch.arange(top.shape[1], device=top.device) * turns + turn)
        chosen = torch.cat(tops, 1).topk(starts, 1).indices
        rotation = grid_rotations(level, torch.gather(torch.cat(places, 1), 1, chosen)).to(self.coefficients)
        for _ in range(refine):
            rotation = self._climb(rotation)
        best = self.unnormalized(rotation).argmax(1)
        return rotation[torch.arange(len(self), device=best.device), best]

    def _climb(self, rotation: Tensor) -> Tensor:
        """One Newton step in exponential coordinates, shortened if need be, kept where it goes up.

        With J_k the matrices of the Lie algebra, f(R exp v) has gradient <x, D(R) J_k> and Hessian <x, D(R) J_j J_k>, symmetrised.
        """
        gradient, hessian, start = torch.zeros_like(rotation[..., 0]), torch.zeros_like(rotation), 0
        for l, d in enumerate(wigner_D_all(self.l_max, rotation)):
            size = 2 * l + 1
            x = self.coefficients[:, None, start : start + size**2].unflatten(-1, (size, size))
            start += size**2
            moved = size**0.5 * (x @ d)
            j = algebra_matrices(l).to(rotation)
            gradient = gradient + torch.einsum("...ab,kba->...k", moved, j)
            hessian = hessian + torch.einsum("...ab,jkba->...jk", moved, j[:, None] @ j)
        values, vectors = torch.linalg.eigh((hessian + hessian.mT) / 2)
        along = (vectors.mT @ gradient[..., None])[..., 0] / values.abs().clamp_min(1e-6)
        step = (vectors @ along[..., None])[..., 0]
        step = step * (0.3 / step.norm(dim=-1, keepdim=True).clamp_min(0.3))
        best, top = rotation, self.unnormalized(rotation)
        for scale in (1.0, 0.5, 0.2):
            tried = nearest_orthogonal(rotation @ rotation_exp(scale * step, n=3), special=True)
            value = self.unnormalized(tried)
            better = value > top
            best, top = torch.where(better[..., None, None], tried, best), torch.where(better, value, top)
        return best

    @torch.no_grad()
    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """`count` rotations of the grid from each density, `[batch, count, 3, 3]`: first a pixel, then a turn about it."""
        if count < 0:
            raise ValueError(f"count: {count}; at least 0")
        grid = SO3Grid(self.grid_level)
        mass = torch.cat(
            [
                torch.logsumexp(values.unflatten(-1, (-1, grid.n_turns)), -1)
                for _, values in self.on_grid(self.grid_level)
            ],
            -1,
        )
        pixel = _draw(mass, count, generator)
        index = pixel[..., None] * grid.n_turns + torch.arange(grid.n_turns, device=pixel.device)
        cosine, sine = self._waves(self.grid_level, pixel.flatten().unique())
        rank = torch.searchsorted(pixel.flatten().unique(), pixel)
        rows = torch.arange(len(self), device=pixel.device)[:, None]
        values = _turned(cosine[rank, rows], sine[rank, rows], self.grid_level)
        turn = _draw(values, 1, generator)
        return grid_rotations(self.grid_level, torch.gather(index, -1, turn)[..., 0]).to(self.coefficients)

    # --- the grid -------------------------------------------------------------------------------------------------

    def on_grid(self, level: int) -> Iterator[tuple[int, Tensor]]:
        """f on the rotations `grid_rotations(level, ...)`, in pieces: the number of the first and `[batch, rotations]`."""
        grid = SO3Grid(level)
        size = max(1, CHUNK // (max(1, len(self)) * grid.n_turns))
        for start in range(0, grid.n_pixels, size):
            chosen = torch.arange(start, min(start + size, grid.n_pixels), device=self.coefficients.device)
            cosine, sine = self._waves(level, chosen)
            yield start * grid.n_turns, _turned(cosine.transpose(0, 1), sine.transpose(0, 1), level).flatten(1)

    def _waves(self, level: int, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine coefficients in γ of f over these pixels, each `[pixels, batch, l_max + 1]`."""
        table = pixel_tables(self.l_max, level, self.coefficients.dtype, str(self.coefficients.device))
        columns = columns_of(self.l_max)
        degrees = [(2 * l + 1) for l in range(self.l_max + 1)]
        scale = torch.tensor([d**0.5 for d in degrees for _ in range(d * d)], dtype=torch.float64)
        scaled = self._polar() * scale.to(self.coefficients)
        scaled = scaled.mT
        cosine, sine = [], []
        for n in range(self.l_max + 1):
            right, left = columns[n].to(pixels.device), columns[-n].to(pixels.device)
            if n == 0:
                cosine.append(table[0][pixels] @ scaled[right])
                sine.append(torch.zeros_like(cosine[0]))
                continue
            a, b = scaled[right], scaled[left]
            both = table[n][pixels] @ torch.cat([torch.cat([a, -b], 1), torch.cat([b, a], 1)])
            c, s = both.split(len(self), 1)
            cosine.append(c)
            sine.append(s)
        return torch.stack(cosine, -1), torch.stack(sine, -1)

    def _polar(self) -> Tensor:
        """The coefficients in the frame whose pole is the optical axis: f(QᵀR) = <D(Q) x, D(R)>."""
        parts, start = [], 0
        for l in range(self.l_max + 1):
            block = self.coefficients[:, start : start + (2 * l + 1) ** 2].unflatten(1, (2 * l + 1, 2 * l + 1))
            parts.append((block @ polar_matrix(l).to(block).mT).flatten(1))
            start += (2 * l + 1) ** 2
        return torch.cat(parts, 1)

    def _reduce(self, level: int) -> Tensor:
        parts = [torch.logsumexp(values, -1) for _, values in self.on_grid(level)]
        return torch.logsumexp(torch.stack(parts), 0) - math.log(len(SO3Grid(level)))

    def __repr__(self) -> str:
        return f"RotationDensity(batch={len(self)}, l_max={self.l_max}, grid_level={self.grid_level})"


def degree_of(count: int) -> int:
    """The degree up to which functions on SO(3) have this many coefficients, (l+1)(2l+1)(2l+3)/3."""
    degree, total = 0, 1
    while total < count:
        degree += 1
        total += (2 * degree + 1) ** 2
    if total != count:
        raise ValueError(f"coefficients: {count} on the last axis; expected 1, 10, 35, 84, 165, 286, 455, ...")
    return degree


def _turned(cosine: Tensor, sine: Tensor, level: int) -> Tensor:
    """Trigonometric polynomials at the turns of the grid, `[..., l_max + 1] -> [..., turns]`."""
    orders = torch.arange(cosine.shape[-1], dtype=torch.float64)[:, None] * SO3Grid(level).turns()
    table = torch.cat([torch.cos(orders), torch.sin(orders)]).to(cosine)
    return torch.cat([cosine, sine], -1) @ table


def _draw(log_weight: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Categorical draws by the exponential trick on the cumulative distribution, `[..., count]`."""
    share = torch.softmax(log_weight.double(), -1).cumsum(-1)
    uniform = torch.rand(*share.shape[:-1], count, generator=generator, dtype=torch.float64, device=share.device)
    return torch.searchsorted(share, uniform * share[..., -1:]).clamp_max(share.shape[-1] - 1)


def grid_rotations(level: int, index: Tensor) -> Tensor:
    """The rotations of the turned `SO3Grid(level)` with these numbers, `[*index, 3, 3]`, float64."""
    grid = SO3Grid(level)
    pixel, turn = torch.div(index, grid.n_turns, rounding_mode="floor"), index % grid.n_turns
    found = _pixel_rotations(level).to(index.device)[pixel] @ _about_y(grid.turns().to(index.device)[turn])
    return TO_POLAR.T.to(index.device) @ found


def _about_y(angle: Tensor) -> Tensor:
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).unflatten(-1, (3, 3))


@functools.lru_cache(maxsize=8)
def _pixel_rotations(level: int) -> Tensor:
    """Y(α) X(β) of every pixel."""
    alpha, beta = SO3Grid(level).pixels()
    c, s, zero, one = torch.cos(beta), torch.sin(beta), torch.zeros_like(beta), torch.ones_like(beta)
    tilt = torch.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).unflatten(-1, (3, 3))
    return _about_y(alpha) @ tilt


@functools.cache
def algebra_matrices(degree: int) -> Tensor:
    """The derivative of D^l at the identity along rotations about x, y and z, `[3, 2 l + 1, 2 l + 1]`, float64."""

    def matrix(v: Tensor) -> Tensor:
        return wigner_D_all(degree, rotation_exp(v, n=3))[degree]

    return torch.func.jacfwd(matrix)(torch.zeros(3, dtype=torch.float64)).movedim(-1, 0)


@functools.lru_cache(maxsize=16)
def columns_of(l_max: int) -> dict[int, Tensor]:
    """Where the coefficients (l, n, ·) are on the last axis, for every n, by l."""
    out: dict[int, list[Tensor]] = {n: [] for n in range(-l_max, l_max + 1)}
    start = 0
    for l in range(l_max + 1):
        for n in range(-l, l + 1):
            out[n].append(start + (n + l) * (2 * l + 1) + torch.arange(2 * l + 1))
        start += (2 * l + 1) ** 2
    return {n: torch.cat(parts) for n, parts in out.items()}


@functools.lru_cache(maxsize=6)
def pixel_tables(l_max: int, level: int, dtype: torch.dtype, device: str) -> tuple[Tensor, ...]:
    """For n = 0 .. l_max the columns n and -n of D^l(Y(α) X(β)), l ≥ n, at every pixel, `[pixels, columns]`."""
    rotations = _pixel_rotations(level)
    pieces: list[list[list[Tensor]]] = [[[], []] for _ in range(l_max + 1)]
    for start in range(0, len(rotations), 4096):
        blocks = wigner_D_all(l_max, rotations[start : start + 4096])
        for n in range(l_max + 1):
            for side, sign in enumerate((1, -1)):
                column = torch.cat([blocks[l][:, :, l + sign * n] for l in range(n, l_max + 1)], -1)
                pieces[n][side].append(column.to(dtype))
    joined = [[torch.cat(side) for side in sides] for sides in pieces]
    return tuple(
        (right if n == 0 else torch.cat([right, left], 1)).to(device) for n, (right, left) in enumerate(joined)
    )
