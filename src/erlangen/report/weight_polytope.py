"""A picture of the weights of a module and of their convex hull, in the plane or in space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from erlangen.groups.highest_weight import HalfSpace, HighestWeightModule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILL, LINE, DOT, ROOT = "#9ec3e6", "#17457a", "#c2410c", "#4b5563"


def plot_weight_polytope(
    module: HighestWeightModule,
    path: str | Path | None = None,
    *,
    depth: int | None = None,
    view: tuple[float, float] = (0.42, 0.36),
    size: float = 4.8,
    title: str | None = None,
) -> Figure:
    """The weights of `module` as dots, their hull around them, and the simple roots as arrows from λ.

    Lengths and angles are those of the Weyl-invariant form, so that reflections are reflections of the picture. Dots of
    a finite-dimensional module grow with multiplicity. An infinite set of weights is drawn down to `depth`, its hull
    open where it goes on. `view` turns a picture in space: two angles in radians. With `path` the figure is also
    written there (SVG, PDF or PNG by its ending).

    Raises:
        ValueError: the hull is not of dimension 2 or 3, or the diagram that carries it is not of finite type.
    """
    from matplotlib.figure import Figure

    support = sorted(module.j_min(module.cartan.nodes))
    if len(support) not in (2, 3):
        raise ValueError(f"module: its hull has dimension {len(support)}; pictures are of dimension 2 or 3")
    if module.cartan.subtype(support).kind != "finite":
        raise ValueError(
            f"module: {module.cartan.subtype(support).name} is not of finite type, so there is no Euclidean picture"
        )
    if depth is None and not module.is_finite:
        depth = 9 if len(support) == 2 else 6
    weights = np.array(module.weights(depth))
    frame = _euclidean(module, support)
    points = -weights[:, support] @ frame
    if module.is_finite:
        points = points - points.mean(0)
    shift = points[0]
    if len(support) == 3:
        turn = _turn(*view)
        points, frame, shift = points @ turn.T, frame @ turn.T, turn @ shift
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.set_axis_off()
    name = title if title is not None else f"{module.cartan.name}, λ = {_labels(module)}"
    axes.set_title(name, fontsize=11, color=ROOT)
    facets = [(h, _on(h, weights)) for h in module.half_spaces()]
    if len(support) == 2:
        _draw_plane(axes, points, [inside for _, inside in facets], module.is_finite)
    else:
        _draw_space(axes, points, facets, frame, support)
    _draw_weights(axes, module, weights, points)
    for root, node in zip(frame, support, strict=True):
        tip = shift[:2] - root[:2]
        axes.annotate(
            "", tip, shift[:2], arrowprops={"arrowstyle": "-|>", "color": ROOT, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        )
        axes.annotate(f"−α{node}", tip, (4, 4), textcoords="offset points", color=ROOT, fontsize=9)
    if path is not None:
        figure.savefig(path)
    return figure


def _labels(module: HighestWeightModule) -> str:
    text = "(" + ", ".join(map(str, module.weight)) + ")"
    free = sorted(module.cartan.nodes - module.integrable)
    return text if not free else f"{text}, not integrable at {', '.join(map(str, free))}"


def _euclidean(module: HighestWeightModule, support: list[int]) -> np.ndarray:
    """Simple roots as rows, with the inner products (α_i, α_j) = d_i A_ij."""
    d = module.cartan.symmetrizer
    form = np.array([[d[i] * module.cartan.matrix[i][j] for j in support] for i in support], dtype=float)
    return np.linalg.cholesky(form)


def _turn(azimuth: float, elevation: float) -> np.ndarray:
    """Rotation whose first two rows span the picture plane and whose third points to the eye."""
    c, s = np.cos(azimuth), np.sin(azimuth)
    a, b = np.cos(elevation), np.sin(elevation)
    return np.array([[1, 0, 0], [0, a, -b], [0, b, a]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _on(wall: HalfSpace, weights: np.ndarray) -> np.ndarray:
    return np.flatnonzero(weights @ np.array(wall.normal) + wall.offset == 0)


def _draw_plane(axes: Axes, points: np.ndarray, edges: list[np.ndarray], closed: bool) -> None:
    from matplotlib.patches import Polygon

    corners = points[_corners(points)]
    axes.add_patch(Polygon(corners, facecolor=FILL, alpha=0.35 if closed else 0.18, edgecolor="none", zorder=1))
    for inside in edges:
        ends = points[_ends(points[inside], inside)]
        axes.plot(*ends.T, color=LINE, lw=1.8, zorder=2, solid_capstyle="round")


def _ends(line: np.ndarray, index: np.ndarray) -> np.ndarray:
    along = (line - line.mean(0)) @ np.linalg.svd(line - line.mean(0))[2][0]
    return index[[along.argmin(), along.argmax()]]


def _corners(points: np.ndarray) -> np.ndarray:
    from scipy.spatial import ConvexHull

    return ConvexHull(points).vertices


def _draw_space(
    axes: Axes, points: np.ndarray, facets: list[tuple[HalfSpace, np.ndarray]], frame: np.ndarray, support: list[int]
) -> None:
    """Facets that face the eye over those that do not; an edge is where two facets meet."""
    from matplotlib.patches import Polygon

    # normal · c ≥ -offset inside, and a step -Σ c α moves by -frame: the outward normal is dual to the simple roots
    outward = [np.linalg.solve(frame, np.array([h.normal[i] for i in support], dtype=float)) for h, _ in facets]
    front = [bool(normal[2] > 1e-9) for normal in outward]
    for (_, inside), visible, normal in zip(facets, front, outward, strict=True):
        flat = points[inside]
        if visible and len(flat) > 2:
            light = 0.25 + 0.4 * normal[2] / np.linalg.norm(normal)
            spread = np.linalg.svd(flat[:, :2] - flat[:, :2].mean(0), compute_uv=False)
            if spread[1] > 1e-9:
                corners = flat[_corners(flat[:, :2]), :2]
                axes.add_patch(Polygon(corners, facecolor=FILL, alpha=light, edgecolor="none", zorder=2))
    for i in range(len(facets)):
        for j in range(i):
            shared = np.intersect1d(facets[i][1], facets[j][1])
            if len(shared) > 1 and _is_edge(points[shared]):
                ends = points[_ends(points[shared], shared)]
                style: dict[str, Any] = (
                    {"lw": 1.8, "zorder": 4} if front[i] or front[j] else {"lw": 0.9, "ls": (0, (3, 2)), "zorder": 1}
                )
                axes.plot(*ends[:, :2].T, color=LINE, solid_capstyle="round", **style)


def _is_edge(line: np.ndarray) -> bool:
    return int(np.linalg.matrix_rank(line - line[0], tol=1e-6)) == 1


def _draw_weights(axes: Axes, module: HighestWeightModule, weights: np.ndarray, points: np.ndarray) -> None:
    if module.is_finite:
        multiplicity = module.multiplicities()
        area = np.array([12 + 10 * multiplicity[tuple(map(int, c))] for c in weights], dtype=float)
        fade = np.full(len(weights), 0.95)
    else:
        area = np.full(len(weights), 14.0)
        fade = 1 - 0.75 * weights.sum(1) / max(1, int(weights.sum(1).max()))
    if points.shape[1] == 3:
        away = points[:, 2]
        fade = fade * (0.35 + 0.65 * (away - away.min()) / max(float(np.ptp(away)), 1e-9))
    area[0] += 30
    opacity: Any = fade
    axes.scatter(points[:, 0], points[:, 1], s=np.minimum(area, 140), color=DOT, alpha=opacity, lw=0, zorder=5)
