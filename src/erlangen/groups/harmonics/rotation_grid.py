"""Rotations spread evenly over SO(3): the equal-area HEALPix pixels of the sphere, each with equally spaced turns."""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor


class SO3Grid:
    """72 · 8^level rotations in cells of one volume: 12 · 4^level pixel centres by 6 · 2^level turns about each.

    The pixels are those of HEALPix with n_side = 2^level (K. M. Górski et al., "HEALPix: A Framework for High-Resolution
    Discretization and Fast Analysis of Data Distributed on the Sphere", 2005, arXiv:astro-ph/0409513) in ring order,
    north (+y) to south; the product with the circle is A. Yershova et al., "Generating Uniform Incremental Grids on SO(3)
    Using the Hopf Fibration", 2010. A rotation is R = Y(α) X(β) Y(γ), angles about y, x and y: (α, β) is the pixel,
    the image of +y, and γ the turn; rotations of a pixel are consecutive. Nothing is stored: `rotations` builds the part
    that is asked for.

    Raises:
        ValueError: a level below 0 or above 8.
    """

    def __init__(self, level: int) -> None:
        if not 0 <= level <= 8:
            raise ValueError(f"level: expected 0 to 8 (72 · 8^level rotations), given {level}")
        self.level = level
        self.n_pixels = 12 * 4**level
        self.n_turns = 6 * 2**level

    def __len__(self) -> int:
        return self.n_pixels * self.n_turns

    @property
    def cell_volume(self) -> float:
        """The share of one rotation in the total volume 1 of the normalised Haar measure."""
        return 1 / len(self)

    @property
    def resolution(self) -> float:
        """The spacing of turns about a pixel, in radians."""
        return 2 * math.pi / self.n_turns

    def pixels(self) -> tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]:
        """Azimuth α in [0, 2π) and polar angle β of every pixel centre, float64."""
        alpha, height = _healpix(2**self.level)
        return alpha.clone(), torch.acos(height)

    def directions(self) -> Float[Tensor, "pixels 3"]:
        """The pixel centres as unit vectors, float64."""
        alpha, height = _healpix(2**self.level)
        sine = (1 - height.square()).sqrt()
        return torch.stack([sine * torch.sin(alpha), height, sine * torch.cos(alpha)], -1)

    def turns(self) -> Float[Tensor, " turns"]:
        """The angles γ, float64: the centres of equal arcs."""
        return (torch.arange(self.n_turns, dtype=torch.float64) + 0.5) * self.resolution

    def rotations(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "rotations 3 3"]:
        """The rotations number `start` to `stop` (all by default) as matrices, float64 unless `dtype` says otherwise."""
        last = len(self) if stop is None else stop
        if not 0 <= start <= last <= len(self):
            raise ValueError(f"start, stop: expected 0 <= start <= stop <= {len(self)}, given {start}, {last}")
        index = torch.arange(start, last)
        pixel = torch.div(index, self.n_turns, rounding_mode="floor")
        alpha, height = (part[pixel] for part in _healpix(2**self.level))
        gamma = self.turns()[index % self.n_turns]
        sine = (1 - height.square()).sqrt()
        # X(β) Y(γ), then the azimuth about y
        cg, sg, zero = torch.cos(gamma), torch.sin(gamma), torch.zeros_like(gamma)
        tilted = torch.stack([cg, zero, sg, sine * sg, height, -sine * cg, -height * sg, sine, height * cg], -1)
        ca, sa = torch.cos(alpha), torch.sin(alpha)
        about = torch.stack([ca, zero, sa, zero, torch.ones_like(ca), zero, -sa, zero, ca], -1)
        out = about.unflatten(-1, (3, 3)) @ tilted.unflatten(-1, (3, 3))
        return out.to(dtype=dtype or torch.float64, device=device)

    def __repr__(self) -> str:
        return f"SO3Grid(level={self.level})"


@functools.cache
def _healpix(n_side: int) -> tuple[Tensor, Tensor]:
    """Azimuth and height of the HEALPix pixel centres in ring order."""
    rings = torch.arange(1, 4 * n_side, dtype=torch.float64)
    cap = torch.minimum(rings, 4 * n_side - rings)
    polar = cap < n_side
    height = torch.where(polar, 1 - cap.square() / (3 * n_side**2), 4 / 3 - 2 * cap / (3 * n_side))
    height = torch.where(rings > 2 * n_side, -height, height)
    count = torch.where(polar, 4 * cap, 4.0 * n_side).long()
    shifted = polar | ((rings.long() - n_side) % 2 == 0)
    ring = torch.repeat_interleave(torch.arange(len(rings)), count)
    start = torch.cumsum(count, 0) - count
    step = torch.arange(len(ring)) - start[ring] + 0.5 * shifted[ring].double()
    return step * (2 * math.pi) / count[ring], height[ring]
