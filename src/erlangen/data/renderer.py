"""Pictures of triangle meshes in torch: a z-buffer for many poses at once, and a soft silhouette.

The camera is orthographic and looks down the z axis from above: x is right, y up, z towards the eye, and the image shows
the square [-1, 1] x [-1, 1], so that a mesh in the unit ball fits. Only pairs of a triangle and a pixel in its bounding box
are ever formed, so that the work is about the area drawn and not triangles times pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.data.mesh import Mesh

Style = Literal["shaded", "depth", "silhouette", "normals"]
LIGHT = (0.4, 0.5, 0.77)  # from above and the right of the eye
AMBIENT = 0.25
TRIANGLES_AT_ONCE = 1_000_000


class _Pairs(NamedTuple):
    """Triangles of `corners` beside pixels: `triangle`, `pixel` (number in all images) and `at: [pairs, 2]` in pixels."""

    triangle: Tensor
    pixel: Tensor
    at: Tensor


def _on_screen(points: Tensor, size: int) -> Tensor:
    """x, y to column, row; the centres of pixels are whole numbers."""
    return torch.stack([(points[..., 0] + 1) * size / 2 - 0.5, (1 - points[..., 1]) * size / 2 - 0.5], -1)


def _pairs(screen: Float[Tensor, "images triangles 3 2"], size: int, margin: float) -> _Pairs:
    flat = screen.detach().flatten(0, 1)
    first = (flat.amin(1) - margin).ceil().clamp(0, size).long()
    last = (flat.amax(1) + margin).floor().clamp(-1, size - 1).long()
    wide, high = (last - first + 1).clamp(min=0).unbind(1)
    count = wide * high
    triangle = torch.repeat_interleave(count)
    within = torch.arange(len(triangle), device=flat.device) - (count.cumsum(0) - count)[triangle]
    column = first[triangle, 0] + within % wide[triangle]
    row = first[triangle, 1] + within.div(wide[triangle], rounding_mode="floor")
    image = triangle.div(screen.shape[1], rounding_mode="floor")
    pixel = (image * size + row) * size + column
    return _Pairs(triangle, pixel, torch.stack([column, row], 1).to(flat.dtype))


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _barycentric(corners: Float[Tensor, "*n 3 2"], at: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 3"]:
    """The weights of the corners; not finite where a triangle is seen edge on."""
    to = corners - at.unsqueeze(-2)
    a, b, c = to.unbind(-2)
    parts = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1)
    area = parts.sum(-1, keepdim=True)
    return parts / torch.where(area == 0, torch.full_like(area, math.nan), area)


@torch.no_grad()
def rasterize(points: Float[Tensor, "images vertices 3"], faces: Int[Tensor, "faces 3"], size: int) -> Tensor:
    """The number of the triangle nearest to the eye at the centre of every pixel, `[images, size, size]`; -1 for none."""
    corners = points[:, faces]
    screen = _on_screen(corners, size)
    triangle, pixel, at = _pairs(screen, size, 0.0)
    weight = _barycentric(screen.flatten(0, 1)[triangle], at)
    inside = weight.amin(1) >= -1e-6  # NaN, a triangle seen edge on, is not inside
    triangle, pixel, weight = triangle[inside], pixel[inside], weight[inside]
    z = (weight * corners[..., 2].flatten(0, 1)[triangle]).sum(1)
    pixels = len(points) * size * size
    nearest = z.new_full((pixels,), -math.inf).scatter_reduce_(0, pixel, z, "amax")
    front = z == nearest[pixel]
    number = (triangle % len(faces))[front]
    shown = torch.full((pixels,), -1, device=z.device).scatter_reduce_(0, pixel[front], number, "amax")
    return shown.view(len(points), size, size)


def _check(mesh: Mesh, rotation: Tensor, size: int) -> None:
    if rotation.ndim != 3 or rotation.shape[1:] != (3, 3):
        raise ValueError(f"rotation: shape {list(rotation.shape)}; [images, 3, 3] is needed")
    if not bool(torch.isfinite(rotation).all()):
        raise ValueError("rotation: some entries are NaN or infinite")
    if size < 1:
        raise ValueError(f"size: {size}; at least 1")


def render(
    mesh: Mesh,
    rotation: Float[Tensor, "images 3 3"],
    *,
    size: int = 32,
    style: Style = "shaded",
    antialias: int = 2,
    light: Sequence[float] = LIGHT,
) -> Float[Tensor, "images channels size size"]:
    """The mesh turned by each rotation, vertices `R v`, as images in [0, 1] on a background of 0.

    "shaded" is a matt grey surface under a light from `light`, lit from both sides, so that the order of corners does not
    matter; "depth" is (z + 1) / 2, 1 nearest to the eye; "silhouette" is 1; "normals", 3 channels, is (n + 1) / 2 of the
    normal towards the eye. Values follow the vertices and the rotation with gradients; which triangle a pixel shows
    does not: for that, `soft_silhouette`.

    Arguments:
        antialias: pixels are means over `antialias` x `antialias` samples.

    Raises:
        ValueError: shapes or sizes that do not fit, a style that there is not.
    """
    if style not in ("shaded", "depth", "silhouette", "normals"):
        raise ValueError(f"style: {style!r}; allowed: 'shaded', 'depth', 'silhouette', 'normals'")
    if antialias < 1:
        raise ValueError(f"antialias: {antialias}; at least 1")
    _check(mesh, rotation, size)
    at_once = max(1, TRIANGLES_AT_ONCE // len(mesh.faces))
    vertices, faces = mesh.vertices.to(rotation), mesh.faces.to(rotation.device)
    towards = F.normalize(torch.tensor(list(light), dtype=rotation.dtype, device=rotation.device), dim=0)
    fine = size * antialias
    parts = []
    for some in rotation.split(at_once):
        points = vertices @ some.mT
        picture = _shade(points, faces, rasterize(points, faces, fine), style, towards)
        parts.append(F.avg_pool2d(picture, antialias) if antialias > 1 else picture)
    return torch.cat(parts)


def _shade(points: Tensor, faces: Tensor, shown: Tensor, style: Style, light: Tensor) -> Tensor:
    """The pixels that show a triangle, coloured; `[images, channels, size, size]`."""
    images, size = shown.shape[:2]
    image, row, column = (shown >= 0).nonzero().unbind(1)
    corners = points[image[:, None], faces[shown[image, row, column]]]
    if style == "silhouette":
        value = torch.ones_like(corners[:, :1, 0])
    elif style == "depth":
        at = torch.stack([column, row], 1).to(points.dtype)
        weight = _barycentric(_on_screen(corners, size), at)
        value = ((weight * corners[..., 2]).sum(1, keepdim=True) + 1) / 2
    else:
        a, b, c = corners.unbind(1)
        normal = torch.linalg.cross(b - a, c - a)
        normal = F.normalize(torch.where(normal[:, 2:] < 0, -normal, normal), dim=1, eps=1e-20)
        lit = AMBIENT + (1 - AMBIENT) * (normal @ light).clamp(min=0)
        value = lit[:, None] if style == "shaded" else (normal + 1) / 2
    out = points.new_zeros(images, size, size, value.shape[1])
    return out.index_put((image, row, column), value).permute(0, 3, 1, 2)


def soft_silhouette(
    mesh: Mesh, rotation: Float[Tensor, "images 3 3"], *, size: int = 32, sigma: float = 0.5
) -> Float[Tensor, "images 1 size size"]:
    """How much of a pixel the mesh covers, `1 - Π_t (1 - sigmoid(±d_t² / sigma²))`, differentiable in the pose.

    `d_t` is the distance in pixels from a pixel's centre to the edge of triangle t, positive inside; the product is over the
    triangles whose bounding box is within 3 sigma. S. Liu, T. Li, W. Chen, H. Li, Soft rasterizer, 2019, arXiv:1904.01786.

    Raises:
        ValueError: shapes or sizes that do not fit.
    """
    _check(mesh, rotation, size)
    if not sigma > 0:
        raise ValueError(f"sigma: {sigma}; above 0 is needed, in pixels")
    vertices, faces = mesh.vertices.to(rotation), mesh.faces.to(rotation.device)
    parts = []
    for some in rotation.split(max(1, TRIANGLES_AT_ONCE // (4 * len(mesh.faces)))):
        screen = _on_screen((vertices @ some.mT)[:, faces], size)
        triangle, pixel, at = _pairs(screen, size, 3 * sigma)
        corners = screen.flatten(0, 1)[triangle]
        signed = _signed_square(corners, at) / sigma**2
        outside = at.new_zeros(len(some) * size * size).index_add(0, pixel, F.logsigmoid(-signed))
        parts.append((1 - outside.exp()).view(len(some), 1, size, size))
    return torch.cat(parts)


def _signed_square(corners: Float[Tensor, "n 3 2"], at: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """The squared distance of a point to the edge of a triangle, positive inside."""
    edge = corners.roll(-1, 1) - corners
    to = at[:, None] - corners
    along = ((to * edge).sum(-1) / edge.square().sum(-1).clamp(min=1e-12)).clamp(0, 1)
    square = (to - along[..., None] * edge).square().sum(-1).amin(1)
    with torch.no_grad():
        inside = _barycentric(corners, at).amin(1) >= 0
    return torch.where(inside, square, -square)
