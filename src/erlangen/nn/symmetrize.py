"""Make any model symmetric: average it over a frame, over a finite group, or bring its input to a canonical pose."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from erlangen._registry import unknown_name
from erlangen.groups import frames
from erlangen.groups.symmetry import Symmetry

How = Literal["frame", "average", "canonical"]
MAX_ORDER = 1024


class Symmetrized(nn.Module):
    """`x -> 1/|F(x)| Σ_{g in F(x)} g·f(g⁻¹·x)`, exactly symmetric for any `f`.

    The frame is the whole group for finite groups (Reynolds), principal axes with all their signs for SO(n), O(n),
    SE(n) and E(n), and the sorting permutation for S(n); products take one frame after the other. Averaging costs
    |F| passes of the backbone, `canonical` one. Frame Averaging (Puny et al., 2022, arXiv 2110.03336); the released
    code detaches the axes, which makes input gradients wrong: here they are differentiated unless
    `differentiable=False`.

    Raises ValueError where the axes of an input are not defined (collinear or symmetric clouds) and for NaN.
    """

    def __init__(self, module: nn.Module, symmetry: Symmetry, *, how: str, differentiable: bool) -> None:
        super().__init__()
        self.module = module
        self.symmetry = symmetry
        self.how = how
        self.differentiable = differentiable

    @property
    def symmetries(self) -> list[Symmetry]:
        return [self.symmetry]

    def forward(self, *args: Any) -> Any:
        symmetry = self.symmetry.resolved(args)
        elements = self.frame(symmetry, args)
        total: Any = None
        count = frames.frame_size(elements)
        for i in range(count):
            g = frames.pick(elements, i)
            out = self.module(*symmetry.act_input(symmetry.group.inverse(g), args))
            moved = symmetry.act_output(g, out)
            total = moved if total is None else _add(total, moved)
        return tree_map(lambda t: t / count if isinstance(t, Tensor) else t, total)

    def frame(self, symmetry: Symmetry, args: tuple[Any, ...]) -> Any:
        """The elements `[F, *E]` (per sample `[F, B, *E]`) that the model is averaged over."""
        source, as_arguments = _source(symmetry, args), args
        elements = self._frame(symmetry.group, source, symmetry, as_arguments)
        if self.differentiable:
            return elements
        return tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, elements)

    def _frame(self, group: Any, x: Tensor, symmetry: Symmetry, args: tuple[Any, ...]) -> Any:
        factors = getattr(group, "factors", None)
        if factors is not None:
            return self._product_frame(factors, x)
        kind = family(group)
        if kind == "finite":
            return _finite_frame(group, symmetry, args, one=self.how == "canonical")
        if kind == "sort":
            if self.how == "average":
                return group.elements()
            return frames.sort_frame(x).unsqueeze(0)
        return _pose_frame(group, x, one=self.how == "canonical")

    def _product_frame(self, factors: tuple[Any, ...], x: Tensor) -> Any:
        """Poses first, then the order of the rows in each pose."""
        poses = [f for f in factors if family(f) == "pose"]
        sorts = [f for f in factors if family(f) == "sort"]
        if len(poses) != 1 or len(poses) + len(sorts) != len(factors):
            raise ValueError(
                "group: frames for products know one of SO(n), O(n), SE(n), E(n) together with S(n); "
                "symmetrize the factors one after the other instead"
            )
        pose = _pose_frame(poses[0], x, one=self.how == "canonical")
        ordered = []
        for i in range(len(pose)):
            matrix = pose[i]
            n = x.shape[-1]
            shift = matrix[..., :n, n] if matrix.shape[-1] == n + 1 else torch.zeros_like(matrix[..., 0])
            ordered.append(frames.sort_frame((x - shift.unsqueeze(-2)) @ matrix[..., :n, :n]))
        order = torch.stack(ordered)
        return tuple(pose if family(f) == "pose" else order for f in factors)

    def extra_repr(self) -> str:
        return f"{self.symmetry}, how={self.how!r}"


def symmetrize(
    module: nn.Module, symmetry: Symmetry, how: str = "frame", *, differentiable: bool = True
) -> Symmetrized:
    """A model with exactly the given symmetry, from any backbone that takes the same inputs.

    Args:
        module: the backbone; called with moved inputs of the same shapes.
        symmetry: what the result shall respect.
        how: "frame" (exact, |frame| passes), "average" (finite groups), "canonical" (one pass; exact where the
            canonical pose is unique).
        differentiable: let gradients flow through the frame (right forces) rather than treating it as constant.

    Raises:
        ValueError: an unknown `how`, or a group without such a frame.
    """
    if how not in get_args(How):
        raise unknown_name("how", how, list(get_args(How)))
    if symmetry.is_user_written:
        raise ValueError("symmetry: a frame needs a group object; user-written transformations can only be checked")
    for factor in getattr(symmetry.group, "factors", None) or (symmetry.group,):
        kind = family(factor)
        if kind is None:
            raise ValueError(
                f"group: no frame is known for {factor}; finite groups, SO(n), O(n), SE(n), E(n) and S(n) have one"
            )
        if how == "average" and kind == "pose":
            raise ValueError(f"how: 'average' needs a finite group and {factor} is not; use 'frame'")
        order = getattr(factor, "order", None) if getattr(factor, "n", 1) is not None else None
        if how == "average" and order is not None and order > MAX_ORDER:
            raise ValueError(f"how: 'average' over {order} elements of {factor} is too many; use 'frame'")
    return Symmetrized(module, symmetry, how=how, differentiable=differentiable)


def family(group: Any) -> Literal["finite", "sort", "pose"] | None:
    """Which kind of frame a group has."""
    name = str(group.name if hasattr(group, "name") else group).partition("(")[0].strip()
    if type(group).__name__ == "Symmetric":
        return "sort"
    if name in ("SO", "O", "SE", "E"):
        return "pose"
    return "finite" if getattr(group, "order", None) is not None else None


def _pose_frame(group: Any, x: Tensor, *, one: bool) -> Tensor:
    name = str(group.name).partition("(")[0].strip()
    build = frames.canonical_axes if one else frames.pca_frame
    affine = name in ("SE", "E")
    rotation, centre = build(x, center=affine, reflections=name in ("O", "E"))
    return (frames.homogeneous(rotation, centre) if affine else rotation).to(x.dtype)


def _finite_frame(group: Any, symmetry: Symmetry, args: tuple[Any, ...], *, one: bool) -> Any:
    elements = group.elements()
    if not one:
        return elements
    keys = []
    for i in range(frames.frame_size(elements)):
        moved = symmetry.act_input(group.inverse(frames.pick(elements, i)), args)
        flat = torch.cat([t.detach().double().reshape(-1) for t in moved if isinstance(t, Tensor)])
        weight = torch.sin(torch.arange(1, len(flat) + 1, dtype=torch.float64, device=flat.device) ** 2)
        keys.append(float(flat @ weight))
    best = max(range(len(keys)), key=keys.__getitem__)
    return tree_map(lambda t: t[best : best + 1], elements)


def _source(symmetry: Symmetry, args: tuple[Any, ...]) -> Tensor:
    """The argument that the frame is read from: the first points, else the first vectors or rows, else the first."""
    kinds = symmetry.input_type if symmetry.takes_many else (symmetry.input_type,)
    for wanted in ("points", "vectors", "rows", "scalars"):
        for kind, value in zip(kinds, args, strict=False):
            if kind == wanted:
                return value
    first = args[0]
    if not isinstance(first, Tensor):
        raise ValueError(f"inputs: a frame is read from a tensor, got {type(first).__name__}; give the points first")
    return first


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, Tensor):
        return left + right
    if isinstance(left, dict):
        return {k: _add(left[k], right[k]) for k in left}
    if isinstance(left, (tuple, list)):
        return type(left)(_add(a, b) for a, b in zip(left, right, strict=True))
    return left
