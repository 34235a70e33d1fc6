"""The frame that a symmetry asks for, found in the arguments of a model."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.elements import first_leaf, map_elem
from erlangen.groups.finite import Symmetric
from erlangen.groups.frames import LaplacianFrame, MDSFrame, PCAFrame, ReynoldsFrame, SortFrame
from erlangen.groups.frames.base import Frame, FrameBatch, OnDegenerate
from erlangen.groups.frames.minimal import generic_key
from erlangen.groups.product import Product
from erlangen.groups.symmetry import Symmetry
from erlangen.nn import frame_source as source

How = Literal["frame", "average", "canonical"]
Family = Literal["finite", "sort", "pose"]


@dataclass(frozen=True)
class Options:
    """What `symmetrize` was asked for."""

    how: How
    frame: Any
    on_degenerate: OnDegenerate
    differentiable: bool
    generator: torch.Generator | None


@dataclass(frozen=True)
class Found:
    """A frame and whether it is one list `[F, *E]` for all samples rather than one a sample `[*B, F, *E]`."""

    frame: FrameBatch
    shared: bool

    @property
    def elements(self) -> Any:
        """The elements with the axis of the frame in front, `[F, *E]` or `[F, *B, *E]`."""
        axis = self.frame.weights.ndim - 1
        return map_elem(lambda e: e.movedim(axis, 0), self.frame.elements)

    @property
    def weights(self) -> Tensor:
        return self.frame.weights.movedim(-1, 0)


def family(group: Any) -> Family | None:
    """Which kind of frame a group has."""
    if isinstance(group, Symmetric):
        return "sort"
    if type(group).__name__ in ("SO", "O", "SE", "E") and getattr(group, "point_dim", None) is not None:
        return "pose"
    return "finite" if isinstance(group, FiniteGroup) else None


def find_frame(symmetry: Symmetry, args: tuple[Any, ...], options: Options) -> Found:
    """The elements that a model with these arguments is averaged over."""
    found = source.leaves(symmetry, args)
    group = symmetry.group
    if options.frame is not None:
        return Found(_read(options.frame, found, None), shared=False)
    if isinstance(group, Product) and not (options.how == "average" and isinstance(group, FiniteGroup)):
        return _product(symmetry, args, options)
    if family(group) == "pose":
        return Found(_pose(group, found, None, options), shared=False)
    if family(group) == "sort" and options.how != "average":
        return Found(_sorting(symmetry, found, None, options), shared=False)
    if options.how == "canonical":
        return _canonical(group, symmetry, args)
    return Found(_all(group, found), shared=True)


def _all(group: Group, found: list[source.Leaf]) -> FrameBatch:
    like = next((leaf.value for leaf in found if isinstance(leaf.value, Tensor)), torch.zeros(()))
    frame = ReynoldsFrame(group)
    elements = map_elem(lambda e: e.to(like.device), frame.elements())
    order = int(frame.size or 0)
    return FrameBatch(elements, torch.full((order,), 1 / order, dtype=torch.float64, device=like.device))


def _read(frame: Frame, found: list[source.Leaf], factor: int | None) -> FrameBatch:
    """The user's frame, read from the points, else the adjacency, else the rows, else the first argument."""
    near = source.adjacency(found, factor)
    if near is not None:
        return frame(*near)
    try:
        x, mask = source.cloud(found, factor)
    except ValueError:
        side_by_side, mask, _ = source.rows(found, factor)
        x = found[0].value if side_by_side is None else side_by_side
    return frame(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x, mask)


def _pose(group: Group, found: list[source.Leaf], factor: int | None, options: Options) -> FrameBatch:
    x, mask = source.cloud(found, factor)
    if not x.is_floating_point():
        raise TypeError(f"inputs: a frame of space is read from floating-point points, got {x.dtype}")
    affine, reflections = group.name[0:2] in ("SE", "E("), group.name[0] in "OE"
    if options.how == "canonical":
        frame: Frame = MDSFrame(
            scale=False,
            chirality="ignore" if reflections else "keep",
            center=affine,
            on_degenerate=options.on_degenerate,
            differentiable=options.differentiable,
            generator=options.generator,
        )
    else:
        frame = PCAFrame(
            group,
            on_degenerate=options.on_degenerate,
            differentiable=options.differentiable,
            generator=options.generator,
        )
    return frame(x.double(), mask)


def _sorting(symmetry: Symmetry, found: list[source.Leaf], factor: int | None, options: Options) -> FrameBatch:
    ties: Literal["raise", "perturb"] = "perturb" if options.on_degenerate == "perturb" else "raise"
    near = source.adjacency(found, factor)
    rows, mask, complete = source.rows(found, factor)
    if near is not None:
        inside = rows if rows is not None and rows.shape[:-1] == near[0].shape[:-1] else None
        return LaplacianFrame(on_degenerate=ties, generator=options.generator)(*near, rows=inside)
    if rows is None:
        raise ValueError("input: a frame of S_n is read from rows, points, scalars or an adjacency, and there is none")
    output = symmetry.output_action
    still = output.is_trivial or (
        factor is not None
        and hasattr(output, "actions")
        and not isinstance(output.actions, tuple)
        and factor not in output.actions
    )
    frame = SortFrame(
        ties="one" if complete and still else "all",
        on_degenerate=ties,
        tolerance=1e-9 if factor is not None else 0.0,
        generator=options.generator,
    )
    return frame(rows, mask)


def _canonical(group: Any, symmetry: Symmetry, args: tuple[Any, ...]) -> Found:
    """The element for which a fixed generic function of the moved input is largest; a sample at a time in a batch."""
    elements = group.elements()
    tensors = [t for t in torch.utils._pytree.tree_leaves(args) if isinstance(t, Tensor)]
    batch = source.shared_batch(source.leaves(symmetry, args), tensors)
    order = int(group.order)
    if batch is None:
        keys = []
        for i in range(order):
            moved = symmetry.act_input(group.inverse(map_elem(lambda e, i=i: e[i], elements)), args)  # type: ignore[misc]
            keys.append(_key([t for t in torch.utils._pytree.tree_leaves(moved) if isinstance(t, Tensor)], 0))
        best = torch.stack(keys).argmax()
        picked = map_elem(lambda e: e[best][None], elements)
        return Found(FrameBatch(picked, torch.ones(1, dtype=torch.float64, device=best.device)), shared=True)
    lifted = torch.utils._pytree.tree_map(lambda t: t.detach()[None] if isinstance(t, Tensor) and t.ndim else t, args)
    moved = symmetry.act_input(group.inverse(elements), lifted)
    best = _key([t for t in torch.utils._pytree.tree_leaves(moved) if isinstance(t, Tensor)], 2).argmax(0)
    picked = map_elem(lambda e: e.to(best.device)[best][:, None], elements)
    return Found(FrameBatch(picked, torch.ones(batch, 1, dtype=torch.float64, device=best.device)), shared=False)


def _key(parts: list[Tensor], lead: int) -> Tensor:
    """The generic key of all parts together: one number (lead 0) or `[F, B]` (lead 2)."""
    if lead == 0:
        return generic_key(torch.cat([t.detach().double().reshape(-1) for t in parts])[None, None])[0, 0]
    shape = torch.broadcast_shapes(*(t.shape[:2] for t in parts if t.ndim > 1))
    flat = [t.double().reshape(*t.shape[:2], -1).expand(*shape, -1) for t in parts if t.ndim > 1]
    return generic_key(torch.cat(flat, -1))


def _product(symmetry: Symmetry, args: tuple[Any, ...], options: Options) -> Found:
    """One factor after the other, poses first and orders of rows last, each read in the pose that came before."""
    factors = symmetry.group.factors
    kinds = [family(f) for f in factors]
    if kinds.count("pose") > 1 or kinds.count("sort") > 1 or kinds.count("finite") > 1:
        raise ValueError(
            "group: frames for products know at most one of SO(n), O(n), SE(n), E(n), one finite group and S(n); "
            "symmetrize the factors one after the other instead"
        )
    ranked = {"pose": 0, "finite": 1, "sort": 2}
    order = sorted(range(len(factors)), key=lambda i: ranked[kinds[i] or "sort"])
    tensors = [t for t in torch.utils._pytree.tree_leaves(args) if isinstance(t, Tensor)]
    batch = source.shared_batch(source.leaves(symmetry, args), tensors)
    lead = () if batch is None else (batch,)
    elements = [f.identity((*lead, 1), dtype=torch.float64, device=tensors[0].device) for f in factors]
    weights = torch.ones(*lead, 1, dtype=torch.float64, device=tensors[0].device)
    for i in order:
        moved = _lifted(symmetry, tuple(elements), args, len(lead)) if i != order[0] else None
        inner = _factor_frame(symmetry, i, kinds[i], args, moved, options, weights.shape)
        elements = _repeated(elements, inner.size, len(lead))
        elements[i] = inner.elements
        if moved is not None:
            elements[i] = map_elem(lambda e: e.flatten(len(lead), len(lead) + 1), inner.elements)
        weights = (weights[..., None] * inner.weights.reshape(*weights.shape, inner.size)).flatten(-2)
    return Found(FrameBatch(tuple(elements), weights), shared=False)


def _repeated(elements: list[Any], count: int, axis: int) -> list[Any]:
    """Every element `count` times along the axis of the frame."""
    return [map_elem(lambda e: e.repeat_interleave(count, axis), part) for part in elements]


def _factor_frame(
    symmetry: Symmetry, i: int, kind: Family | None, args: Any, moved: Any, options: Options, shape: Any
) -> FrameBatch:
    """The frame of one factor: `[*B, F]` at first, `[*B, F, F2]` on the arguments that earlier factors moved."""
    found = source.leaves(symmetry, args if moved is None else moved)
    if kind == "pose":
        return _pose(symmetry.group.factors[i], found, i, options)
    if kind == "sort":
        return _sorting(symmetry, found, i, options)
    if options.how == "canonical":
        raise ValueError("how: 'canonical' of a product with a finite group is not known; use 'frame'")
    every = _all(symmetry.group.factors[i], found)
    lead = tuple(shape[:-1]) if moved is None else tuple(shape)
    spread = map_elem(lambda e: e.expand(*lead, *e.shape), every.elements)
    return FrameBatch(spread, every.weights.expand(*lead, -1))


def _lifted(symmetry: Symmetry, elements: tuple[Any, ...], args: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    """The arguments in every pose found so far, `[*B, F, ...]`, in float64."""

    def lift(t: Any) -> Any:
        if not isinstance(t, Tensor) or t.ndim < axis:
            return t
        return (t.double() if t.is_floating_point() else t).unsqueeze(axis)

    moved = symmetry.act_input(symmetry.group.inverse(elements), torch.utils._pytree.tree_map(lift, args))
    size = first_leaf(elements).shape[axis]

    def spread(t: Any) -> Any:
        if not isinstance(t, Tensor) or t.ndim <= axis:
            return t
        return t.expand(*t.shape[:axis], size, *t.shape[axis + 1 :])

    return torch.utils._pytree.tree_map(spread, moved)
