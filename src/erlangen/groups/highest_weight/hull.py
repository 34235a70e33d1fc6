"""The same numbers by brute force: a convex hull of weights in floating point, for small ranks, as an oracle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from erlangen.groups.cartan.errors import InfiniteError
from erlangen.groups.highest_weight.weights import Weight

if TYPE_CHECKING:
    from erlangen.groups.highest_weight.module import HighestWeightModule


def hull_f_vector(module: HighestWeightModule, *, limit: int = 60_000) -> tuple[int, ...]:
    """The f-vector of conv V counted on SciPy's hull of the weights, without any theory of faces.

    An infinite weight set is cut at a depth below which every vertex w·λ and the first step along every ray from it
    lie, so that the cut hull has the right tangent cone at every vertex; its faces through a vertex are then those of
    conv V. W_{I_V} must be finite.

    Raises InfiniteError where it is not, ValueError where more than `limit` weights would be needed.
    """
    support = sorted(module.j_min(module.cartan.nodes))
    vertices = _orbit(module, [0] * module.cartan.rank)
    if module.is_finite:
        points = module.weights()
    else:
        free = sorted(module.cartan.nodes - module.integrable)
        steps = max(max(map(sum, _root_orbit(module, i))) for i in free)
        depth = max(map(sum, vertices)) + steps
        points = []
        for weight in module:
            if sum(weight) > depth:
                break
            points.append(weight)
            if len(points) > limit:
                raise ValueError(f"module: {module} needs more than {limit} weights, down to depth {depth}")
    return count_faces([[p[i] for i in support] for p in points], [[v[i] for i in support] for v in vertices])


def count_faces(points: Sequence[Sequence[int]], vertices: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Faces by dimension of the hull of full-dimensional `points` that hold at least one of `vertices`."""
    dim = len(points[0])
    if dim == 0:
        return (1,)
    if dim == 1:
        ends = {min(p[0] for p in points), max(p[0] for p in points)}
        return (len(ends & {v[0] for v in vertices}), 1)
    from scipy.spatial import ConvexHull

    array = np.asarray(points, dtype=float)
    hull = ConvexHull(array)
    corners = array[hull.vertices]
    equations = {tuple(row) for row in np.round(hull.equations, 9) + 0.0}
    wanted = {tuple(map(float, v)) for v in vertices}
    true = sum(1 << i for i, corner in enumerate(corners) if tuple(corner) in wanted)
    distances = np.abs(np.asarray(sorted(equations)) @ np.c_[corners, np.ones(len(corners))].T)
    facets = {sum(1 << int(i) for i in np.flatnonzero(row < 1e-6)) for row in distances}
    facets = {f for f in facets if f & true}
    faces, level = set(facets), set(facets)
    while level:
        level = {face & facet for face in level for facet in facets if face & facet & true} - faces
        faces |= level
    counts = [0] * dim + [1]
    for face in faces:
        inside = corners[[i for i in range(len(corners)) if face >> i & 1]]
        counts[int(np.linalg.matrix_rank(inside[1:] - inside[0], tol=1e-6)) if len(inside) > 1 else 0] += 1
    return tuple(counts)


def _orbit(module: HighestWeightModule, start: list[int]) -> set[Weight]:
    """W_{I_V}·λ in the coordinates c, by applying reflections until nothing new appears."""
    found, queue = {tuple(start)}, [tuple(start)]
    for c in queue:
        if len(found) > 1_000_000:
            raise InfiniteError(f"module: the Weyl group of {module} has too many elements for brute force")
        for i in module.integrable:
            label = module.weight[i] - sum(a * x for a, x in zip(module.cartan.matrix[i], c, strict=True))
            moved = (*c[:i], c[i] + label, *c[i + 1 :])
            if moved not in found:
                found.add(moved)
                queue.append(moved)
    return found


def _root_orbit(module: HighestWeightModule, node: int) -> set[Weight]:
    """W_{I_V}·α_node, as coefficients of simple roots."""
    root = tuple(int(i == node) for i in range(module.cartan.rank))
    found, queue = {root}, [root]
    for c in queue:
        if len(found) > 100_000:
            raise InfiniteError(f"module: the Weyl group of {module} has too many elements for brute force")
        for i in module.integrable:
            label = sum(a * x for a, x in zip(module.cartan.matrix[i], c, strict=True))
            moved = (*c[:i], c[i] - label, *c[i + 1 :])
            if moved not in found:
                found.add(moved)
                queue.append(moved)
    return found
