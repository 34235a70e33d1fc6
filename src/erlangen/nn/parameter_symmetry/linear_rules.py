"""Rules for operations that contract units with a weight, or with each other."""

from typing import Any

import torch
from torch import Tensor

from erlangen.nn.parameter_symmetry.elementwise import affine, line_or_fix
from erlangen.nn.parameter_symmetry.labels import Labels, spread
from erlangen.nn.parameter_symmetry.trace import READS, THROUGH, WRITES, Trace

SPLIT = "its consumer reads different units at different places"


def bind(names: str, args: Any, kwargs: Any) -> dict[str, Any]:
    return {**dict.fromkeys(names.split()), **dict(zip(names.split(), args, strict=False)), **kwargs}


def read(trace: Trace, x: Tensor, weight: Tensor, axis: int, at: int) -> None:
    """`weight`'s axis reads axis `at` of `x`."""
    labels = trace.get(x)
    if labels is None:
        return
    if not trace.is_named(weight):
        single = weight.numel() == 1
        trace.fix(labels, "is one unit only" if single else "is read by a weight that is computed, not a parameter")
        return
    lines = line_or_fix(trace, labels, at, SPLIT)
    if lines is None:
        return
    trace.join(trace.unit_ids(weight, axis, READS), lines[0])
    trace.join_scales(trace.scale_of(weight, axis, READS), lines[1])


def write(trace: Trace, weight: Tensor, bias: Any, axis: int, out: Tensor, at: int) -> None:
    """`weight`'s axis, and `bias`, write axis `at` of `out`."""
    if not trace.is_named(weight):
        if trace.is_named(bias):
            trace.fix_parameter(bias, "the bias of a computed weight")
        return
    labels = trace.written(weight, axis, out.shape, at)
    if isinstance(bias, Tensor) and trace.is_named(bias):
        trace.join(trace.unit_ids(bias, 0, WRITES), trace.unit_ids(weight, axis, WRITES))
        trace.join_scales(trace.scale_of(bias, 0, WRITES), trace.scale_of(weight, axis, WRITES))
    trace.put(out, labels)


def linear(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    a = bind("input weight bias", args, kwargs)
    read(trace, a["input"], a["weight"], 1, -1)
    write(trace, a["weight"], a["bias"], 0, out, out.dim() - 1)
    _computed(trace, a["weight"])


def _computed(trace: Trace, weight: Tensor) -> None:
    labels = trace.get(weight)
    if labels is not None:
        trace.fix(labels, "is used to compute a weight")


def convolution(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    transposed = "transpose" in func.__name__
    last = "output_padding groups dilation" if transposed else "dilation groups"
    a = bind(f"input weight bias stride padding {last}", args, kwargs)
    x, weight, bias, groups = a["input"], a["weight"], a["bias"], int(a["groups"] or 1)
    _computed(trace, weight)
    at = out.dim() - weight.dim() + 1
    if groups == 1:
        read(trace, x, weight, 0 if transposed else 1, at)
        write(trace, weight, bias, 1 if transposed else 0, out, at)
    else:
        _grouped(trace, x, weight, bias, out, groups=groups, at=at, transposed=transposed)


def _grouped(
    trace: Trace, x: Tensor, weight: Tensor, bias: Any, out: Tensor, *, groups: int, at: int, transposed: bool
) -> None:
    """A unit is a whole group: its inputs and its outputs move together."""
    labels = trace.get(x)
    if labels is None or not trace.is_named(weight):
        if labels is not None:
            trace.fix(labels, "is read by a weight that is computed, not a parameter")
        for t in (weight, bias):
            if trace.is_named(t):
                trace.fix_parameter(t, "a grouped convolution of the input")
        return
    lines = line_or_fix(trace, labels, at, SPLIT)
    if lines is None:
        trace.fix_parameter(weight, SPLIT)
        return
    unit = lines[0].view(groups, -1)
    first = unit[:, :1]
    trace.join(unit, first)
    rows = trace.unit_ids(weight, 0, THROUGH).view(groups, -1)
    trace.join(rows, first)
    outputs = out.shape[at] // groups
    if unit.shape[1] == 1 and not transposed:
        trace.join_scales(trace.scale_of(weight, 0, READS).view(groups, -1), lines[1].view(groups, 1))
        scale = trace.scale_of(weight, 0, WRITES)
    else:
        trace.no_scale(labels)
        scale = torch.zeros(out.shape[at], dtype=torch.int64)
    result = Labels(spread(first.expand(-1, outputs).reshape(-1), out.shape, at), spread(scale, out.shape, at))
    if isinstance(bias, Tensor) and trace.is_named(bias):
        result = affine(trace, result, bias, axis=0, at=at, kind="sum")
    trace.put(out, result)


def embedding(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    a = bind("input weight", args, kwargs)
    if trace.is_named(a["weight"]):
        trace.put(out, trace.written(a["weight"], 1, out.shape, out.dim() - 1))
    elif trace.get(a["weight"]) is not None:
        trace.give_up("a computed table", [a["weight"]])


def product(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    """`a @ b`: what is summed over becomes one unit, which rows and columns of the result then carry."""
    a, b = args[:2]
    if trace.is_named(b) and trace.get(b) is None and b.dim() == 2 and not trace.is_named(a):
        read(trace, a, b, 0, -1)
        write(trace, b, None, 1, out, out.dim() - 1)
        return
    left, right = trace.operand(a), trace.operand(b)
    if a.dim() < 2 or b.dim() < 2:
        trace.give_up("a product with a vector", [a, b])
        return
    pieces = []
    for labels, tensor, summed in ((left, a, -1), (right, b, -2)):
        if labels is not None:
            trace.no_scale(labels)
            first = labels.unit.narrow(summed, 0, 1)
            trace.join(labels.unit, first)
            pieces.append(first.expand(out.shape))
        else:
            _neutral(trace, tensor, right if tensor is a else left, out)
    trace.join(pieces[0], pieces[-1])
    trace.put(out, Labels(pieces[0], torch.zeros((), dtype=torch.int64).expand(out.shape)))


def _neutral(trace: Trace, tensor: Tensor, other: Labels | None, out: Tensor) -> None:
    """A factor without units must not differ along the leading axes on which the other's units change."""
    if other is None:
        return
    for d in range(3, tensor.dim() + 1):
        along_it = other.unit.dim() >= d and other.unit.shape[-d] > 1
        if (
            along_it
            and bool((other.unit != other.unit.narrow(-d, 0, 1)).any())
            and tensor.shape[-d] > 1
            and not bool((tensor == tensor.narrow(-d, 0, 1)).all())
        ):
            trace.fix(other, "is multiplied by data that differ from unit to unit")


def dot_product_attention(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    a = bind("query key value attn_mask", args, kwargs)
    if kwargs.get("enable_gqa"):
        trace.give_up("grouped-query attention", [a["query"], a["key"], a["value"]])
        return
    pieces = []
    for t in (a["query"], a["key"], a["value"]):
        labels = trace.operand(t)
        if labels is not None:
            trace.no_scale(labels)
            first = labels.unit[..., :1, :1]
            trace.join(labels.unit, first)
            pieces.append(first.expand(out.shape))
    for piece in pieces[1:]:
        trace.join(piece, pieces[0])
    result = Labels(pieces[0], torch.zeros((), dtype=torch.int64).expand(out.shape))
    mask = a["attn_mask"]
    if isinstance(mask, Tensor) and mask.dim() > 2:
        _neutral(trace, mask, result, out)
    trace.put(out, result)


def multi_head_attention(trace: Trace, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """torch.nn.MultiheadAttention: a unit is a whole head."""
    a = bind(
        "query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn "
        "dropout_p out_proj_weight out_proj_bias",
        args,
        kwargs,
    )
    if a["bias_k"] is not None or kwargs.get("use_separate_proj_weight") or kwargs.get("static_k") is not None:
        trace.give_up("attention with extra keys or separate projections", _tensors(a))
        return
    width, heads, weight, last = a["embed_dim_to_check"], a["num_heads"], a["in_proj_weight"], a["out_proj_weight"]
    for x in {id(a[k]): a[k] for k in ("query", "key", "value")}.values():
        read(trace, x, weight, 1, -1)
    rows = trace.unit_ids(weight, 0, WRITES).view(3, heads, -1)
    head = rows[:1, :, :1]
    trace.join(rows, head)
    if trace.is_named(a["in_proj_bias"]):
        trace.join(trace.unit_ids(a["in_proj_bias"], 0, WRITES).view(3, heads, -1), head)
    trace.join(trace.unit_ids(last, 1, READS).view(heads, -1), head[0])
    trace.unsliceable.append((rows.flatten().numpy(), "torch.nn.MultiheadAttention has a fixed number of heads"))
    stream = torch.cat([trace.unit_ids(weight, 1, READS), trace.unit_ids(last, 0, WRITES)])
    trace.unsliceable.append((stream.numpy(), "torch.nn.MultiheadAttention is as wide as its heads together"))
    write(trace, last, a["out_proj_bias"], 0, out[0], out[0].dim() - 1)
    assert width == last.shape[0]


def _tensors(a: dict[str, Any]) -> list[Tensor]:
    return [t for t in a.values() if isinstance(t, Tensor)]


RULES: dict[str, Any] = {
    "linear": linear,
    **dict.fromkeys([f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)], convolution),
    "embedding": embedding,
    **dict.fromkeys(["matmul", "bmm", "mm"], product),
    "scaled_dot_product_attention": dot_product_attention,
    "multi_head_attention_forward": multi_head_attention,
}
