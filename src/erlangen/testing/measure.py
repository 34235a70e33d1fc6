"""The error of a symmetry: worst `‖f(g·x) − g·f(x)‖ / ‖g·f(x)‖` over drawn elements, in one precision."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import leaves
from erlangen.testing.batched import AGREES, has_batch_axis, outputs_in_one_call
from erlangen.testing.elements import Draw
from erlangen.testing.runner import CheckError, Runner, first_line, relative_error


@dataclass
class Measured:
    """Errors per element, the plain output, and what went wrong on transformed inputs."""

    draws: list[Draw]
    errors: list[float]
    output: Any
    scale: float
    failures: list[str] = field(default_factory=list)
    moved_output: Any = None  # f(g·x) of the worst element

    @property
    def worst(self) -> float:
        return max(self.errors, default=0.0)

    @property
    def worst_draw(self) -> Draw | None:
        if not self.draws:
            return None
        return self.draws[max(range(len(self.errors)), key=lambda i: self.errors[i])]

    def parts(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for draw, error in zip(self.draws, self.errors, strict=True):
            found[draw.part] = max(found.get(draw.part, 0.0), error)
        return found

    def curve(self) -> list[tuple[float, float]]:
        pairs = zip(self.draws, self.errors, strict=True)
        return sorted((d.distance, e) for d, e in pairs if d.distance == d.distance)


def move_input(symmetry: Symmetry, g: Any, args: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    """`g·x`, computed in float64 and rounded to `dtype`, so that only the model's own rounding is measured."""
    try:
        moved = symmetry.act_input(g, leaves.cast(args, torch.float64))
        if len(moved) == 1 and moved[0] is None:
            raise CheckError("act_input: returned None; return the moved arguments")
        return leaves.cast(moved, dtype)  # type: ignore[no-any-return]
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(f"input: the action of {symmetry.group} on the inputs failed: {first_line(error)}") from error


def move_output(symmetry: Symmetry, g: Any, out: Any) -> Any:
    """`g·f(x)` in float64."""
    try:
        return leaves.to_tensors(symmetry.act_output(g, leaves.cast(out, torch.float64)))
    except CheckError:
        raise
    except Exception as error:
        shape = f" of shape {tuple(out.shape)}" if isinstance(out, Tensor) else ""
        raise CheckError(
            f"output: the action of {symmetry.group} on the output{shape} failed: {first_line(error)}"
        ) from error


def compare(symmetry: Symmetry, g: Any, moved_out: Any, out: Any, *, floor: float = 0.0) -> float:
    """The relative error between `f(g·x)` and `g·f(x)`, over the valid pixels where the action has a mask."""
    target = move_output(symmetry, g, out)
    got = moved_out
    mask = _mask(symmetry, g, out)
    if mask is not None and isinstance(target, Tensor) and isinstance(got, Tensor) and got.shape == target.shape:
        with contextlib.suppress(RuntimeError):
            weight = torch.broadcast_to(mask, target.shape)
            got, target = got[weight], target[weight]
    return relative_error(leaves.stacked(got), leaves.stacked(target), floor=floor)


def _mask(symmetry: Symmetry, g: Any, out: Any) -> Tensor | None:
    if symmetry.is_user_written:
        return None
    with contextlib.suppress(Exception):
        mask = symmetry.output_action.valid_mask(g, out)
        return mask if isinstance(mask, Tensor) and bool(mask.any()) else None
    return None


def measure(
    runner: Runner,
    symmetry: Symmetry,
    args: tuple[Any, ...],
    draws: list[Draw],
    *,
    seed: int | None = None,
    floor: float = 0.0,
    seconds: float = math.inf,
    out: Any = None,
) -> Measured:
    """Call the model on `x` and on every `g·x`; `seed` holds its random numbers fixed (common random numbers).

    `out` is `f(x)` where it is known already. After `seconds` no further element is tried, once every part of the
    group has been; `draws` of the result are the ones that were.
    """
    start = time.perf_counter()
    base = leaves.cast(args, runner.dtype)
    out = runner(base, seed=seed) if out is None else out
    scale = float(leaves.stacked(out).norm())
    keys = [_key(draw.g, i) for i, draw in enumerate(draws)]
    distinct: dict[Any, Draw] = {}
    for key, draw in zip(keys, draws, strict=True):  # small groups are drawn from more often than they have elements
        distinct.setdefault(key, draw)
    moved = {key: move_input(symmetry, draw.g, base, runner.dtype) for key, draw in distinct.items()}
    failures: list[str] = []
    outputs: dict[Any, Any] = {}

    def alone(key: Any) -> float:
        try:
            moved_out = outputs[key] = runner(moved[key], seed=seed)
        except CheckError:
            raise
        except Exception as error:
            failures.append(first_line(error))
            return math.inf
        return compare(symmetry, distinct[key].g, moved_out, out, floor=floor)

    has_batch = has_batch_axis(symmetry.input_type, base)
    together = outputs_in_one_call(runner, base, out, list(moved.values()), seed=seed, has_batch=has_batch)
    found: dict[Any, float] = {}
    if together is not None:
        found = {
            key: compare(symmetry, distinct[key].g, moved_out, out, floor=floor)
            for key, moved_out in zip(distinct, together, strict=True)
        }
        outputs = dict(zip(distinct, together, strict=True))
        worst: dict[str, Any] = {}  # of every part: what the batch says has to hold for a call alone
        known = runner.trusted or not symmetry.is_user_written
        for key in sorted(found, key=lambda key: found[key]):
            worst["" if known else distinct[key].part] = key
        if runner.trusted and max(found.values()) <= AGREES[runner.dtype]:
            worst = {}
        runner.trusted = True
        if any(abs(alone(k) - found[k]) > 0.01 * found[k] + AGREES[runner.dtype] for k in worst.values()):
            found = {}
            runner.refused = {"batch", "vmap"}
    if not found:
        parts: set[str] = set()
        everything = {draw.part for draw in draws}
        for key, draw in sorted(distinct.items(), key=_turn(list(distinct.values()))):
            if parts == everything and time.perf_counter() - start > seconds:
                break
            found[key] = alone(key)
            parts.add(draw.part)
    tried = [(draw, found[key]) for draw, key in zip(draws, keys, strict=True) if key in found]
    measured = Measured([d for d, _ in tried], [e for _, e in tried], out, scale, failures)
    if found:
        measured.moved_output = outputs.get(max(found, key=lambda key: found[key]))
    return measured


def _turn(draws: list[Draw]) -> Any:
    """An order in which every part of the group has its first element tried before any has its second."""
    seen: dict[str, int] = {}
    place = {}
    for draw in draws:
        place[id(draw)] = seen[draw.part] = seen.get(draw.part, -1) + 1
    return lambda item: place[id(item[1])]


def _key(g: Any, position: int) -> Any:
    """Equal for equal elements made of tensors; otherwise the position in the list of draws."""
    if isinstance(g, Tensor):
        return (tuple(g.shape), tuple(g.reshape(-1).tolist()))
    return tuple(_key(part, position) for part in g) if isinstance(g, tuple) else position


def worst_of_parts(found: Measured, count: int = 2) -> list[Draw]:
    """The `count` elements of every part with the largest errors: what a second precision needs to be asked."""
    order = sorted(range(len(found.draws)), key=lambda i: -found.errors[i])
    kept: list[Draw] = []
    for draw in (found.draws[i] for i in order):
        if sum(k.part == draw.part for k in kept) < count:
            kept.append(draw)
    return kept


def noise_floor(runner: Runner, args: tuple[Any, ...], *, seed: int = 0, repeats: int = 4) -> float:
    """How far the output moves, relatively, when every input number moves by about one rounding step."""
    base = leaves.cast(args, runner.dtype)
    out = leaves.stacked(runner(base, seed=seed))  # the noise below must meet the same random numbers
    scale = float(out.norm())
    if scale == 0:
        return 0.0
    generator = torch.Generator().manual_seed(seed)
    epsilon = runner.epsilon
    worst = 0.0

    def jitter(leaf: Any) -> Any:
        if not leaves.is_plain(leaf):
            return leaf
        step = torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf.dtype)
        return leaf + leaf.abs().clamp_min(1e-30) * epsilon * step

    for _ in range(repeats):
        try:
            moved = leaves.stacked(runner(leaves.map_leaves(jitter, base), seed=seed))
        except Exception:  # a model that refuses inputs beside the given ones: its floor is not known
            break
        if moved.shape == out.shape and bool(torch.isfinite(moved).all()):
            worst = max(worst, float((moved - out).norm()) / scale)
    return worst
