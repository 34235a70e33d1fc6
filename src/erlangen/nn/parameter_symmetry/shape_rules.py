"""Rules for operations that move numbers about, pool them, or look across units."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from erlangen.nn.parameter_symmetry.elementwise import channel_affine, line_or_fix, many
from erlangen.nn.parameter_symmetry.labels import Labels, spread
from erlangen.nn.parameter_symmetry.linear_rules import bind
from erlangen.nn.parameter_symmetry.trace import THROUGH, Trace

RESHAPES = ["view", "reshape", "flatten", "unflatten", "unsafe_view", "view_as", "reshape_as"]
MOVES = """
permute transpose swapaxes movedim moveaxis t .T .mT .H getitem cat concat concatenate stack chunk split
tensor_split unbind expand expand_as squeeze unsqueeze repeat repeat_interleave tile roll flip select narrow
index_select broadcast_to pixel_shuffle pixel_unshuffle channel_shuffle diagonal hstack vstack
""".split()  # noqa: SIM905
POOLS = """
max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d interpolate pad
upsample
""".split()  # noqa: SIM905
LINEAR_REDUCTIONS = ["mean", "sum", "amax", "amin", "max", "min", "nansum"]
OTHER_REDUCTIONS = """
var std norm logsumexp prod any all argmax argmin median linalg_vector_norm vector_norm var_mean std_mean
""".split()  # noqa: SIM905
ACROSS = ["softmax", "log_softmax", "normalize", "cumsum", "softmin", "gumbel_softmax"]


def reshape(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    labels = trace.operand(args[0] if args else kwargs["input"])
    if labels is not None:
        trace.put(out, Labels(labels.unit.reshape(out.shape), labels.scale.reshape(out.shape)))


def move(trace: Trace, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """The labels go the way of the numbers."""
    if func.__name__ == "__getitem__" and isinstance(args[1], Tensor) and trace.get(args[1]) is not None:
        trace.give_up("an index computed from units", [args[0], args[1]])
        return

    if all(trace.operand(t) is None for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)):
        return  # integers looked up in a table of integers

    def replace(which: str) -> Any:
        def label(t: Any) -> Any:
            if not isinstance(t, Tensor):
                return t
            labels = trace.operand(t)
            if labels is not None:
                return getattr(labels, which)
            return t if not t.is_floating_point() else torch.zeros((), dtype=torch.int64).expand(t.shape)

        return func(*tree_map(label, args), **tree_map(label, kwargs))

    units, scales = replace("unit"), replace("scale")
    if isinstance(out, Tensor):
        trace.put(out, Labels(units, scales))
    else:
        for tensor, unit, scale in zip(out, units, scales, strict=True):
            trace.put(tensor, Labels(unit, scale))


def pool(trace: Trace, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Pooling over places: every channel keeps its unit."""
    x = args[0] if args else kwargs["input"]
    labels, first = trace.get(x), out if isinstance(out, Tensor) else out[0]
    if labels is None:
        return
    at = 1 if x.dim() > 2 else 0
    if first.dim() != x.dim() or first.shape[at] != x.shape[at]:
        if func.__name__ != "pad":
            raise ValueError("channels")
        trace.put(first, Labels(*(func(t.contiguous(), *args[1:], **kwargs) for t in (labels.unit, labels.scale))))
        return
    lines = line_or_fix(trace, labels, at, "is pooled together with other units")
    if lines is not None:
        result = Labels(spread(lines[0], first.shape, at), spread(lines[1], first.shape, at))
        if func.__name__ == "pad" and (len(args) > 3 and args[3]):
            result = trace.no_scale(result)
        trace.put(first, result)


def only_shape(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    """A new tensor that takes nothing but the shape of another."""


def _dims(args: Any, kwargs: Any, dims: int) -> list[int]:
    chosen = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    if chosen is None:
        return list(range(dims))
    return sorted({d % dims for d in ([chosen] if isinstance(chosen, int) else chosen)})


def same_sets(unit: Tensor, dims: list[int]) -> tuple[bool, bool]:
    """Is the unit constant along `dims`? If not: is the set of units along them the same everywhere else?"""
    rest = [d for d in range(unit.dim()) if d not in dims]
    rows = unit.permute(*rest, *dims).reshape(-1, int(np.prod([unit.shape[d] for d in dims])))
    rows = torch.unique(rows, dim=0)
    constant = bool((rows == rows[:, :1]).all())
    ordered = rows.sort(1).values
    return constant, bool((ordered == ordered[:1]).all())


def reduction(linear: bool) -> Any:
    def rule(trace: Trace, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        x = args[0] if args else kwargs["input"]
        labels = trace.operand(x)
        if labels is None:
            return
        if len(args) > 1 and isinstance(args[1], Tensor):
            trace.give_up("a maximum of two tensors", [x, args[1]])
            return
        outputs = [out] if isinstance(out, Tensor) else list(out)
        dims = _dims(args, kwargs, x.dim())
        unit = trace.unit_of(labels.unit)
        constant, same = same_sets(unit, dims)
        if constant:
            keep = tuple(slice(0, 1) if d in dims else slice(None) for d in range(x.dim()))
            scale_constant, _ = same_sets(labels.scale, dims)
            if not (linear and scale_constant):
                labels = trace.no_scale(labels)
            for o in outputs:
                trace.put(o, Labels(labels.unit[keep].reshape(o.shape), labels.scale[keep].reshape(o.shape)))
        elif same:
            trace.mix(labels, f"{func.__name__} over the units")
        else:
            trace.fix(labels, f"{func.__name__} over some of the units")

    return rule


def look_across(trace: Trace, labels: Labels, dims: list[int], name: str) -> Labels:
    """An operation in which each number depends on all numbers along `dims`."""
    constant, same = same_sets(trace.unit_of(labels.unit), dims)
    if constant:
        return trace.no_scale(labels)
    if not same:
        trace.fix(labels, f"{name} over some of the units")
        return trace.no_scale(labels)
    return trace.mix(labels, f"{name} over the units")


def across(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    labels = trace.operand(args[0] if args else kwargs["input"])
    if labels is None:
        return
    default = 1 if func.__name__ == "normalize" else None
    dim = kwargs.get("dim", default)
    if dim is None:
        dim = next((a for a in args[1:] if isinstance(a, int)), -1)
    trace.put(out, look_across(trace, labels, [dim % out.dim()], func.__name__))


def batch_norm(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    a = bind("input running_mean running_var weight bias", args, kwargs)
    labels = trace.get(a["input"])
    named = [a[k] for k in ("running_mean", "running_var", "weight", "bias") if trace.is_named(a[k])]
    lines = None if labels is None else line_or_fix(trace, labels, 1, "is normalised together with other units")
    if labels is None or lines is None:
        for t in named:
            trace.fix_parameter(t, "normalises the input")
        return
    labels = trace.no_scale(labels)
    for t in named:
        trace.join(trace.unit_ids(t, 0, THROUGH), lines[0])
    trace.put(out, channel_affine(trace, labels, a["weight"], a["bias"], 1))


def group_norm(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    a = bind("input num_groups weight bias", args, kwargs)
    labels = trace.get(a["input"])
    if labels is None:
        trace.give_up("normalises the input", [t for t in (a["weight"], a["bias"]) if trace.is_named(t)])
        return
    shape = out.shape
    parted = [t.reshape(shape[0], a["num_groups"], -1) for t in (labels.unit, labels.scale)]
    parted_labels = look_across(trace, Labels(*parted), [2], "group_norm")
    labels = Labels(parted_labels.unit.reshape(shape), parted_labels.scale.reshape(shape))
    if shape[1] > a["num_groups"] > 1:
        trace.unsliceable.append((labels.unit.unique().numpy(), "the groups of a GroupNorm have one size"))
    trace.put(out, channel_affine(trace, labels, a["weight"], a["bias"], 1))


def instance_norm(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    a = bind("input running_mean running_var weight bias", args, kwargs)
    labels = trace.get(a["input"])
    named = [a[k] for k in ("running_mean", "running_var", "weight", "bias") if trace.is_named(a[k])]
    lines = None if labels is None else line_or_fix(trace, labels, 1, "is normalised together with other units")
    if labels is None or lines is None:
        trace.give_up("normalises the input", named)
        return
    for t in named:
        trace.join(trace.unit_ids(t, 0, THROUGH), lines[0])
    trace.put(out, channel_affine(trace, trace.no_scale(labels), a["weight"], a["bias"], 1))


def layer_norm(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    a = bind("input normalized_shape weight bias", args, kwargs)
    labels = trace.get(a["input"])
    if labels is None:
        trace.give_up("normalises the input", [t for t in (a["weight"], a["bias"]) if trace.is_named(t)])
        return
    count = len(a["normalized_shape"])
    labels = look_across(trace, labels, list(range(out.dim() - count, out.dim())), func.__name__)
    if count > 1 and a["weight"] is not None:
        trace.put(out, labels)
        for kind, t in (("product", a["weight"]), ("sum", a["bias"])):
            if isinstance(t, Tensor):
                many(kind)(trace, func, (out, t), {}, out)
        return
    trace.put(out, channel_affine(trace, labels, a["weight"], a["bias"], out.dim() - 1))


def gated(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    labels = trace.get(args[0])
    if labels is not None:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
        a, b = trace.no_scale(labels).unit.chunk(2, dim)
        trace.join(a, b)
        trace.put(out, Labels(a, torch.zeros((), dtype=torch.int64).expand(out.shape)))


SHAPE_ONLY = """
zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full new_tensor
""".split()  # noqa: SIM905
RULES: dict[str, Any] = {
    **dict.fromkeys(SHAPE_ONLY, only_shape),
    **dict.fromkeys(RESHAPES, reshape),
    **dict.fromkeys(MOVES, move),
    **dict.fromkeys(POOLS, pool),
    **dict.fromkeys(LINEAR_REDUCTIONS, reduction(True)),
    **dict.fromkeys(OTHER_REDUCTIONS, reduction(False)),
    **dict.fromkeys(ACROSS, across),
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "glu": gated,
}
