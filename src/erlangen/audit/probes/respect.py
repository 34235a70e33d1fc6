"""What each layer respects, without naming a group: the usual moves of an image, a cloud of points or a vector."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant, ratio_interval, relative_error
from erlangen.audit.probes.shift_consistency import shift
from erlangen.audit.words import percent

ROWS = 192
TWIN_ROWS = 96
TURN = math.pi / 12
LARGER = 1.15


@dataclass(frozen=True)
class Move:
    """A move of a batch of inputs, and its inverse where moving there and back does not give the input bit for bit."""

    label: str
    words: str
    there: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor] | None = None


def turned(x: Tensor, angle: float, scale: float = 1.0) -> Tensor:
    """Images `[B, C, H, W]` turned counter-clockwise and enlarged, by bilinear interpolation; zero comes in."""
    c, s = math.cos(angle) / scale, math.sin(angle) / scale
    h, w = x.shape[-2:]
    theta = x.new_tensor([[c, -s * h / w, 0.0], [s * w / h, c, 0.0]]).expand(len(x), 2, 3)
    grid = torch.nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
    return torch.nn.functional.grid_sample(x, grid, align_corners=False)


def usual_moves(x: Tensor, *, seed: int) -> list[Move]:
    """The moves for inputs shaped like `x`: images `[B, C, H, W]`, points `[B, N, 3]`, vectors `[B, D]`."""
    if x.dim() == 4 and min(x.shape[-2:]) >= 3:
        return _of_images(x)
    if x.dim() == 3 and x.shape[2] == 3:
        return _of_points(x, seed)
    if x.dim() == 2:
        return [
            Move("sign", "a change of sign", lambda z: -z),
            Move("×1.15", "an enlargement by 15 %", lambda z: z * LARGER),
            Move("reverse", "reversing the order of the features", lambda z: z.flip(1)),
        ]
    raise NotApplicable(f"inputs of shape {tuple(x.shape[1:])} are no images, points or vectors")


def _of_images(x: Tensor) -> list[Move]:
    moves = [
        Move("shift 1", "a shift by one pixel", lambda z: shift(z, 0, 1)),
        Move("shift 2", "a shift by two pixels", lambda z: shift(z, 0, 2)),
        Move("mirror", "a mirror image", lambda z: z.flip(-1)),
        Move("turn 15°", "a turn by 15°", lambda z: turned(z, TURN), lambda z: turned(z, -TURN)),
    ]
    if x.shape[-1] == x.shape[-2]:
        moves.append(Move("turn 90°", "a quarter turn", lambda z: z.rot90(1, (-2, -1))))
    moves += [
        Move("turn 180°", "a half turn", lambda z: z.rot90(2, (-2, -1))),
        Move("×1.15", "an enlargement by 15 %", lambda z: turned(z, 0.0, LARGER), lambda z: turned(z, 0.0, 1 / LARGER)),
        Move("dimmer", "a fifth less brightness", lambda z: z * 0.8),
        Move("negative", "its negative", lambda z: z.amax() + z.amin() - z),
    ]
    if x.shape[1] == 3:
        moves.append(Move("colours", "colours that change places", lambda z: z.roll(1, 1)))
    return moves


def _of_points(x: Tensor, seed: int) -> list[Move]:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(x.shape[1], generator=generator)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    rotation = (rotation * torch.linalg.det(rotation).sign()).to(x)
    size = x.std()
    return [
        Move("order", "another order of the points", lambda z: z[:, order]),
        Move("shift", "a shift by their spread", lambda z: z + size),
        Move("rotation", "a rotation", lambda z: z @ rotation.T),
        Move("mirror", "a mirror image", lambda z: z * z.new_tensor([-1.0, 1.0, 1.0])),
        Move("×1.15", "an enlargement by 15 %", lambda z: z * LARGER),
    ]


@register("respect", summary="which of the usual moves of an input each layer respects, beside an untrained twin")
class Respect(Probe):
    """`sqrt(E ||f(gx) - f(x)||^2 / E ||f(x) - f(x')||^2)` of every layer for moves g that need no group to be named.

    Activations are averaged over positions, so that a layer that moves along with its input counts as respecting the
    move: 0 is respected, 1 as far as an unrelated input. The floor is the same number for moving there and back.
    """

    name = "respect"

    def needs(self, ctx: Context) -> Needs:
        rows = min(ctx.rows, ROWS)
        return Needs(4 * 3 * 10 * rows * sum(ctx.dimensions.values()), cheaper="layers='...' with fewer layers")

    def finish(self, ctx: Context) -> list[Finding]:
        x = ctx.collected.inputs[:ROWS]
        moves = usual_moves(x, seed=ctx.seed)
        upright = {name: rows[ctx.collected.input_rows[:ROWS]] for name, rows in ctx.collected.rows.items()}
        if not upright:
            raise NotApplicable("there is no model to move inputs for")
        moved = [ctx.run(m.there(x)) for m in moves]
        few = x[:TWIN_ROWS]
        back = [None if m.back is None else ctx.run(m.back(m.there(few))) for m in moves]
        twin = ctx.run(few, twin=True) if ctx.twin is not None else None
        twin_moved = [ctx.run(m.there(few), twin=True) for m in moves] if ctx.twin is not None else []
        rows: list[tuple[str, list[float], list[float], list[float]]] = []
        for name, held in upright.items():
            if is_constant(held):
                continue
            errors = [relative_error(_change(m[name], held), held) for m in moved]
            part = held[:TWIN_ROWS]
            floors = [0.0 if b is None else relative_error(_change(b[name], part), part) for b in back]
            other: list[float] = []
            if twin is not None and name in twin and not is_constant(twin[name]):
                other = [relative_error(_change(m[name], twin[name]), twin[name]) for m in twin_moved]
            rows.append((name, errors, other, floors))
        if not rows:
            raise NotApplicable("no layer depends on the input")
        labels = [m.label for m in moves]
        title = "What does it respect? Change under the usual moves: 0 not moved, 1 as far as an unrelated input"
        picture = FigureSpec(
            "matrix",
            title,
            "move",
            "layer",
            rows=[r[0] for r in rows],
            columns=labels,
            values=[r[1] for r in rows],
            vmin=0.0,
            vmax=1.0,
        )
        return [
            self._layer(
                ctx, moves, row, upright[row[0]], [m[row[0]] for m in moved], picture if row is rows[-1] else None
            )
            for row in rows
        ]

    def _layer(
        self,
        ctx: Context,
        moves: list[Move],
        row: tuple[str, list[float], list[float], list[float]],
        upright: Tensor,
        moved: list[Tensor],
        picture: FigureSpec | None,
    ) -> Finding:
        layer, errors, other, floors = row
        mean = torch.stack([_change(m, upright) for m in moved]).mean(0)
        low, high = ratio_interval(mean, upright, level=ctx.level, generator=ctx.generator())
        best, worst = errors.index(min(errors)), errors.index(max(errors))
        untrained = math.sqrt(sum(v * v for v in other) / len(other)) if other else math.nan
        return Finding(
            self.name,
            "respect.change",
            relative_error(mean, upright),
            layer=layer,
            ci=Interval(low, high, ctx.level, "bootstrap-bca", len(upright)),
            reference=Reference(untrained, kind=ctx.twin_kind, source=ctx.twin_name) if other else None,
            direction="lower",
            meaning=f"Of {len(moves)} moves it is moved least by {moves[best].words} ({percent(errors[best])} of the "
            f"distance between two unrelated inputs), most by {moves[worst].words} ({percent(errors[worst])}).",
            rule="info: what should be respected depends on the task; name a group to have it judged",
            assumptions=("activations are averaged over positions, so that moving along counts as respecting",),
            figure=picture,
            details={
                "elements": [m.label for m in moves],
                "errors": errors,
                "twin": other,
                "floors": floors,
                "least": moves[best].words,
                "most": moves[worst].words,
            },
        )


def _change(moved: Tensor, upright: Tensor) -> Tensor:
    return (moved.double() - upright.double()).square().sum(1)
