"""Pictures of simple solids in known orientations: a software renderer for convex bodies under a headlight."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

SOLIDS = ("tetrahedron", "cube", "icosahedron", "cone", "cylinder", "marked_cube", "wedge")
Style = Literal["shaded", "silhouette"]
SIDES = 32  # flat sides that stand in for a round one


@dataclass(frozen=True)
class Solid:
    """A convex body {x : normals · x ≤ offsets} within the unit ball, each face with its albedo."""

    name: str
    normals: Float[Tensor, "faces 3"]
    offsets: Float[Tensor, " faces"]
    albedo: Float[Tensor, " faces"]


def solid(name: str) -> Solid:
    """A solid by name, float64.

    "tetrahedron", "cube", "icosahedron" have 12, 24 and 60 rotations that leave them unchanged, "cone" all those about
    its axis z, "cylinder" these and the half turns across; "marked_cube" (faces of different albedo) and "wedge" (an
    irregular body) none but the identity.

    Raises ValueError for another name.
    """
    if name not in SOLIDS:
        raise ValueError(f"name: {name!r}; known are {', '.join(SOLIDS)}")
    return _solid(name)


@functools.cache
def _solid(name: str) -> Solid:
    corner = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64) / 3**0.5
    axes = torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    around = torch.arange(SIDES, dtype=torch.float64) * (2 * math.pi / SIDES)
    ring = torch.stack([torch.cos(around), torch.sin(around), torch.zeros(SIDES, dtype=torch.float64)], -1)
    ends = torch.tensor([[0.0, 0, 1], [0, 0, -1]], dtype=torch.float64)
    if name == "tetrahedron":
        return _made(name, -corner, torch.full((4,), 1 / 3))
    if name == "cube":
        return _made(name, axes, torch.full((6,), 3**-0.5))
    if name == "marked_cube":
        return _made(name, axes, torch.full((6,), 3**-0.5), torch.tensor([1.0, 0.85, 0.7, 0.55, 0.4, 0.25]))
    if name == "icosahedron":
        normals = _dodecahedron_directions()
        return _made(name, normals, torch.full((20,), math.sqrt((5 + 2 * 5**0.5) / 15)))
    if name == "cone":
        # apex at height 1, base circle on the unit sphere at height -1/3
        radius, height = math.sqrt(8) / 3, 4 / 3
        slant = math.hypot(radius, height)
        side = torch.cat([ring[:, :2] * (height / slant), torch.full((SIDES, 1), radius / slant).double()], -1)
        normals = torch.cat([side, ends[1:]])
        return _made(name, normals, torch.cat([torch.full((SIDES,), radius / slant), torch.tensor([1 / 3])]))
    if name == "cylinder":
        return _made(name, torch.cat([ring, ends]), torch.cat([torch.full((SIDES,), 0.6), torch.full((2,), 0.8)]))
    normals = torch.tensor(
        [[1.0, 0.2, 0.1], [-0.9, 0.5, 0.3], [0.1, -1.0, 0.4], [0.3, 0.9, -0.5], [-0.2, -0.3, -1.0], [0.2, 0.1, 1.0]],
        dtype=torch.float64,
    )
    offsets = torch.tensor([0.35, 0.45, 0.5, 0.55, 0.5, 0.7])
    return _made(name, normals, offsets, torch.tensor([1.0, 0.75, 0.5, 0.85, 0.6, 0.35]))


def _made(name: str, normals: Tensor, offsets: Tensor, albedo: Tensor | None = None) -> Solid:
    unit = normals.double() / normals.double().norm(dim=1, keepdim=True)
    shade = torch.ones(len(unit)) if albedo is None else albedo
    return Solid(name, unit, offsets.double(), shade.double())


def _dodecahedron_directions() -> Tensor:
    """The 20 vertices of the dodecahedron, which are the face normals of the icosahedron."""
    golden = (1 + 5**0.5) / 2
    cube = list(itertools.product((-1.0, 1.0), repeat=3))
    rest = []
    for a, b in itertools.product((-1 / golden, 1 / golden), (-golden, golden)):
        rest += [(0.0, a, b), (a, b, 0.0), (b, 0.0, a)]
    return torch.tensor(cube + rest, dtype=torch.float64)


def render(
    body: str | Solid,
    rotations: Float[Tensor, "views 3 3"],
    *,
    size: int = 32,
    style: Style = "shaded",
    supersample: int = 2,
    scale: float = 0.9,
) -> Float[Tensor, "views 1 size size"]:
    """The body turned by each rotation, seen along -z from above, x to the right and y up; values in [0, 1], float32.

    Orthographic: a point R x is drawn at its first two coordinates, the unit disc filling `scale` of the picture. The
    light comes from the eye, so turning the rotation about z turns the picture and nothing else: exactly for quarter
    turns. A pixel is the average of `supersample`² rays; a ray meets each face's plane in closed form. "silhouette" is 1
    inside; "shaded" is albedo · (0.2 + 0.8 cos of the angle between the face and the light).

    Raises ValueError for an unknown body or style, sizes below 1, and matrices that are not rotations.
    """
    thing = solid(body) if isinstance(body, str) else body
    if style not in ("shaded", "silhouette"):
        raise ValueError(f"style: {style!r}; allowed: 'shaded', 'silhouette'")
    if min(size, supersample) < 1 or not scale > 0:
        raise ValueError(f"size, supersample, scale: {size}, {supersample}, {scale}; at least 1, 1 and above 0")
    matrices = rotations.double()
    eye = torch.eye(3, dtype=torch.float64)
    if not torch.allclose(matrices @ matrices.mT, eye.expand_as(matrices), atol=1e-4):
        raise ValueError("rotations: not all orthogonal")
    fine = size * supersample
    axis = (torch.arange(fine, dtype=torch.float64) - (fine - 1) / 2) / (fine / 2) / scale
    pixels = torch.stack([axis[None, :].expand(fine, -1), -axis[:, None].expand(-1, fine)], -1).reshape(-1, 2)
    pieces = [
        _trace(thing, part, pixels, style)
        for part in matrices.split(max(1, 8_000_000 // (fine**2 * len(thing.offsets))))
    ]
    flat = torch.cat(pieces) if pieces else torch.zeros(0, fine * fine, dtype=torch.float64)
    image = flat.reshape(-1, 1, size, supersample, size, supersample).mean((-3, -1))
    return image.float()


def _trace(thing: Solid, rotations: Tensor, pixels: Tensor, style: Style) -> Tensor:
    """Rays (x, y, ·) downwards through turned half-spaces n·(x, y, z) ≤ d: `[views, rays]`."""
    normals = thing.normals @ rotations.mT
    room = thing.offsets[:, None] - normals[..., :2] @ pixels.mT
    slope = normals[..., 2:]
    facing = slope > 1e-9
    depth = room / torch.where(slope.abs() > 1e-9, slope, 1.0)
    top, face = torch.where(facing, depth, math.inf).min(1)
    bottom = torch.where(slope < -1e-9, depth, -math.inf).amax(1)
    upright = torch.where(slope.abs() <= 1e-9, room, math.inf).amin(1) >= 0
    hit = (top >= bottom) & upright
    if style == "silhouette":
        return hit.double()
    shade = thing.albedo * (0.2 + 0.8 * slope[..., 0].clamp(0, 1))
    return torch.where(hit, torch.gather(shade, 1, face), 0.0)


def views(
    body: str | Solid,
    count: int,
    *,
    generator: torch.Generator | None = None,
    size: int = 32,
    style: Style = "shaded",
) -> tuple[Float[Tensor, "count 1 size size"], Float[Tensor, "count 3 3"]]:
    """`count` pictures of a body in Haar-distributed orientations, and the rotations (float32)."""
    from erlangen.groups.orthogonal import SO

    rotations = SO(3).sample((count,), generator=generator, dtype=torch.float64)
    return render(body, rotations, size=size, style=style), rotations.float()


def symmetries(name: str, *, turns: int = 72) -> Float[Tensor, "elements 3 3"]:
    """The rotations S with the same picture for R S as for R, float64; about a round axis, `turns` equal ones of them.

    Raises ValueError for an unknown name.
    """
    if name not in SOLIDS:
        raise ValueError(f"name: {name!r}; known are {', '.join(SOLIDS)}")
    from erlangen.groups.polyhedral import Icosahedral, Octahedral, Tetrahedral

    groups = {"tetrahedron": Tetrahedral, "cube": Octahedral, "icosahedron": Icosahedral}
    if name in groups:
        group = groups[name]()
        return _fitting(solid(name), group.matrix(group.elements(), torch.float64))
    if name in ("marked_cube", "wedge"):
        return torch.eye(3, dtype=torch.float64)[None]
    angle = torch.arange(turns, dtype=torch.float64) * (2 * math.pi / turns)
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros(turns).double(), torch.ones(turns).double()
    about = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    if name == "cone":
        return about
    half = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    return torch.cat([about, about @ half])


def _fitting(thing: Solid, elements: Tensor) -> Tensor:
    """The elements of the group in the orientation that maps the solid's faces to faces."""
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    for turn in (torch.eye(3, dtype=torch.float64), quarter):
        moved = thing.normals @ (turn @ elements @ turn.mT).mT
        gaps = torch.cdist(moved, thing.normals.expand(len(elements), -1, -1)).amin(-1)
        if float(gaps.max()) < 1e-6:
            return turn @ elements @ turn.mT
    raise AssertionError(f"{thing.name}: its rotation group is in neither of the two usual orientations")


def equivalent(name: str, rotations: Float[Tensor, "views 3 3"], *, turns: int = 72) -> Float[Tensor, "views k 3 3"]:
    """All rotations that give the same picture as each of these: R S for the symmetries S of the body."""
    return rotations[:, None] @ symmetries(name, turns=turns).to(rotations)


def labels(name: str, count: int) -> Int[Tensor, " count"]:
    """The place of `name` in `SOLIDS`, repeated: a class label for a mixed data set."""
    return torch.full((count,), SOLIDS.index(name), dtype=torch.long)
