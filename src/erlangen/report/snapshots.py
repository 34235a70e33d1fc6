"""The worst case of a check as small pictures: what went in, what it became, what should have come out and what did."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from erlangen.report.pictures import picture
from erlangen.report.plain import mapping, number, numbers, sequence
from erlangen.report.wording import escape

MOST_POINTS, MOST_PIXELS = 160, 64
_SIZE = 74
_CAPTIONS = {"before": "x", "after": "g·x", "wanted": "g·f(x)", "got": "f(g·x)"}
_PAIRS = (("the input, and moved", ("before", "after")), ("it should give, it gives", ("wanted", "got")))
_CLOUDS = ("points", "vectors")
_TABLES = ("image", "field", "mask", "sphere", "rows", "scalars", "sequence")


def check_record(result: Any) -> dict[str, Any]:
    """A check as plain data: a mapping as given, or `CheckResult.to_dict()` with pictures of its worst case."""
    if isinstance(result, Mapping):
        return dict(result)
    record = dict(result.to_dict())
    if getattr(result, "name", None):
        record["name"] = result.name
    if getattr(result, "worst", None) is not None:
        record["worst"] = {**mapping(record.get("worst")), **_pictures_of(result)}
    return record


def film(worst: Mapping[str, Any]) -> str:
    """The pictures in a row, each with its caption; empty where there is none."""
    pairs = []
    for title, names in _PAIRS:
        frames = "".join(
            f"<figure>{_draw(worst[name], f'{title}: {_CAPTIONS[name]}')}<figcaption>{_CAPTIONS[name]}</figcaption></figure>"
            for name in names
            if worst.get(name) is not None
        )
        if frames:
            pairs.append(f'<div><p class="quiet">{title}</p><div class="frames">{frames}</div></div>')
    return f'<div class="film">{"".join(pairs)}</div>' if pairs else ""


def _pictures_of(result: Any) -> dict[str, Any]:
    """`before` and `after`, and `wanted` and `got` where the output can be drawn."""
    worst, symmetry = result.worst, result.symmetry
    found: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # what cannot be drawn is left out, never an error of the report
        kind = symmetry.input_type
        if isinstance(kind, tuple) and len(kind) == 1 and not isinstance(worst.x, tuple):
            kind = kind[0]
        found.update(_pair(kind, worst.x, worst.gx, ("before", "after")))
    moved = getattr(worst, "moved_output", None)
    if moved is not None and worst.output is not None:
        with contextlib.suppress(Exception):
            due = symmetry.act_output(worst.g, worst.output)
            found.update(_pair(symmetry.output_type, due, moved, ("wanted", "got")))
    return found


def _pair(kind: Any, first: Any, second: Any, names: tuple[str, str]) -> dict[str, Any]:
    """The same part of two values, drawn to the same scale."""
    for (word, a), (_, b) in zip(_leaves(kind, first), _leaves(kind, second), strict=False):
        left, right = _array(a), _array(b)
        if left is None or right is None or left.shape != right.shape or word == "invariant":
            continue
        if word in _CLOUDS or (word not in _TABLES and left.ndim >= 2 and left.shape[-1] in (2, 3)):
            return dict(zip(names, _clouds(word, left, right), strict=True))
        if left.ndim >= 1 and left.shape[-1] > 1:
            return dict(zip(names, _tables(word, left, right), strict=True))
    return {}


def _leaves(kind: Any, value: Any) -> list[tuple[str, Any]]:
    """`(name of the type, tensor)` for every argument, those that a picture tells most about first."""
    if hasattr(value, "num_nodes") and hasattr(value, "keys"):
        found = [("points", getattr(value, "pos", None)), ("rows", getattr(value, "x", None))]
    elif isinstance(value, Mapping):
        named = kind if isinstance(kind, Mapping) else {}
        found = [leaf for name, item in value.items() for leaf in _leaves(named.get(name), item)]
    elif isinstance(value, (tuple, list)):
        listed = kind if isinstance(kind, (tuple, list)) else [kind] * len(value)
        found = [leaf for k, item in zip(listed, value, strict=False) for leaf in _leaves(k, item)]
    else:
        found = [(kind if isinstance(kind, str) else "", value)]
    rank = {"image": 0, "points": 0, "field": 1, "vectors": 1}
    return sorted(found, key=lambda leaf: rank.get(leaf[0], 2))


def _array(value: Any) -> np.ndarray | None:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "uifb" or array.size == 0:
        return None
    array = array.astype(np.float64)
    return array if np.isfinite(array).all() else None


def _clouds(word: str, left: np.ndarray, right: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both clouds in one frame, the first two coordinates in the plane and the third as depth, within [-1, 1]."""
    pair = [a.reshape(-1, *a.shape[-2:])[0][:MOST_POINTS] for a in (left, right)]
    both = np.concatenate([*pair, np.zeros((1, left.shape[-1]))]) if word == "vectors" else np.concatenate(pair)
    middle = (both.max(0) + both.min(0)) / 2
    reach = max(float((both.max(0) - both.min(0)).max()) / 2, 1e-300)
    kind = "arrows" if word == "vectors" else "cloud"
    origin = np.round(-middle / reach, 3).tolist()

    def plain(a: np.ndarray) -> dict[str, Any]:
        return {"kind": kind, "points": np.round((a - middle) / reach, 3).tolist(), "origin": origin}

    return plain(pair[0]), plain(pair[1])


def _tables(word: str, left: np.ndarray, right: np.ndarray) -> tuple[list[Any], list[Any]]:
    """Images, and rows of numbers as images, from the smallest value of both (black) to the largest (white)."""
    colour = word == "image" and left.ndim >= 3 and left.shape[-3] == 3
    depth = 3 if colour else 2
    pair = [np.atleast_2d(a) if a.ndim < 2 else a for a in (left, right)]
    pair = [a.reshape(-1, *a.shape[-depth:])[0] for a in pair]
    low, high = min(a.min() for a in pair), max(a.max() for a in pair)
    pair = [np.round(255 * (a - low) / (high - low if high > low else 1.0)) for a in pair]
    pixels = [a[..., :MOST_PIXELS, :MOST_PIXELS].astype(np.uint8).tolist() for a in pair]
    return pixels[0], pixels[1]


def _draw(data: Any, words: str) -> str:
    shape = mapping(data)
    if shape.get("kind") in ("cloud", "arrows"):
        return _cloud_svg(shape, words)
    return picture(data, words, size=_SIZE)


def _cloud_svg(shape: Mapping[str, Any], words: str) -> str:
    """Dots joined in their order, the first one marked, so that an eye can follow how the cloud moved."""
    rows = [numbers(p) for p in sequence(shape.get("points"))[:MOST_POINTS]]
    rows = [r for r in rows if len(r) >= 2 and all(map(math.isfinite, r))]
    if not rows:
        return picture(None, words, size=_SIZE)
    origin = [v for v in numbers(shape.get("origin")) if math.isfinite(v)]
    cross = _place(origin) if len(origin) >= 2 and max(map(abs, origin[:2])) <= 1 else None
    at = [_place(r) for r in rows]
    parts = []
    if cross is not None:
        x, y = cross
        parts.append(f'<path class="origin" d="M{x - 3:.2f} {y:.2f}h6M{x:.2f} {y - 3:.2f}v6"/>')
    if shape.get("kind") == "arrows" and cross is not None:
        parts += [f'<path class="bond" d="M{cross[0]:.2f} {cross[1]:.2f}L{x:.2f} {y:.2f}"/>' for x, y in at]
    elif len(at) <= 40:
        joined = " ".join(f"{x:.2f},{y:.2f}" for x, y in at)
        parts.append(f'<polyline class="bond" points="{joined}"/>')
    for i in sorted(range(len(at)), key=lambda i: number(rows[i][2]) if len(rows[i]) > 2 else 0.0):
        depth = rows[i][2] if len(rows[i]) > 2 else 0.0
        size = 3.1 + 1.3 * max(-1.0, min(1.0, depth))
        first = " first" if i == 0 else ""
        parts.append(f'<circle class="atom{first}" cx="{at[i][0]:.2f}" cy="{at[i][1]:.2f}" r="{size:.2f}"/>')
    return (
        f'<svg class="cloud" role="img" aria-label="{escape(words)}" viewBox="0 0 {_SIZE} {_SIZE}" '
        f'width="{_SIZE}" height="{_SIZE}">{"".join(parts)}</svg>'
    )


def _place(row: list[float]) -> tuple[float, float]:
    """From [-1, 1] to the frame, y upwards."""
    half, inner = _SIZE / 2, _SIZE / 2 - 8
    return half + inner * max(-1.0, min(1.0, row[0])), half - inner * max(-1.0, min(1.0, row[1]))
