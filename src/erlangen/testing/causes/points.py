"""Causes of a break under rotations, reflections, translations and scalings of vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves
from erlangen.testing.causes import ablate
from erlangen.testing.causes.lab import Lab, own_tensors
from erlangen.testing.inverse import inverses
from erlangen.testing.locate import linear_part
from erlangen.testing.measure import compare, move_output
from erlangen.testing.runner import Runner, relative_error

NORM_WORDS = "statistics or normalisation over the components of a vector; normalise lengths instead"
ACT_WORDS = "a pointwise nonlinearity on the components of a vector; gate by an invariant instead"


def wrong_side(lab: Lab) -> str | None:
    """Does the output move with the inverse element, or is it transposed?"""
    picked = [d for d in lab.picks if d.part != "translations"]
    if not picked or not lab.motions & {"rotation", "reflection", "other", "permutation", "shift"}:
        return None
    for k in range(max((len(inverses(lab.symmetry, d.g)) for d in picked), default=0)):
        errors = []
        for draw in picked:
            options = inverses(lab.symmetry, draw.g)
            if k >= len(options):
                return None
            errors.append(compare(lab.symmetry, options[k], lab.moved(draw), lab.output))
        if errors and max(errors) <= lab.tolerance:
            return "the wrong side: the output moves with the inverse (x @ R where x @ R.mT is meant)"
    out = lab.output
    square = isinstance(out, Tensor) and out.dim() >= 2 and out.shape[-1] == out.shape[-2]
    if square and all(compare(lab.symmetry, d.g, lab.moved(d).mT, out.mT) <= lab.tolerance for d in picked):
        return "the wrong side: the output is transposed (the inverse rotation is returned); return its transpose"
    return None


def matrix_of(lab: Lab, g: Any) -> Tensor | None:
    """The matrix with which `g` acts on vectors: the group's, or the user's own square tensor."""
    if not lab.symmetry.is_user_written:
        return linear_part(lab.symmetry.group, g)
    if isinstance(g, Tensor) and g.dim() == 2 and g.shape[0] == g.shape[1] and g.is_floating_point():
        return g.to(torch.float64)
    return None


def pseudo(lab: Lab) -> str | None:
    """Is the output right up to the sign of the determinant?"""
    draws, errors = [], []
    for draw in lab.picks:
        matrix = matrix_of(lab, draw.g)
        if matrix is None:
            return None
        if float(torch.linalg.det(matrix)) > 0:
            if draw.part not in ("whole group", "transformations"):
                return None
            continue
        draws.append(draw)
        target = leaves.stacked(move_output(lab.symmetry, draw.g, lab.output))
        errors.append(relative_error(leaves.stacked(lab.moved(draw)), -target))
    if errors and max(errors) <= lab.tolerance:
        return "a pseudovector or pseudoscalar: reflections flip its sign (cross product, triple product, determinant)"
    if draws and lab.result.parts.get("rotations", 1.0) <= lab.tolerance:
        return "reflections are treated as rotations: something chiral enters (cross product, determinant, winding)"
    return None


def signs(lab: Lab) -> str | None:
    """Is the output right up to signs?"""
    if not lab.motions & {"rotation", "reflection", "permutation"}:
        return None
    for draw in lab.picks:
        target = leaves.stacked(move_output(lab.symmetry, draw.g, lab.output))
        if relative_error(leaves.stacked(lab.moved(draw)).abs(), target.abs()) > max(lab.tolerance, 1e-7):
            return None
    return "the sign of an axis is not determined (eigenvectors, SVD, PCA): the output is right up to signs"


def translations(lab: Lab) -> str | None:
    """Do only translations break, and how?"""
    if lab.motions != {"translation"}:
        return None
    others = [e for p, e in lab.result.parts.items() if p not in ("translations", "whole group", "transformations")]
    if max(others, default=0.0) > lab.tolerance:
        return None
    for draw in lab.picks:
        if relative_error(leaves.stacked(lab.moved(draw)), leaves.stacked(lab.output)) > 1e-9:
            return "absolute positions enter: subtract the centroid, or use differences of positions only"
    return "the output does not move with a translation: add the centroid back after centring"


def scale(lab: Lab) -> str | None:
    """Under scalings: what sets an absolute scale?"""
    if "scale" not in lab.motions:
        return None
    if lab.heals(ablate.no_biases):
        return "biases set an absolute scale: the model is not homogeneous; leave them out"
    return "an absolute scale enters (a bias, an epsilon, a saturating nonlinearity): the model is not homogeneous"


def components(lab: Lab) -> str | None:
    """Is the break gone without a normalisation, or without a nonlinearity?"""
    if not lab.motions & {"rotation", "reflection"}:
        return None
    called = ablate.operations(lab.runner, lab.base, lab.noise_seed)
    norms = tuple(n for n in ablate.NORMALISATIONS if n in called)
    if norms and lab.heals(during=lambda: ablate.Without(norms)):
        return NORM_WORDS
    for name in ablate.ACTIVATIONS:
        if name in called and lab.heals(during=lambda name=name: ablate.Without((name,))):  # type: ignore[misc]
            return f"{ACT_WORDS} ({name})"
    return None


def frame(lab: Lab) -> str | None:
    """Does the break vanish when one of the model's own tensors is turned along?"""
    draws = [d for d in lab.picks if d.part != "translations"]
    matrices = [matrix_of(lab, d.g) for d in draws]
    if not draws or any(m is None for m in matrices):
        return None
    d = matrices[0].shape[-1]  # type: ignore[union-attr]
    candidates = [(k, n, tuple(t.shape)) for k, n, t in own_tensors(lab.runner) if d in t.shape and t.dim() <= 3]
    for kind, name, shape in candidates[:8]:
        for axis in [a for a in range(len(shape)) if shape[a] == d][::-1]:
            turned = [
                lab.error_with(_turning(name, axis, m), draws=[draw]) if m is not None else math.inf
                for draw, m in zip(draws, matrices, strict=True)
            ]
            if turned and max(turned) <= lab.tolerance:
                if kind == "parameter" and len(shape) >= 2 and max(shape) > d:
                    return f"coordinates are used as plain features ({name} mixes the components of a vector)"
                kept = axis_of_rotation(lab)
                about = f"; only rotations about {kept} hold" if kept else ""
                return f"a frame of reference leaks in through {kind} {name}: turned along, the break is gone{about}"
    return None


def _turning(name: str, axis: int, matrix: Tensor) -> Callable[[Runner], None]:
    """Turns the model's tensor of that name, after the plain output was taken."""

    def change(runner: Runner) -> None:
        tensor = next(t for _, n, t in own_tensors(runner) if n == name)
        turned = torch.tensordot(tensor.detach(), matrix.to(tensor.dtype), dims=([axis], [1])).movedim(-1, axis)
        after_the_first_call(runner, lambda: tensor.copy_(turned))

    return change


def after_the_first_call(runner: Runner, then: Callable[[], object]) -> None:
    """Do something between the model's call on `x` and its call on `g·x`."""
    plain = type(runner).__call__
    seen: list[int] = []

    class Changing(type(runner)):  # type: ignore[misc]
        def __call__(self, *args: Any, **options: Any) -> Any:
            if len(seen) == 1:
                with torch.no_grad():
                    then()
            seen.append(1)
            return plain(self, *args, **options)

    runner.__class__ = Changing


def axis(lab: Lab) -> str | None:
    """Do rotations about one axis hold (a reference direction leaks in), or quarter turns only?"""
    make = _rotation_maker(lab) if lab.motions & {"rotation", "reflection"} else None
    if make is None or not lab.afford(24):
        return None
    if all(lab.error_of(make(_turn(a, math.pi / 2))) <= lab.tolerance for a in torch.eye(3, dtype=torch.float64)):
        return "coordinates are treated one by one (maximum, sorting, absolute values, cells): only quarter turns hold"
    kept = axis_of_rotation(lab)
    return (
        f"a frame of reference leaks in: only rotations about {kept} hold (a fixed axis or gravity)" if kept else None
    )


def axis_of_rotation(lab: Lab) -> str | None:
    """The one axis about which all rotations hold, in words."""
    make = _rotation_maker(lab) if lab.motions & {"rotation", "reflection"} else None
    if make is None or not lab.afford(16):
        return None
    vector = _kept_axis(lab, make)
    if vector is None:
        return None
    second = lab.jittered(0.3)
    for angle in (1.1, 2.3):
        for args in (None, second):
            if lab.error_of(make(_turn(vector, angle)), args=args) > lab.tolerance:
                return None
    k = int(vector.abs().argmax())
    if float(vector[k].abs()) > 1 - 1e-6:
        return f"the {'xyz'[k]} axis"
    return "the axis (" + ", ".join(f"{v:.2f}" for v in vector.tolist()) + ")"


def _turn(axis: Tensor, angle: float) -> Tensor:
    """The rotation by an angle about a unit vector."""
    x, y, z = axis.tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(angle * cross)


def _rotation_maker(lab: Lab) -> Callable[[Tensor], Any] | None:
    """How to make a group element from a 3x3 rotation, where the group holds such rotations."""
    template = lab.main.draws[0].g
    if lab.symmetry.is_user_written:
        is_matrix = isinstance(template, Tensor) and tuple(template.shape) == (3, 3) and template.is_floating_point()
        return (lambda r: r.to(template.dtype)) if is_matrix else None
    still = lab.symmetry.group.identity((), dtype=torch.float64)

    def put(where: Any, rotation: Tensor) -> tuple[Any, bool]:
        if isinstance(where, tuple):
            parts, done = [], False
            for part in where:
                new, did = (part, False) if done else put(part, rotation)
                parts.append(new)
                done = done or did
            return tuple(parts), done
        if isinstance(where, Tensor) and tuple(where.shape) in ((3, 3), (4, 4)) and where.is_floating_point():
            clone = where.clone()
            clone[:3, :3] = rotation
            return clone, True
        return where, False

    group = lab.symmetry.group
    sample, fits = put(still, _turn(torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64), 1.0))
    if not fits or not bool(torch.as_tensor(group.contains(sample)).all()):
        return None
    return lambda rotation: put(still, rotation)[0]


def _kept_axis(lab: Lab, make: Callable[[Tensor], Any]) -> Tensor | None:
    """The direction about which infinitesimal rotations hold, where there is exactly one."""
    step = 1e-5 if lab.runner.dtype == torch.float64 else 1e-2
    rows = []
    for direction in torch.eye(3, dtype=torch.float64):
        sides = []
        for sign in (step, -step):
            g = make(_turn(direction, sign))
            moved = lab.symmetry.act_input(g, leaves.cast(lab.base, torch.float64))
            out = leaves.stacked(lab.runner(leaves.cast(moved, lab.runner.dtype), seed=lab.noise_seed))
            sides.append(out - leaves.stacked(move_output(lab.symmetry, g, lab.output)))
        rows.append((sides[0] - sides[1]) / (2 * step))
    _, values, vectors = torch.linalg.svd(torch.stack(rows).T, full_matrices=False)
    small = 1e-6 if lab.runner.dtype == torch.float64 else 1e-2
    if values.numel() < 3 or float(values[1]) <= 1e3 * small * float(values[0]) or values[2] > small * values[0]:
        return _coordinate_axis(lab, make)
    vector = vectors[2]
    return vector * torch.sign(vector[vector.abs().argmax()])


def _coordinate_axis(lab: Lab, make: Callable[[Tensor], Any]) -> Tensor | None:
    """One of the three coordinate axes, for outputs without useful derivatives."""
    eye = torch.eye(3, dtype=torch.float64)
    held = [a for a in eye if lab.error_of(make(_turn(a, 1.1))) <= lab.tolerance]
    return held[0] if len(held) == 1 else None


def layer(lab: Lab) -> str | None:
    """What the kind of the first breaking layer says."""
    kind = (lab.result.first_breaking or "").partition("(")[2].rstrip(")")
    if not kind or "outside" in kind:
        return None
    over = "components of a vector" in kind
    if over and any(word in kind for word in ("Norm",)):
        return NORM_WORDS
    if over and kind.split(" ")[0] in _ACTIVATION_KINDS:
        return ACT_WORDS
    if over and lab.motions & {"rotation", "reflection"}:
        return "a layer mixes the components of a vector (coordinates used as features); mix channels instead"
    return None


_ACTIVATION_KINDS = (
    *("ReLU", "SiLU", "GELU", "Tanh", "Sigmoid", "ELU", "Softplus", "Mish"),
    *("Hardtanh", "Softmax", "LeakyReLU", "PReLU", "SELU", "CELU", "ReLU6", "Hardswish"),
)


def anything(lab: Lab) -> str | None:
    parts = lab.broken_parts
    if lab.motions & {"rotation", "reflection"}:
        return "absolute orientation enters (coordinates used as plain features, or a fixed frame in a buffer)"
    if "translation" in lab.motions or "translations" in parts:
        return "absolute positions enter: subtract the centroid, or use differences of positions only"
    return None


POINTS = (scale, translations, wrong_side, pseudo, signs, components, frame, layer, axis, anything)
