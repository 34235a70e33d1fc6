"""Causes of a break on grids: padding, strides, interpolation, filters with an orientation, absolute position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves, perturb
from erlangen.testing.causes import ablate
from erlangen.testing.causes.lab import Lab, own_tensors
from erlangen.testing.causes.points import wrong_side
from erlangen.testing.elements import Draw, grid_elements
from erlangen.testing.measure import move_input, move_output
from erlangen.testing.runner import Runner

STRIDES = "strides and pooling sample a fixed grid: shifts that are no multiple of the stride alias"
FILTERS = "plain filters have an orientation of their own; share them over the group (group convolution)"
PIXELS = "the layout of the pixels enters (absolute position, flattening): pool over the plane first"


def shifted_back(lab: Lab) -> str | None:
    """Does the output shift the other way?"""
    if lab.motions <= {"shift"} and wrong_side(lab):
        return "the wrong side: the output shifts the other way (the inverse shift)"
    return None


def padding(lab: Lab) -> str | None:
    """Under shifts: is the break gone once paddings wrap around, or away from the border?"""
    if "shift" not in lab.motions:
        return None
    names: list[str] = []

    def wrap(twin: Runner) -> bool:
        found = ablate.circular_padding(twin)
        names.extend([found] if found else [])
        return found is not None

    error = lab.error_with(wrap)
    if error <= lab.tolerance:
        where = names[0] if names else ""
        return f"padding ({where}) tells the layers where the border is; use circular padding"
    if names and _repeats(lab, wrap) > 1:
        return f"padding ({names[0]}) tells the layers where the border is; and {STRIDES}"
    if _border(lab) or _is_a_filter(lab):
        return "padding: the error sits at the border only; use circular padding or compare the interior"
    return None


def _border(lab: Lab) -> bool:
    """Is the output right in a good part of the picture?"""
    out = lab.output
    if not isinstance(out, Tensor) or out.dim() < 1 or out.shape[-1] < 8 or out.is_complex():
        return False
    shares = []
    for draw in lab.picks:
        target, got = move_output(lab.symmetry, draw.g, out), lab.moved(draw)
        if target.shape != got.shape:
            return False
        wrong = (got.double() - target.double()).abs() > 1e-9 * float(target.double().abs().max())
        shares.append(float(wrong.double().mean()))
    return bool(shares) and max(shares) < 0.75 and min(shares) > 0


def strides(lab: Lab) -> str | None:
    """Under shifts: do shifts by a multiple hold?"""
    if "shift" in lab.motions and _repeats(lab, None) > 1:
        return STRIDES
    return None


def _repeats(lab: Lab, change: Any) -> int:
    """The smallest m among 2, 4, 8, 16 for which every broken element applied m times holds (and moves); else 0."""
    with perturb.changed_runner(lab.runner) as twin:
        if change is not None:
            change(twin)
        plain = twin(lab.base, seed=lab.noise_seed)
        return next((m for m in (2, 4, 8, 16) if _holds_repeated(lab, twin, plain, m)), 0)


def _holds_repeated(lab: Lab, twin: Runner, plain: Any, times: int) -> bool:
    errors, moves = [], False
    for draw in lab.picks:
        moved, target = lab.base, plain
        for _ in range(times):
            moved = move_input(lab.symmetry, draw.g, moved, lab.runner.dtype)
            target = move_output(lab.symmetry, draw.g, target)
        moves = moves or not leaves.same(moved, lab.base)
        left, right = leaves.stacked(twin(moved, seed=lab.noise_seed)), leaves.stacked(target)
        errors.append(float((left - right).norm() / right.norm().clamp_min(1e-300)))
    return moves and max(errors) <= lab.tolerance


def filters(lab: Lab) -> str | None:
    """Under turns: is the break gone once every filter is averaged over the turns?"""
    if "turn" not in lab.motions:
        return None
    exact = _exact_draws(lab)
    if exact and lab.heals(ablate.symmetric_filters, draws=exact):
        return FILTERS
    if exact and not lab.runner.modules and _is_a_filter(lab):
        return FILTERS
    kind = (lab.result.first_breaking or "").partition("(")[2]
    strided = [m for root in lab.runner.modules for m in root.modules() if _stride(m) > 1]
    if not any(_has_filter(m) for root in lab.runner.modules for m in root.modules()):
        return _no_filter(lab)
    if strided and exact and lab.error_with(ablate.symmetric_filters, draws=exact) > lab.tolerance:
        symmetric = not _changes_filters(lab)
        if symmetric:
            return (
                "a stride samples a grid that is not centred: a turn moves the sampling grid; use odd sizes or pooling"
            )
    if kind.startswith("Conv"):
        return FILTERS
    return None


def _exact_draws(lab: Lab) -> list[Draw]:
    """Broken elements for which the action does not resample; quarter turns where none of those was drawn."""
    is_exact = getattr(lab.symmetry.input_action, "is_exact", None)
    if is_exact is None:
        return lab.picks
    drawn = [d for d in lab.main.draws if d.distance > 0 and bool(is_exact(d.g))]
    made = [Draw(g, "rotations", 1.0, "") for g in grid_elements(lab.symmetry.group) if bool(is_exact(g))]
    return (drawn or made)[:3]


def _has_filter(module: Any) -> bool:
    weight = getattr(module, "_parameters", {}).get("weight")
    return weight is not None and weight.dim() == 4 and weight.shape[-1] > 1


def _stride(module: Any) -> int:
    stride = getattr(module, "stride", 1)
    values = stride if isinstance(stride, (tuple, list)) else (stride,)
    return max((v for v in values if isinstance(v, int)), default=1)


def _changes_filters(lab: Lab) -> bool:
    """Whether averaging the filters changes what the model computes."""
    with perturb.changed_runner(lab.runner) as twin:
        ablate.symmetric_filters(twin)
        after = leaves.stacked(twin(lab.base, seed=lab.noise_seed))
    return float((after - leaves.stacked(lab.output)).norm()) > 1e-6 * lab.size


def _is_a_filter(lab: Lab) -> bool:
    """Whether the model commutes with shifts by one away from the border: then it is a filter."""
    out, x = lab.output, next((t for t in leaves.all_leaves(lab.base) if leaves.is_plain(t)), None)
    if x is None or not isinstance(out, Tensor):
        return False
    for axes in ((-2, -1), (-1,)):
        sizes = x.shape[-len(axes) :]
        if x.dim() < len(axes) or out.shape[-len(axes) :] != sizes or min(sizes) < 8:
            continue
        moved = leaves.map_leaves(lambda t, a=axes: torch.roll(t, [1] * len(a), a), lab.base)  # type: ignore[misc]
        got = lab.runner(moved, seed=lab.noise_seed)
        want = torch.roll(out, [1] * len(axes), axes)
        inner: Any = (..., *(slice(n // 3, n - n // 3) for n in sizes))
        if float((got[inner] - want[inner]).norm()) <= 1e-8 * float(want[inner].norm()) > 0:
            return True
    return False


def _no_filter(lab: Lab) -> str | None:
    if getattr(lab.symmetry.input_action, "exact", True) is False and not _exact_draws(lab):
        return "interpolation: the action resamples, so elements off the grid cannot be exact"
    return None


def position(lab: Lab) -> str | None:
    """Does the break vanish when a tensor of the model is moved along with the grid?"""
    kind = (lab.result.first_breaking or "").partition("(")[2]
    if kind.startswith("Linear"):
        return f"flattening: {PIXELS}"
    x = next((t for t in leaves.all_leaves(lab.base) if leaves.is_plain(t)), None)
    if x is None or len(lab.session.args) != 1:
        return None
    tail = 2 if x.dim() >= 3 else 1
    for what, name, tensor in own_tensors(lab.runner)[:40]:
        if tensor.dim() < tail or tensor.shape[-tail:] != x.shape[-tail:]:
            continue
        errors = []
        for draw in lab.picks:
            errors.append(lab.error_with(_moving(lab, name, draw.g), draws=[draw]))
        if errors and max(errors) <= lab.tolerance:
            return f"absolute position enters through {what} {name}: moved along with the grid, the break is gone"
    return None


def _moving(lab: Lab, name: str, g: Any) -> Any:
    from erlangen.testing.causes.points import after_the_first_call

    def change(runner: Runner) -> None:
        tensor = next(t for _, n, t in own_tensors(runner) if n == name)
        given = next(t for t in leaves.all_leaves(lab.base) if leaves.is_plain(t))
        shaped = tensor.detach().reshape(*[1] * max(given.dim() - tensor.dim(), 0), *tensor.shape)
        moved = lab.symmetry.act_input(g, (shaped.double(),))[0].reshape(tensor.shape)
        after_the_first_call(runner, lambda: tensor.copy_(moved))

    return change


def layout(lab: Lab) -> str | None:
    if getattr(lab.symmetry.input_action, "exact", True) is False and lab.result.verdict == "approximate":
        return "interpolation: the action resamples, so elements off the grid cannot be exact"
    kind = (lab.result.first_breaking or "").partition("(")[2]
    if "some causes" in lab.budget.skipped:
        return _by_layers(lab)
    if "shift" in lab.motions and (kind.startswith("Conv") or "Pool" in kind):
        strided = any(_stride(m) > 1 for root in lab.runner.modules for m in root.modules())
        return STRIDES if strided else f"{PIXELS}; or the border (padding, a valid convolution that drops it)"
    return PIXELS


def _by_layers(lab: Lab) -> str:
    """What the kinds of layers say where there was no time for an experiment."""
    layers = [m for root in lab.runner.modules for m in root.modules()]
    if "turn" in lab.motions and any(_has_filter(m) for m in layers):
        return FILTERS
    if "shift" in lab.motions and any(_stride(m) > 1 for m in layers):
        return STRIDES
    if "shift" in lab.motions and any(ablate.pads(m) for m in layers):
        return "padding tells the layers where the border is; use circular padding"
    return PIXELS


GRID = (shifted_back, position, padding, strides, filters, layout)
