"""Make any model symmetric: average it over a frame, over a finite group, or bring its input to a canonical pose."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from erlangen._registry import modules, unknown_name
from erlangen.groups.actions import Function, Graph, Image, PerLeaf, Permute, Sequence
from erlangen.groups.elements import map_elem
from erlangen.groups.frames.base import ON_DEGENERATE, Frame, FrameBatch, OnDegenerate, choice
from erlangen.groups.frames.reynolds import MAX_ORDER
from erlangen.groups.frames.stochastic import draw
from erlangen.groups.symmetry import Symmetry
from erlangen.nn import frame_source
from erlangen.nn.frame_choice import Found, How, Options, family, find_frame
from erlangen.nn.symmetrize_cases import cases

Mode = Literal["mean", "sample"]


class Symmetrized(nn.Module):
    """`x -> Σ_{g in F(x)} w_g g·f(g⁻¹·x)`, exactly symmetric for any `f`.

    The frame is the whole group for finite groups (Reynolds), principal axes with all their signs for SO(n), O(n), SE(n)
    and E(n), the sorting permutations for S(n), of rows or of the nodes of an adjacency matrix; products take one frame
    after the other. Averaging costs |F| passes of the backbone, in one call on a batch of |F|·B samples; `canonical` and
    `mode="sample"` cost one. Frame Averaging (Puny et al., 2022, arXiv 2110.03336); the released code detaches the
    axes, which makes input gradients wrong: here they are differentiated unless `differentiable=False`.

    Stacking needs every tensor argument to start with the same batch axis, and a backbone that treats samples apart; what
    is shared over a batch (statistics of BatchNorm in train mode, dropout masks) sees |F|·B samples. Inputs of one
    sample, arguments that are not tensors with a batch axis (`edge_index`, PyG's `Data`) and user-written actions go
    through a loop over the frame, one call of the backbone an element. A tensor that all samples share and whose first size
    happens to be that of the batch is taken for a batch: hand it to the backbone beforehand.

    Group elements and moved points are computed in float64 and rounded once to the precision of the input, so that clouds
    far from the origin lose nothing.

    Raises ValueError where the axes of an input are not defined (collinear or symmetric clouds) and for NaN.
    """

    def __init__(
        self,
        module: nn.Module,
        symmetry: Symmetry,
        *,
        how: How = "frame",
        frame: Frame | None = None,
        mode: Mode = "mean",
        on_degenerate: OnDegenerate = "raise",
        differentiable: bool = True,
        chunk: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.symmetry = symmetry
        self.mode = mode
        self.chunk = chunk
        self.options = Options(how, frame, on_degenerate, differentiable, generator)

    @property
    def symmetries(self) -> list[Symmetry]:
        return [self.symmetry]

    @property
    def how(self) -> How:
        return self.options.how

    def frame(self, *args: Any) -> FrameBatch:
        """The weighted elements that the model is averaged over at these arguments, `[*B, F, *E]` (finite `[F, *E]`)."""
        return self._find(self.symmetry.resolved(args), args).frame

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The backbone's output, symmetric; keyword arguments go to the backbone unmoved."""
        symmetry = self.symmetry.resolved(args)
        found = self._find(symmetry, args)
        if self.mode == "sample":
            found = _sampled(found, args, self.options.generator)
        leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        batch = frame_source.shared_batch(frame_source.leaves(symmetry, args), leaves)
        lead = found.frame.weights.shape[:-1]
        if batch is not None and (found.shared or lead[:1] == (batch,)):
            out = _stacked(self.module, symmetry, found, args, kwargs, batch, self.chunk)
            if out is not None:
                return out[0]
        return _looped(self.module, symmetry, found, args, kwargs)

    def _find(self, symmetry: Symmetry, args: tuple[Any, ...]) -> Found:
        found = find_frame(symmetry, args, self.options)
        return found if self.options.differentiable else Found(found.frame.detach(), found.shared)

    def extra_repr(self) -> str:
        return f"{self.symmetry}, how={self.how!r}, mode={self.mode!r}"


def symmetrize(
    module: nn.Module,
    symmetry: Symmetry,
    how: str = "frame",
    *,
    frame: Frame | None = None,
    mode: Mode = "mean",
    on_degenerate: OnDegenerate = "raise",
    differentiable: bool = True,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Symmetrized:
    """A model with exactly the given symmetry, from any backbone that takes the same inputs.

    Args:
        module: the backbone; called with moved inputs of the same shapes (and |F| times as many samples).
        symmetry: what the result shall respect.
        how: "frame" (exact, |frame| passes), "average" (finite groups), "canonical" (one pass; exact where the
            canonical pose is unique).
        frame: a `Frame` of the group to use instead of the usual one, e.g. `WeightedFrame("SO(3)")` for continuity.
        mode: "mean" over the frame, or "sample": one random element a sample and call, unbiased. The attribute `mode`
            can be changed later: train with "sample", evaluate with "mean".
        on_degenerate: where principal axes are not defined, "raise", "weighted" (a weighted frame, exact) or "perturb"
            (a random frame, exact in expectation); equal rows and symmetric graphs with too many orders "raise"
            unless this is "perturb".
        differentiable: let gradients flow through the frame (right forces) rather than treating it as constant.
        chunk: at most so many samples in one call of the backbone (at least one batch); None for one call. On a CPU,
            batches that fill the cache run faster in chunks of one batch; on a GPU one call is best.
        generator: for what is random.

    Raises:
        ValueError: an unknown word, or a group without such a frame.
    """
    if how not in get_args(How):
        raise unknown_name("how", how, list(get_args(How)))
    choice("mode", mode, get_args(Mode))
    choice("on_degenerate", on_degenerate, ON_DEGENERATE)
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: {chunk}; at least one sample, or None for all at once")
    if symmetry.is_user_written:
        raise ValueError("symmetry: a frame needs a group object; user-written transformations can only be checked")
    if frame is not None and how != "frame":
        raise ValueError(f"how: {how!r} with a frame given; only 'frame' uses one")
    for factor in () if frame is not None else getattr(symmetry.group, "factors", None) or (symmetry.group,):
        _check_factor(factor, how, on_degenerate)
    return Symmetrized(
        module,
        symmetry,
        how=how,  # type: ignore[arg-type]
        frame=frame,
        mode=mode,
        on_degenerate=on_degenerate,
        differentiable=differentiable,
        chunk=chunk,
        generator=generator,
    )


def _check_factor(factor: Any, how: str, on_degenerate: str) -> None:
    kind = family(factor)
    if kind is None:
        raise ValueError(
            f"group: no frame is known for {factor}; finite groups, SO(n), O(n), SE(n), E(n) and S(n) have one"
        )
    if how == "average" and kind == "pose":
        raise ValueError(f"how: 'average' needs a finite group and {factor} is not; use 'frame'")
    if how == "canonical" and kind == "pose" and on_degenerate == "weighted":
        raise ValueError("on_degenerate: 'weighted' frames have many elements and 'canonical' takes one; use 'frame'")
    order = getattr(factor, "order", None) if getattr(factor, "n", 1) is not None else None
    if (how == "average" or kind == "finite") and order is not None and order > MAX_ORDER:
        raise ValueError(f"how: {how!r} over {order} elements of {factor} is too many; use a smaller group or frame")


def _sampled(found: Found, args: tuple[Any, ...], generator: torch.Generator | None) -> Found:
    """One element a sample; one for all samples where the frame is a list without a batch and the arguments have none."""
    frame = found.frame
    first = next((t for t in tree_leaves(args) if isinstance(t, Tensor)), None)
    if found.shared and first is not None and first.ndim:
        batch = first.shape[0]
        spread = map_elem(lambda e: e.expand(batch, *e.shape), frame.elements)
        one_each = draw(FrameBatch(spread, frame.weights.expand(batch, -1)), 1, generator)
        return Found(one_each, shared=False)
    return Found(draw(frame, 1, generator), found.shared)


def _stacked(
    module: nn.Module, symmetry: Symmetry, found: Found, args: Any, kwargs: Any, batch: int, chunk: int | None
) -> tuple[Any] | None:
    """One call of the backbone on all elements of the frame; None where its output has no batch axis to unfold."""
    elements, size = found.elements, found.frame.size
    moved = _moved_input(symmetry, elements, args, lift=True)

    def fold(t: Any, like: Any) -> Any:
        if not isinstance(t, Tensor) or not isinstance(like, Tensor) or not like.ndim:
            return t
        return t.expand(size, *t.shape[1:]).reshape(size * batch, *like.shape[1:])

    folded = tree_map(fold, moved, args)
    extra = tree_map(lambda t: t.repeat(size, *[1] * (t.ndim - 1)) if isinstance(t, Tensor) and t.ndim else t, kwargs)
    whole = size * batch
    step = whole if chunk is None else max(1, chunk // max(1, batch)) * batch
    if step >= whole:
        out = module(*folded, **extra)
    else:
        parts = [_called(module, folded, extra, start, start + step) for start in range(0, whole, step)]
        out = tree_map(lambda *t: torch.cat(t) if isinstance(t[0], Tensor) and t[0].ndim else t[0], *parts)
    flat, spec = tree_flatten(out)
    if any(isinstance(t, Tensor) and (not t.ndim or t.shape[0] != whole) for t in flat):
        return None
    if any(not isinstance(t, Tensor) and hasattr(t, "num_nodes") for t in flat):
        return None
    apart = tree_unflatten([t.unflatten(0, (size, batch)) if isinstance(t, Tensor) else t for t in flat], spec)
    turned = _moved_output(symmetry, elements, apart)
    return (tree_map(lambda t: _weighted_sum(t, found.weights) if isinstance(t, Tensor) else t, turned),)


def _called(module: nn.Module, args: Any, kwargs: Any, start: int, stop: int) -> Any:
    """The backbone on a part of the stacked samples."""
    args, kwargs = tree_map(lambda t: t[start:stop] if isinstance(t, Tensor) and t.ndim else t, (args, kwargs))
    return module(*args, **kwargs)


def _looped(module: nn.Module, symmetry: Symmetry, found: Found, args: Any, kwargs: Any) -> Any:
    """One call of the backbone an element."""
    total: Any = None
    elements, weights = found.elements, found.weights
    for i in range(found.frame.size):
        g = map_elem(lambda e, i=i: e[i], elements)  # type: ignore[misc]
        out = module(*_moved_input(symmetry, g, args, lift=False), **kwargs)
        turned = _moved_output(symmetry, g, out)
        part = tree_map(
            lambda t, i=i: _weighted_sum(t[None], weights[i : i + 1]) if isinstance(t, Tensor) else t, turned
        )  # type: ignore[misc]
        total = part if total is None else tree_map(lambda a, b: a + b if isinstance(a, Tensor) else a, total, part)
    return total


def _weighted_sum(t: Tensor, weights: Tensor) -> Tensor:
    """`Σ_F w t` for `[F, *B, ...]` and weights `[F, *B]` (weights of one sample reach every axis)."""
    if not t.is_floating_point() and not t.is_complex():
        t = t.to(torch.get_default_dtype())
    if weights.ndim > t.ndim or t.shape[1 : weights.ndim] != weights.shape[1:]:
        raise ValueError(
            f"module: an output of shape {tuple(t.shape[1:])} does not start with the batch {tuple(weights.shape[1:])} "
            "of the inputs, so that samples with frames of their own cannot be weighted"
        )
    return (t * weights.to(t).reshape(*weights.shape, *[1] * (t.ndim - weights.ndim))).sum(0)


def _moved_input(symmetry: Symmetry, g: Any, args: Any, *, lift: bool) -> Any:
    """`g⁻¹·args` in float64, rounded back; `lift` puts the axis of the frame in front of every tensor."""
    precise = _in_double(symmetry.input_action)

    def prepare(t: Any) -> Any:
        if not isinstance(t, Tensor):
            return t
        t = t.double() if precise and t.is_floating_point() else t
        return t[None] if lift and t.ndim else t

    moved = symmetry.act_input(symmetry.group.inverse(g), tree_map(prepare, args))
    if not precise:
        return moved
    return tree_map(lambda t, like: t.to(like.dtype) if isinstance(t, Tensor) else t, moved, args)


def _moved_output(symmetry: Symmetry, g: Any, out: Any) -> Any:
    action = symmetry.output_action
    if getattr(action, "is_trivial", False) or not _in_double(action):
        return symmetry.act_output(g, out)
    wide = tree_map(lambda t: t.double() if isinstance(t, Tensor) and t.is_floating_point() else t, out)
    moved = symmetry.act_output(g, wide)
    return tree_map(lambda t, like: t.to(like.dtype) if isinstance(t, Tensor) else t, moved, out)


def _in_double(action: Any) -> bool:
    """Whether elements are matrices of floating-point numbers, and no user-written function or graph is involved."""
    if isinstance(action, PerLeaf):
        return all(_in_double(leaf) for leaf in action.leaves)
    return not isinstance(action, (Function, Graph, Image, Permute, Sequence))


modules.register(
    "symmetrized", summary="Any backbone made exactly symmetric by a frame", paper="arXiv:2110.03336", cases=cases
)(symmetrize)
