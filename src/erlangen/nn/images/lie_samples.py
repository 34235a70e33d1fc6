"""Finite samples of SO(2), SL(2) or GL+(2): what stands in for the integral over the group in a convolution."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import unknown_name
from erlangen.groups import SL, SO, GLPlus, Group, lie, parse

Weights = Literal["haar", "none"]
Rotations = Literal["equidistant", "haar"]
ALLOWED = ["SO(2)", "SL(2)", "GL+(2)"]


class LieSamples(NamedTuple):
    """Group elements `[samples, 2, 2]` and their weights `[samples]`, of mean 1, in sums over the group."""

    elements: Tensor
    weights: Tensor

    def to(self, like: Tensor) -> "LieSamples":
        """On the device and in the precision of `like`."""
        return LieSamples(self.elements.to(like), self.weights.to(like))

    def moved(self, g: Float[Tensor, "2 2"]) -> "LieSamples":
        """The samples h -> g h: with these, a layer on the moved input gives the moved output exactly."""
        return LieSamples(g.to(self.elements) @ self.elements, self.weights)


def lie_group(group: str | Group) -> GLPlus | SO:
    """SO(2), SL(2) or GL+(2) by name or as a group; ValueError for any other."""
    if isinstance(group, str):
        name = group.strip().upper().replace(" ", "")
        if name in ("GL+(2)", "GL⁺(2)", "GLPLUS(2)"):
            return GLPlus(2)
        if name == "SL(2)":
            return SL(2)
        if name != "SO(2)":
            raise unknown_name("group", group, ALLOWED)
    found = parse(group)
    if isinstance(found, (GLPlus, SO)) and found.name in ALLOWED:
        return found
    raise unknown_name("group", found.name, ALLOWED)


def keeps_areas(group: Group) -> bool:
    """Whether every element has determinant 1."""
    return not group.name.startswith("GL")


def draw_samples(
    group: str | Group,
    count: int,
    *,
    spread: float = math.sqrt(0.1) / 2,
    rotations: Rotations = "equidistant",
    weights: Weights = "none",
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> LieSamples:
    """`count` elements g = exp(X) R: X Gaussian with standard deviation `spread` in every symmetric direction (the
    paper's 0.1 is the variance of log ggᵀ = 2 X), R evenly spaced from a random start, or Haar.

    The draw is not Haar measure, of which GL+(2) and SL(2) have no finite one. `weights="haar"` gives self-normalised
    weights 1/p from the density; `"none"` gives ones, the published choice. SO(2) needs neither.

    Raises ValueError for another group, no samples, a negative spread, or Haar weights without spread.

    Source: Mironenco and Forré, 2024, arXiv:2310.11366.
    """
    found = lie_group(group)
    if count < 1:
        raise ValueError(f"samples: got {count}; at least 1 is needed")
    if not spread >= 0:
        raise ValueError(f"spread: got {spread}; must be at least 0")
    if rotations not in ("equidistant", "haar"):
        raise ValueError(f"rotations: got {rotations!r}; allowed are 'equidistant', 'haar'")
    if weights not in ("haar", "none"):
        raise ValueError(f"weights: got {weights!r}; allowed are 'haar', 'none'")
    stretched = isinstance(found, GLPlus)
    if weights == "haar" and stretched and spread == 0:
        raise ValueError("weights: 'haar' needs a spread above 0, which has a density")
    if rotations == "equidistant":
        elements = lie.equidistant_rotations(count, generator=generator, dtype=torch.float64, device=device)
    else:
        elements = SO(2).sample((count,), generator=generator, dtype=torch.float64, device=device)
    shares = torch.ones(count, dtype=torch.float64, device=elements.device)
    if isinstance(found, GLPlus):
        stretch = found.sample_stretch((count,), generator=generator, dtype=torch.float64, device=device, radius=spread)
        elements = stretch @ elements
        if weights == "haar":
            shares = lie.importance_weights(found.log_prob(elements, radius=spread))
    dtype = dtype or torch.get_default_dtype()
    return LieSamples(elements.to(dtype), shares.to(dtype))


def relative_coordinates(group: str | Group, g: Tensor, h: Tensor) -> Tensor:
    """ξ⁻¹(g⁻¹ h) with the angle in units of half turns, `[*B, 2, 2]`, `[*B, 2, 2]` -> `[*B, dim]`; 1 number for SO(2).

    Half a turn, which evenly spaced samples meet all the time, is always +1, on whichever side round-off puts it.
    """
    found = lie_group(group)
    relative = torch.linalg.solve(g, h)
    if isinstance(found, GLPlus):
        v = lie.polar_coordinates(relative, traceless=keeps_areas(found))
    else:
        v = lie.rotation_log(relative)
    turn = v[..., -1:] / math.pi
    snap = 1e-9 if turn.dtype == torch.float64 else 1e-4
    turn = torch.where(turn < -1 + snap, turn + 2, turn)
    return torch.cat([v[..., :-1], turn], -1)
