"""What most often causes a pattern of errors, in plain words, from experiments on the model itself."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves
from erlangen.testing.budget import Budget
from erlangen.testing.elements import inverse_draw
from erlangen.testing.locate import linear_part
from erlangen.testing.measure import Measured, compare, move_input, move_output
from erlangen.testing.result import CheckResult
from erlangen.testing.runner import relative_error
from erlangen.testing.session import Session

NORMS = ("BatchNorm", "LayerNorm", "InstanceNorm", "GroupNorm", "RMSNorm")
ACTIVATIONS = ("ReLU", "SiLU", "GELU", "Tanh", "Sigmoid", "ELU", "Softplus", "Mish", "Hardtanh", "Softmax")


def name_causes(session: Session, result: CheckResult, main: Measured, budget: Budget, *, seed: int) -> list[str]:
    """The likely causes, most specific first; empty for exact models."""
    if result.verdict in ("exact", "round-off", "vacuous"):
        return []
    causes: list[str] = []
    if main.failures:
        causes.append(f"the model raises on transformed inputs: {main.failures[0]}")
    if result.islands and (result.error_lifted or 0.0) < 1e-10 and result.worst_error < 1e-3:
        return [*causes, "a float32 island: an inner cast loses float64; the symmetry itself is exact"]
    if session.random:
        fixed = result.error_same_noise or 0.0
        what = (
            "random layers (dropout, noise, sampling): randomness, not structure"
            if fixed < 1e-8
            else ("random layers (dropout, noise, sampling): their draws are not moved by the group")
        )
        causes.append(what)
        if fixed < 1e-8:
            return causes
    if _only_off_grid(session, main):
        return [
            *causes,
            "interpolation: exact on the grid's own elements, and off the grid the action itself resamples",
        ]
    tolerance = max(1e-9, 1e-3 * result.worst_error)
    for test in (_wrong_side, _pseudo, _translations, _axis, _border):
        with contextlib.suppress(Exception):  # an experiment that cannot be made names no cause
            found = test(session, result, main, tolerance)
            if found:
                causes.append(found)
    layer = _from_layer(session, result, main)
    if layer:
        causes.append(layer)
    return list(dict.fromkeys(causes))


def _broken_draws(main: Measured, part: str | None = None) -> list[int]:
    worst = main.worst
    return [i for i, e in enumerate(main.errors) if e > 0.01 * worst and (part is None or main.draws[i].part == part)][
        :3
    ]


def _moved(session: Session, main: Measured, i: int) -> Any:
    base = leaves.cast(session.args, session.main.dtype)
    return session.main(move_input(session.symmetry, main.draws[i].g, base, session.main.dtype), seed=0)


def _wrong_side(session: Session, result: CheckResult, main: Measured, tolerance: float) -> str | None:
    """Does the output move with the inverse element?"""
    picked = _broken_draws(main)
    for i in picked:
        inverse = inverse_draw(session.symmetry, main.draws[i])
        if inverse is None:
            return None
        if compare(session.symmetry, inverse, _moved(session, main, i), main.output) > tolerance:
            return None
    return "the wrong side: the output moves with the inverse (x @ R where x @ R.mT is meant)" if picked else None


def _pseudo(session: Session, result: CheckResult, main: Measured, tolerance: float) -> str | None:
    """Is the output right up to the sign of the determinant?"""
    picked = []
    for i in _broken_draws(main):
        matrix = linear_part(session.symmetry.group, main.draws[i].g)
        if matrix is None or float(torch.linalg.det(matrix)) > 0:
            return None
        target = leaves.stacked(move_output(session.symmetry, main.draws[i].g, main.output))
        picked.append(relative_error(leaves.stacked(_moved(session, main, i)), -target))
    if picked and max(picked) <= tolerance:
        return "a pseudovector or pseudoscalar: reflections flip its sign (cross product, triple product, determinant)"
    rotations = result.parts.get("rotations", 1.0)
    if picked and result.parts.get("reflections", 0.0) > 0 and rotations <= tolerance:
        return "reflections are treated as rotations: something chiral enters (cross product, determinant, winding)"
    return None


def _translations(session: Session, result: CheckResult, main: Measured, tolerance: float) -> str | None:
    """Do only translations break, and how?"""
    shift = result.parts.get("translations", 0.0)
    others = [e for p, e in result.parts.items() if p not in ("translations", "whole group")]
    if shift <= tolerance or _is_image(session):
        return None
    if max(others, default=0.0) > tolerance:
        return None
    for i in _broken_draws(main, "translations"):
        moved = leaves.stacked(_moved(session, main, i))
        if relative_error(moved, leaves.stacked(main.output)) > 1e-9:
            return "absolute positions enter: subtract the centroid, or use differences of positions only"
    return "the output does not move with a translation: add the centroid back after centring"


def _axis(session: Session, result: CheckResult, main: Measured, tolerance: float) -> str | None:
    """Is the model symmetric about one axis only (a reference direction leaks in)?"""
    if "rotations" not in result.parts or result.parts["rotations"] <= tolerance:
        return None
    symmetry, runner = session.symmetry, session.main
    n = getattr(linear_part(symmetry.group, main.draws[0].g), "shape", (0,))[-1]
    shape = tuple(getattr(main.draws[0].g, "shape", ()))
    if n != 3 or shape not in ((3, 3), (4, 4)):
        return None
    base = leaves.cast(session.args, runner.dtype)
    for axis, name in enumerate("xyz"):
        g = torch.eye(shape[0], dtype=torch.float64)
        a, b = [k for k in range(3) if k != axis]
        g[a, a] = g[b, b] = torch.cos(torch.tensor(1.1, dtype=torch.float64))
        g[a, b], g[b, a] = -torch.sin(torch.tensor(1.1, dtype=torch.float64)), torch.sin(torch.tensor(1.1).double())
        if compare(symmetry, g, runner(move_input(symmetry, g, base, runner.dtype), seed=0), main.output) <= tolerance:
            return f"a frame of reference leaks in: only rotations about the {name} axis hold (a fixed axis or gravity)"
    return None


def _is_image(session: Session) -> bool:
    if session.symmetry.is_user_written:
        return any(type(m).__name__.startswith("Conv") for root in session.main.modules for m in root.modules())
    return _mentions(session.symmetry.input_type, ("image", "sequence"))


def _mentions(kind: Any, names: tuple[str, ...]) -> bool:
    if isinstance(kind, (tuple, list)):
        return any(_mentions(k, names) for k in kind)
    return isinstance(kind, str) and kind in names


def _border(session: Session, result: CheckResult, main: Measured, tolerance: float) -> str | None:
    """For images: does the error sit at the border (padding), or everywhere (strides, interpolation)?"""
    out = main.output
    if not _is_image(session) or not isinstance(out, Tensor):
        return None
    padded = [
        name
        for root in session.main.modules
        for name, m in root.named_modules()
        if getattr(m, "padding_mode", "") == "zeros" and any(p not in (0, "valid") for p in _as_tuple(m.padding))
    ]
    if out.dim() >= 3 and out.shape[-1] >= 8 and _mentions(session.symmetry.output_type, ("image",)):
        inner = []
        for i in _broken_draws(main):
            target, got = move_output(session.symmetry, main.draws[i].g, out), _moved(session, main, i)
            k = out.shape[-1] // 4
            inner.append(relative_error(got[..., k:-k, k:-k].double(), target[..., k:-k, k:-k]))
        if inner and max(inner) <= tolerance:
            return "padding: the error sits at the border only; use circular padding or compare the interior"
    if padded:
        return f"zero padding ({padded[0]}) tells the layers where the border is; use circular padding"
    return None


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _from_layer(session: Session, result: CheckResult, main: Measured) -> str | None:
    """What the kind of the first breaking layer says."""
    place = result.first_breaking or ""
    kind = place.partition("(")[2].rstrip(")")
    parts = {p for p, e in result.parts.items() if e > 1e-3 * result.worst_error and p != "whole group"}
    if "components of a vector" in kind:
        if kind.startswith(NORMS):
            return "statistics or normalisation over the components of a vector; normalise lengths instead"
        if kind.startswith(ACTIVATIONS):
            return "a pointwise nonlinearity on the components of a vector; gate by an invariant instead"
        return "a layer mixes the components of a vector (coordinates used as features); mix channels instead"
    if kind.startswith(ACTIVATIONS + NORMS) and _vectors(session):
        return "a nonlinearity or normalisation acts on components that rotate; act on lengths instead"
    if _is_image(session) and kind.startswith("Conv") and parts & {"rotations", "reflections"}:
        return "plain filters have an orientation of their own; share them over the group (group convolution)"
    if "MaxPool" in kind or "AvgPool" in kind or (kind.startswith("Conv") and _is_image(session)):
        return "strides and pooling sample a fixed grid: shifts that are no multiple of the stride alias"
    if "permutations" in parts:
        if kind.startswith(("LSTM", "GRU", "RNN", "Conv")):
            return "the layer reads the elements in order (recurrent or convolutional over the rows)"
        return "something depends on the order of the rows (positions, flattening, first or last element, capped ties)"
    if _is_image(session) and parts & {"rotations", "reflections"}:
        return "the layout of the pixels enters (flattening, positions): pool over the group and the plane first"
    if "rotations" in parts or "reflections" in parts:
        return "absolute orientation enters (coordinates used as plain features, or a fixed frame in a buffer)"
    if result.verdict == "approximate" and _inexact(session):
        return "interpolation: the action resamples, so elements off the grid cannot be exact"
    return None


def _only_off_grid(session: Session, main: Measured) -> bool:
    """Whether all error comes from elements that the action has to resample."""
    is_exact = getattr(session.symmetry.input_action, "is_exact", None)
    if not _inexact(session) or is_exact is None:
        return False
    with contextlib.suppress(Exception):
        exact = [bool(is_exact(d.g)) for d in main.draws]
        moved = [e for e, x, d in zip(main.errors, exact, main.draws, strict=True) if x and d.distance > 0]
        return bool(moved) and max(moved) <= 1e-8
    return False


def _inexact(session: Session) -> bool:
    return getattr(session.symmetry.input_action, "exact", True) is False


def _vectors(session: Session) -> bool:
    return not session.symmetry.is_user_written and _mentions(session.symmetry.input_type, ("points", "vectors"))
