"""Rules for operations that act number by number, and for affine parameters."""

from typing import Any

import torch
from torch import Tensor

from erlangen.nn.parameter_symmetry.labels import Labels, along, collapse, spread, varying
from erlangen.nn.parameter_symmetry.trace import READS, THROUGH, WRITES, Trace

HOMOGENEOUS = """
relu leaky_relu abs neg dropout dropout1d dropout2d dropout3d feature_dropout contiguous clone detach to float
double half bfloat16 type type_as identity prelu requires_grad .data
""".split()  # noqa: SIM905
OTHER_UNARY = """
gelu silu sigmoid tanh elu selu celu mish relu6 hardtanh hardswish hardsigmoid softplus softsign logsigmoid exp log
log1p expm1 square sqrt rsqrt reciprocal erf sin cos clamp clamp_min clamp_max pow sign threshold tanhshrink
softshrink hardshrink alpha_dropout feature_alpha_dropout nan_to_num round floor bool long int
""".split()  # noqa: SIM905
SUMS = ["add", "sub", "rsub", "subtract"]
EXTREMES = ["maximum", "minimum"]
PRODUCTS = ["mul", "multiply"]
QUOTIENTS = ["div", "truediv", "divide", "true_divide"]
OTHER_MANY = """
where masked_fill lerp addcmul addcdiv gt lt ge le eq ne logical_and logical_or logical_not bitwise_and bitwise_or
invert atan2 copysign logaddexp
""".split()  # noqa: SIM905


def homogeneous(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    trace.put(out, trace.operand(args[0] if args else kwargs["input"]))


def unary(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    labels = trace.operand(args[0] if args else kwargs["input"])
    trace.put(out, None if labels is None else trace.no_scale(labels))


def prelu(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    labels = trace.get(args[0])
    if labels is not None and trace.is_named(args[1]):
        channel = 1 if out.dim() > 1 else 0
        trace.join(spread(trace.unit_ids(args[1], 0, THROUGH), out.shape, channel), labels.unit)
    trace.put(out, labels)


def many(kind: str) -> Any:
    """The rule of an operation on several tensors that broadcast."""

    def rule(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
        operands = [*args, *kwargs.values()]
        labels = [trace.get(t) for t in operands]
        if not any(x is not None for x in labels):
            labels = [trace.operand(t) for t in operands]
        result: Labels | None = None
        for own in labels:
            if own is None:
                continue
            own = Labels(own.unit.expand(out.shape), own.scale.expand(out.shape))
            result = own if result is None else _both(trace, result, own, kind)
        if result is None:
            return
        for operand, own in zip(operands, labels, strict=True):
            if own is not None:
                continue
            if trace.is_named(operand) and operand.is_floating_point():
                result = _parameter(trace, result, operand, kind)
            elif isinstance(operand, Tensor):
                result = _constant(trace, result, operand, kind)
            elif (isinstance(operand, (int, float)) and kind in ("sum", "extreme", "other")) or (
                operand is not None and kind == "quotient" and operand is operands[0]
            ):
                result = trace.no_scale(result)
        trace.put(out, result)

    return rule


def _both(trace: Trace, a: Labels, b: Labels, kind: str) -> Labels:
    """Two activations that meet number by number: their units are one."""
    trace.join(a.unit, b.unit)
    if kind in ("sum", "extreme"):
        trace.join_scales(a.scale, b.scale)
        return a
    trace.no_scale(b)
    return trace.no_scale(a)


def _constant(trace: Trace, labels: Labels, other: Tensor, kind: str) -> Labels:
    """A tensor that no unit owns: it must be the same for all units that it meets."""
    if kind not in ("product", "quotient"):
        labels = trace.no_scale(labels)
    short = collapse(labels.unit)[0]
    axes = [d - labels.unit.dim() + other.dim() for d in varying(short)]
    for axis in axes:
        if axis >= 0 and other.shape[axis] > 1 and not bool((other == other.narrow(axis, 0, 1)).all()):
            trace.fix(labels, "meets data that differ from unit to unit")
            break
    return labels


def _parameter(trace: Trace, labels: Labels, parameter: Tensor, kind: str) -> Labels:
    """A parameter that meets an activation: its axis along which the units change belongs to them."""
    offset = labels.unit.dim() - parameter.dim()
    axes = varying(collapse(labels.unit)[0])
    own = [d - offset for d in axes if d >= offset and parameter.shape[d - offset] > 1]
    if not own:
        return labels if kind in ("product", "quotient") else trace.no_scale(labels)
    axis = own[-1]  # of several axes the last: units that share an index of it become one
    return affine(trace, labels, parameter, axis=axis, at=axis + offset, kind=kind)


def affine(trace: Trace, labels: Labels, parameter: Tensor, *, axis: int, at: int, kind: str) -> Labels:
    """The labels after a parameter was added to, or multiplied into, axis `at`."""
    shape = labels.shape
    trace.join(spread(trace.unit_ids(parameter, axis, THROUGH), shape, at), labels.unit)
    if kind == "sum":
        trace.join_scales(spread(trace.scale_of(parameter, axis, WRITES), shape, at), labels.scale)
        return labels
    if kind == "product":
        trace.join_scales(spread(trace.scale_of(parameter, axis, READS), shape, at), labels.scale)
        line = trace.scale_of(parameter, axis, WRITES)
        return Labels(labels.unit, spread(line, shape, at))
    return trace.no_scale(labels)


def channel_affine(trace: Trace, labels: Labels, weight: object, bias: object, at: int) -> Labels:
    """Scale and shift of a normalisation; without them what comes out has a scale that nothing sets."""
    if isinstance(weight, Tensor):
        labels = (
            affine(trace, labels, weight, axis=0, at=at, kind="product")
            if trace.is_named(weight)
            else _constant(trace, labels, weight, "product")
        )
    if isinstance(bias, Tensor):
        labels = (
            affine(trace, labels, bias, axis=0, at=at, kind="sum")
            if trace.is_named(bias)
            else _constant(trace, labels, bias, "sum")
        )
    return labels


def set_item(trace: Trace, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    trace.give_up("values are written into a tensor in place", [t for t in args if isinstance(t, Tensor)])


def line_or_fix(trace: Trace, labels: Labels, axis: int, reason: str) -> tuple[Tensor, Tensor] | None:
    """Units and scales along one axis; where they depend on others too, they are fixed."""
    unit = along(trace.unit_of(labels.unit), axis)
    scale = along(labels.scale, axis)
    if unit is None:
        trace.fix(labels, reason)
        return None
    if scale is None:
        trace.no_scale(labels)
        scale = torch.zeros_like(unit)
    return unit, scale


RULES: dict[str, Any] = {
    **dict.fromkeys(HOMOGENEOUS, homogeneous),
    **dict.fromkeys(OTHER_UNARY, unary),
    "prelu": prelu,
    **dict.fromkeys(SUMS, many("sum")),
    **dict.fromkeys(EXTREMES, many("extreme")),
    **dict.fromkeys(PRODUCTS, many("product")),
    **dict.fromkeys(QUOTIENTS, many("quotient")),
    **dict.fromkeys(OTHER_MANY, many("other")),
    "setitem": set_item,
}
