"""Which weights a network multiplies, what nonlinearity stands before each, and which of them end a residual branch."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from erlangen.stats.activations import Activation

_PRODUCTS: dict[Any, int] = {
    functional.linear: 0,
    torch.nn.functional.conv1d: 1,
    torch.nn.functional.conv2d: 1,
    torch.nn.functional.conv3d: 1,
}
_TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
_NORMS = (
    functional.batch_norm,
    functional.layer_norm,
    functional.group_norm,
    functional.instance_norm,
    functional.rms_norm,
)
_ADDS = (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__)
_BY_NAME = {
    "relu": "relu",
    "relu_": "relu",
    "leaky_relu": "leaky_relu",
    "leaky_relu_": "leaky_relu",
    "tanh": "tanh",
    "tanh_": "tanh",
    "sigmoid": "sigmoid",
    "gelu": "gelu",
    "silu": "swish",
    "mish": "mish",
    "softplus": "softplus",
    "elu": "elu",
    "elu_": "elu",
    "selu": "selu",
    "selu_": "selu",
    "softsign": "softsign",
    "hardtanh": "hardtanh",
    "relu6": "relu6",
    "hardswish": "hardswish",
    "erf": "erf",
    "sin": "sin",
    "cos": "cos",
    "abs": "abs",
}


@dataclass(frozen=True)
class Weight:
    """One weight in the order in which the network uses it.

    `before` is the activation that the input has been through (None for the network's own input and after a norm),
    `after` the one that its output goes to; `normalised` whether a norm stands in between, `branch_end` whether the
    output is added to a skip. `square` is the measured mean square of a single input feature, `before_square` that of
    the pre-activations that went into `before`, `slope_square` the mean square of its derivative there.
    """

    name: str
    weight: Tensor = field(repr=False)
    bias: Tensor | None = field(repr=False)
    fan_in: int
    fan_out: int
    before: Activation | None = None
    after: Activation | None = None
    normalised: bool = False
    branch_end: bool = False
    square: float = 1.0
    before_square: float = math.nan
    slope_square: float = math.nan


@dataclass
class _Flow:
    """What is known of a tensor: its last activation, and the weights that made it."""

    activation: Activation | None = None
    made_by: tuple[str, ...] = ()
    fresh: bool = False  # nothing but sums and shapes since a weight: an activation here follows that weight
    normalised: bool = False
    square: float = math.nan
    slope: float = math.nan


class _Tracer(TorchFunctionMode):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {id(p): n for n, p in model.named_parameters()}
        self.flows: dict[int, _Flow] = {}
        self.alive: list[Tensor] = []
        self.found: dict[str, Weight] = {}
        self.outputs: dict[str, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flows = [self.flows[id(a)] for a in _tensors(args, kwargs) if id(a) in self.flows]
        before = list(flows)
        name = getattr(func, "__name__", "")
        stage = _Stage(name, args, kwargs) if name in _BY_NAME else None  # looked at before it can write over its input
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            result = self._follow(func, args, kwargs, result, before, stage)
        elif isinstance(result, tuple | list):
            for part in result:
                if isinstance(part, Tensor):
                    self._keep(part, before[0] if before else _Flow())
        return result

    def _keep(self, value: Tensor, flow: _Flow) -> None:
        self.alive.append(value)  # ids stay unique while the tensors live
        self.flows[id(value)] = flow

    def _follow(
        self, func: Any, args: Any, kwargs: Any, result: Tensor, flows: list[_Flow], stage: "_Stage | None"
    ) -> Tensor:
        if func in _PRODUCTS or func in _TRANSPOSED:
            weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
            bias = kwargs.get("bias", args[2] if len(args) > 2 else None)
            source = kwargs.get("input", args[0] if args else None)
            if id(weight) in self.names:
                made = self._weight(weight, bias, source, transposed=func in _TRANSPOSED)
                if made not in self.outputs:
                    self.outputs[made] = result
                    result = result.clone()  # what comes next may write over it
                self._keep(result, _Flow(None, (made,), True))
                return result
        if func in _NORMS:
            for flow in flows:
                self._mark(flow, normalised=True)
            self._keep(result, _Flow(None, flows[0].made_by if flows else (), bool(flows and flows[0].fresh), True))
            return result
        if stage is not None:
            activation = stage.activation
            made_by = flows[0].made_by if flows else ()
            if flows and flows[0].fresh:
                for weight_name in made_by:
                    self.found[weight_name] = replace(self.found[weight_name], after=activation)
            self._keep(result, _Flow(activation, made_by, square=stage.square, slope=stage.slope))
            return result
        if func in _ADDS and len(flows) >= 2:
            fresh = [f for f in flows if f.fresh]
            skip = [f for f in flows if not f.fresh]
            ends = fresh if skip else fresh[1:]  # the later weights end a branch that is added to the earlier
            if not skip and len(fresh) > 1:
                order = list(self.found)
                fresh.sort(key=lambda f: max(order.index(n) for n in f.made_by))
                ends = fresh[1:]
            for flow in ends:
                for weight_name in flow.made_by[-1:]:
                    self.found[weight_name] = replace(self.found[weight_name], branch_end=True)
            summands = tuple(dict.fromkeys(n for f in fresh for n in f.made_by))
            self._keep(result, _Flow(None, summands, bool(fresh)))
            return result
        if flows:
            self._keep(result, flows[0])
        return result

    def _mark(self, flow: _Flow, *, normalised: bool) -> None:
        if flow.fresh:
            for name in flow.made_by:
                self.found[name] = replace(self.found[name], normalised=normalised)

    def _weight(self, weight: Tensor, bias: Any, source: Any, *, transposed: bool) -> str:
        name = self.names[id(weight)]
        if name in self.found:
            return name
        flow = self.flows.get(id(source), _Flow())
        outputs, inputs = weight.shape[0], weight.shape[1]
        window = weight[0, 0].numel() if weight.dim() > 2 else 1
        if transposed:
            outputs, inputs = inputs, outputs
        square = float(source.detach().double().square().mean()) if isinstance(source, Tensor) else 1.0
        self.found[name] = Weight(
            name,
            weight,
            bias if isinstance(bias, Tensor) else None,
            inputs * window,
            outputs * window,
            before=flow.activation,
            square=square,
            before_square=flow.square,
            slope_square=flow.slope,
        )
        return name


def trace_weights(model: nn.Module, x: Tensor) -> list[Weight]:
    """The weights of `model` in the order of use, from one run on `x` in evaluation mode.

    Every call of a linear map, a convolution, an activation, a norm or a sum is seen, whether it comes from a module or
    from a function in `forward`; other operations are taken to leave scales alone. The model is left as it was.
    """
    return list(run_traced(model, x)[0].found.values())


def run_traced(model: nn.Module, x: Tensor, *, gradients: bool = False) -> tuple[_Tracer, Any]:
    """The tracer of one run in evaluation mode, and what the model returned."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    tracer = _Tracer(model)
    try:
        with torch.set_grad_enabled(gradients), tracer:
            output = model(x)
    finally:
        for module, training in modes.items():
            module.training = training
        tracer.flows.clear()
        tracer.alive.clear()
    if not gradients:
        tracer.outputs.clear()
    return tracer, output


class _Stage:
    """An activation about to be applied, with the mean squares of its input and of its derivative there."""

    def __init__(self, name: str, args: Any, kwargs: Any) -> None:
        self.activation = _activation(name, args, kwargs)
        self.square = self.slope = math.nan
        source = kwargs.get("input", args[0] if args else None)
        if isinstance(source, Tensor) and source.is_floating_point() and source.numel():
            z = source.detach().double()
            self.square = float(z.square().mean())
            smooth = self.activation.has_derivative
            self.slope = float(self.activation.derivative(z).square().mean()) if smooth else math.inf


def _activation(name: str, args: Any, kwargs: Any) -> Activation:
    if name in ("leaky_relu", "leaky_relu_"):
        slope = kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)
        return Activation(nn.LeakyReLU(float(slope)))
    if name == "gelu" and kwargs.get("approximate", "none") == "tanh":
        return Activation("gelu_tanh")
    return Activation(_BY_NAME[name])


def _tensors(args: Any, kwargs: Any) -> list[Tensor]:
    found = []
    for value in [*args, *kwargs.values()]:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [v for v in value if isinstance(v, Tensor)]
    return found
