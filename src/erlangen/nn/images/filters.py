"""Bases of small square filters together with all their rotations and reflections."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.groups import Cyclic, Dihedral, FiniteGroup, parse

Basis = Literal["auto", "pixel", "steered"]

# Chosen by the response to plane waves of up to 0.2 cycles a pixel, turned by 45 degrees: relative error 0.018 to 0.023
# for sizes 3, 5 and 7. Rings wider or closer to the edge are cut off by the square kernel, higher frequencies alias on
# the grid: a trained C8 encoder of 5 x 5 filters reads digits turned by 45 degrees with an accuracy of 0.73 (mean over 3
# seeds) with frequencies up to 3, 0.52 up to 4, and 0.29 with frequencies up to 4 on rings of width 0.7.
RING_SPACING, RING_WIDTH, TOP_FREQUENCY = 0.9, 0.5, 3


def plane_group(group: object) -> FiniteGroup:
    """`group` as a finite group of rotations and reflections of the plane; ValueError if it is not C_n or D_n."""
    parsed = parse(group)  # type: ignore[arg-type]
    if not isinstance(parsed, Cyclic | Dihedral):
        raise ValueError(
            f"group: {parsed.name} has no regular features on images; allowed are C1, C2, ... and D1, D2, ..."
        )
    return parsed


def num_rotations(group: FiniteGroup) -> int:
    """n of C_n or D_n."""
    return int(group.order or 0) // (2 if isinstance(group, Dihedral) else 1)


def relative_index(group: FiniteGroup) -> Int[Tensor, "order order"]:
    """The index of g⁻¹h at [g, h]: which plane of a group filter reads input plane h when it computes output plane g."""
    inverse = (group.table == 0).int().argmax(dim=1)
    return group.table[inverse]


def filter_basis(
    group: FiniteGroup, kernel_size: int, *, basis: Basis = "auto"
) -> Float[Tensor, "order functions size size"]:
    """Basis filters b_m moved by every group element, b_m(g⁻¹ y), sampled on the kernel's pixels in float64.

    `"pixel"`: one function a pixel; the group moves pixels onto pixels (n = 1, 2, 4 only) and the result is a
    permutation. `"steered"`: circular harmonics on Gaussian rings, ρ_j(r) cos kθ and ρ_j(r) sin kθ with k ≤ min(2j,
    3), zero outside the disc of radius (kernel_size + 1) / 2. They are evaluated at rotated points, never
    interpolated, so what is lost is only what sampling a smooth filter loses. Where g moves pixels onto pixels the
    samples of g b are those of b moved, bit for bit. `"auto"`: pixel where it is exact, steered otherwise.

    Source: Weiler and Cesa, General E(2)-equivariant steerable CNNs, 2019, arXiv:1911.08251.
    """
    rotations = num_rotations(group)
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: got {kernel_size}; only odd sizes have a centre pixel to rotate about")
    exact = 4 % rotations == 0
    if basis not in ("auto", "pixel", "steered"):
        raise ValueError(f"basis: got {basis!r}; allowed are 'auto', 'pixel', 'steered'")
    if basis == "pixel" and not exact:
        raise ValueError(f"basis: 'pixel' cannot be rotated by 360/{rotations} degrees ({group.name}); use 'steered'")
    quarter = math.gcd(rotations, 4)
    sampled = rotations // quarter
    if basis == "pixel" or (basis == "auto" and exact):
        first = [torch.eye(kernel_size**2, dtype=torch.float64).reshape(-1, kernel_size, kernel_size)]
    else:
        first = [_ring_harmonics(kernel_size, 2 * math.pi * step / rotations) for step in range(sampled)]
    turned = [
        torch.rot90(first[step % sampled], (step // sampled) * (4 // quarter), (-2, -1)) for step in range(rotations)
    ]
    if isinstance(group, Dihedral):  # r^a s b = s (r^-a b): a mirror image of a filter that is already there
        turned += [turned[-step % rotations].flip(-1) for step in range(rotations)]
    moved = torch.stack(turned)
    return moved / moved.square().sum((-2, -1)).mean(0).sqrt()[:, None, None]


def _ring_harmonics(size: int, angle: float) -> Float[Tensor, "functions size size"]:
    """Circular harmonics on Gaussian rings, turned counter-clockwise by `angle` (x to the right, y up)."""
    half = size // 2
    ticks = torch.arange(-half, half + 1, dtype=torch.float64)
    y, x = torch.meshgrid(-ticks, ticks, indexing="ij")
    radius, theta = torch.hypot(x, y), torch.atan2(y, x) - angle
    inside = (radius <= half + 1).double()
    off_centre = (radius > 0).double()
    functions = []
    for ring in range(half + 1):
        profile = inside * torch.exp(-((radius - RING_SPACING * ring) ** 2) / (2 * RING_WIDTH**2))
        functions.append(profile)
        for frequency in range(1, min(2 * ring, TOP_FREQUENCY) + 1):
            functions.append(profile * off_centre * torch.cos(frequency * theta))
            functions.append(profile * off_centre * torch.sin(frequency * theta))
    return torch.stack(functions)
