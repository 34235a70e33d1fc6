"""Triangle meshes: normalised, simplified, and made from voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from erlangen.data.named import roots


@dataclass(frozen=True)
class Mesh:
    """Triangles: `vertices: [V, 3]` and `faces: [F, 3]`, numbers of vertices, counter-clockwise seen from outside."""

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.vertices).all()):
            raise ValueError("vertices: some are NaN or infinite")
        if len(self.faces) == 0 or int(self.faces.min()) < 0 or int(self.faces.max()) >= len(self.vertices):
            raise ValueError(f"faces: none, or numbers outside 0 .. {len(self.vertices) - 1}")

    def normalized(self) -> Mesh:
        """The same shape in the unit ball: the box's centre at the origin, the farthest vertex at distance 1."""
        used = self.vertices[self.faces.flatten()]
        centred = self.vertices - (used.amax(0) + used.amin(0)) / 2
        radius = centred[self.faces.flatten()].norm(dim=-1).max()
        if not float(radius) > 0:
            raise ValueError("vertices: all at one point")
        return Mesh(centred / radius, self.faces)

    def simplified(self, cells: int) -> Mesh:
        """Vertices merged that share a cell of a grid of `cells` across the longest side (vertex clustering).

        J. Rossignac, P. Borrel, Multi-resolution 3D approximations for rendering complex scenes, 1993. Every cell
        keeps the mean of its vertices; triangles that lose a corner are dropped.
        """
        if cells < 2:
            raise ValueError(f"cells: {cells}; at least 2")
        low, high = self.vertices.amin(0), self.vertices.amax(0)
        place = (
            ((self.vertices - low) / (high - low).max().clamp(min=1e-12) * cells).floor().long().clamp(max=cells - 1)
        )
        key = (place[:, 0] * cells + place[:, 1]) * cells + place[:, 2]
        _, member, count = key.unique(return_inverse=True, return_counts=True)
        merged = self.vertices.new_zeros(len(count), 3).index_add_(0, member, self.vertices) / count[:, None]
        faces = member[self.faces]
        a, b, c = faces.unbind(1)
        kept = faces[(a != b) & (b != c) & (a != c)]
        order = kept.sort(1).values  # one of several triangles on the same corners is enough
        _, which = np.unique(order.numpy(), axis=0, return_index=True)
        return Mesh(merged, kept[torch.as_tensor(np.sort(which))])

    def smoothed(self, rounds: int = 5, *, step: float = 0.5) -> Mesh:
        """Vertices moved towards the mean of their neighbours and back (Taubin, 1995), which takes away steps, not volume."""
        edges = torch.cat([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        key = torch.cat([edges, edges.flip(1)]) @ torch.tensor([len(self.vertices), 1])
        key = key.unique()
        edges = torch.stack([key.div(len(self.vertices), rounding_mode="floor"), key % len(self.vertices)], 1)
        degree = torch.zeros(len(self.vertices)).index_add_(0, edges[:, 0], torch.ones(len(edges))).clamp(min=1)
        vertices = self.vertices
        for _ in range(rounds):
            for factor in (step, -1.06 * step):
                mean = torch.zeros_like(vertices).index_add_(0, edges[:, 0], vertices[edges[:, 1]]) / degree[:, None]
                vertices = vertices + factor * (mean - vertices)
        return Mesh(vertices, self.faces)


# for the face towards +x: its four corners, counter-clockwise from outside; the other axes by cyclic permutation
_SIDE = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 1]])


def voxel_mesh(filled: Bool[Tensor, "x y z"]) -> Mesh:
    """The surface between filled and empty voxels, each square as two triangles; the voxel (i, j, k) fills [i, i + 1] x ...

    Raises:
        ValueError: no voxel is filled.
    """
    if not bool(filled.any()):
        raise ValueError("filled: no voxel is; a mesh needs at least one")
    padded = torch.nn.functional.pad(filled, (1,) * 6)
    squares = []
    for axis in range(3):
        corners = _SIDE.roll(axis, 1)
        for towards in (1, -1):
            empty = ~padded.roll(-towards, axis)
            at = (padded & empty).nonzero() - 1
            quad = corners if towards == 1 else (corners - torch.eye(3, dtype=torch.int64)[axis]).flip(0)
            squares.append(at[:, None] + quad)
    quads = torch.cat(squares)
    side = max(filled.shape) + 1
    key, number = (quads.reshape(-1, 3) @ torch.tensor([side * side, side, 1])).unique(return_inverse=True)
    vertices = torch.stack(
        [key.div(side * side, rounding_mode="floor"), key.div(side, rounding_mode="floor") % side, key % side], 1
    )
    a, b, c, d = number.reshape(-1, 4).unbind(1)
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    return Mesh(vertices.to(torch.get_default_dtype()), faces)


def mesh_names() -> list[str]:
    """The meshes that lie in the folder "meshes" of `$ERLANGEN_DATA` or the cache."""
    return sorted({path.stem for root in roots() for path in (root / "meshes").glob("*.npz")})


def load_mesh(name: str) -> Mesh:
    """A mesh by name, in the unit ball: a file `meshes/NAME.npz` with `vertices` and `faces`.

    Raises:
        FileNotFoundError: it is nowhere; names what there is.
    """
    for root in roots():
        path = root / "meshes" / f"{name}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as content:
                vertices, faces = content["vertices"], content["faces"]
            return Mesh(torch.as_tensor(vertices, dtype=torch.float32), torch.as_tensor(faces).long()).normalized()
    known = ", ".join(mesh_names()) or "none"
    raise FileNotFoundError(f"name: no meshes/{name}.npz in {' or '.join(map(str, roots()))}; there are: {known}")
