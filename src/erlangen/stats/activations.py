"""Activations as theory needs them: the function, its derivative, its parity, where it bends, and its closed forms."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from erlangen._registry import unknown_name
from erlangen.stats.gaussian_closed_forms import CLOSED_FORMS, Pair, rectifier

Function = Callable[[Tensor], Tensor]
Parity = Literal["odd", "even", "none"]

_SELU = (1.0507009873554805, 1.6732632423543772)


@dataclass(frozen=True)
class _Entry:
    function: Function
    kinks: tuple[float, ...] = ()
    slopes: tuple[float, float] | None = None
    has_derivative: bool = True


def _leaky(z: Tensor, slope: float) -> Tensor:
    return torch.where(z > 0, z, slope * z)


_TABLE: dict[str, _Entry] = {
    "linear": _Entry(lambda z: z, slopes=(1.0, 1.0)),
    "relu": _Entry(torch.relu, (0.0,), (0.0, 1.0)),
    "leaky_relu": _Entry(partial(_leaky, slope=0.01), (0.0,), (0.01, 1.0)),
    "abs": _Entry(torch.abs, (0.0,), (-1.0, 1.0)),
    "tanh": _Entry(torch.tanh),
    "erf": _Entry(torch.erf),
    "sin": _Entry(torch.sin),
    "cos": _Entry(torch.cos),
    "exp": _Entry(torch.exp),
    "sigmoid": _Entry(torch.sigmoid),
    "softplus": _Entry(lambda z: torch.logaddexp(z, torch.zeros_like(z))),  # torch's own switches to z at 20
    "gelu": _Entry(functional.gelu),
    "gelu_tanh": _Entry(lambda z: functional.gelu(z, approximate="tanh")),
    "swish": _Entry(functional.silu),
    "mish": _Entry(functional.mish),
    "elu": _Entry(functional.elu, (0.0,)),
    "selu": _Entry(functional.selu, (0.0,)),
    "softsign": _Entry(functional.softsign, (0.0,)),
    "hardtanh": _Entry(functional.hardtanh, (-1.0, 1.0)),
    "relu6": _Entry(functional.relu6, (0.0, 6.0)),
    "hardswish": _Entry(functional.hardswish, (-3.0, 3.0)),
    "sign": _Entry(torch.sign, (0.0,), has_derivative=False),
    "step": _Entry(lambda z: torch.heaviside(z, z.new_tensor(0.5)), (0.0,), has_derivative=False),
}
_ALIASES = {"silu": "swish", "identity": "linear", "perceptron": "sign", "heaviside": "step"}
_MODULES: dict[type[nn.Module], str] = {
    nn.Identity: "linear",
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Softplus: "softplus",
    nn.SiLU: "swish",
    nn.Mish: "mish",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.Softsign: "softsign",
    nn.Hardtanh: "hardtanh",
    nn.ReLU6: "relu6",
    nn.Hardswish: "hardswish",
}
_FUNCTIONS: dict[Any, str] = {
    functional.relu: "relu",
    torch.relu: "relu",
    functional.tanh: "tanh",
    torch.tanh: "tanh",
    functional.sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid",
    functional.gelu: "gelu",
    functional.silu: "swish",
    functional.mish: "mish",
    functional.softplus: "softplus",
    functional.elu: "elu",
    functional.selu: "selu",
    torch.erf: "erf",
    torch.sin: "sin",
    torch.cos: "cos",
    torch.abs: "abs",
}


class Activation:
    """An activation by name, or any function or module that acts on every number by itself.

    `kinks` are the points where the function or its derivative jumps (0 is always treated as one); `slopes` the two
    slopes of a function that is linear on both half lines, else None. For a function of the user's, parity and slopes
    are found by looking, the derivative by automatic differentiation.

    Raises ValueError for an unknown name or a function that does not keep the shape of what it gets.
    """

    def __init__(self, function: "str | Activation | Function", *, kinks: tuple[float, ...] | None = None) -> None:
        name, entry = _find(function)
        self.name = name
        self.function: Function = entry.function
        self.kinks = tuple(sorted({0.0, *(entry.kinks if kinks is None else kinks)}))
        self.has_derivative = entry.has_derivative
        z = torch.linspace(-7.0, 7.0, 1001, dtype=torch.float64)[1:-1] + 1e-3
        value = self(z)
        if value.shape != z.shape:
            raise ValueError(f"function: maps shape {tuple(z.shape)} to {tuple(value.shape)}; it must keep the shape")
        mirrored = self(-z)
        self.parity: Parity = "none"
        if torch.allclose(mirrored, -value, rtol=1e-9, atol=1e-12):
            self.parity = "odd"
        elif torch.allclose(mirrored, value, rtol=1e-9, atol=1e-12):
            self.parity = "even"
        self.slopes = entry.slopes or _slopes(self)
        pair = rectifier(*self.slopes) if self.slopes else CLOSED_FORMS.get(name)
        self.pair: Pair | None = pair[0] if pair else None
        self.pair_slope: Pair | None = pair[1] if pair else None

    def __call__(self, z: Tensor) -> Tensor:
        return self.function(z)

    def derivative(self, z: Tensor, order: int = 1) -> Tensor:
        """The derivative of an order at every number of `z`."""
        if not self.has_derivative:
            raise ValueError(f"activation: {self.name!r} jumps; it has no derivative to take moments of")
        with torch.inference_mode(False), torch.enable_grad():
            at = z.detach().clone().requires_grad_(True)
            value = self(at)
            for _ in range(order):
                if not value.requires_grad:
                    return torch.zeros_like(z)
                value = torch.autograd.grad(value.sum(), at, create_graph=True)[0]
        return value.detach()

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"


def _find(function: "str | Activation | Function") -> tuple[str, _Entry]:
    if isinstance(function, Activation):
        return function.name, _Entry(function.function, function.kinks, function.slopes, function.has_derivative)
    if isinstance(function, str):
        name = _ALIASES.get(function, function)
        if name not in _TABLE:
            raise unknown_name("activation", function, [*_TABLE, *_ALIASES])
        return name, _TABLE[name]
    if isinstance(function, nn.LeakyReLU):
        slope = function.negative_slope
        return f"leaky_relu({slope:g})", _Entry(partial(_leaky, slope=slope), (0.0,), (slope, 1.0))
    if isinstance(function, nn.GELU):
        name = "gelu" if function.approximate == "none" else "gelu_tanh"
        return name, _TABLE[name]
    known = _MODULES.get(type(function)) if isinstance(function, nn.Module) else None  # type: ignore[arg-type]
    known = known if known is not None and _is_default(function, known) else None
    if known is None and not isinstance(function, nn.Module):
        known = _FUNCTIONS.get(function)
    if known is not None:
        return known, _TABLE[known]
    if not callable(function):
        raise TypeError(f"activation: got {type(function).__name__}; it must be a name or a function of a tensor")
    return getattr(function, "__name__", type(function).__name__), _Entry(function)


def _is_default(module: Any, name: str) -> bool:
    """Whether a module with options of its own (ELU's alpha) computes what the table has under its name."""
    z = torch.linspace(-8, 8, 65, dtype=torch.float64)
    return torch.equal(module(z.clone()), _TABLE[name].function(z.clone()))


def _slopes(activation: Activation) -> tuple[float, float] | None:
    """The two slopes of a function that is linear on both half lines, else None."""
    z = torch.logspace(-3, 3, 61, dtype=torch.float64)
    positive, negative = activation(z) / z, activation(-z) / -z
    steady = all(
        bool(torch.isfinite(s).all()) and float(s.max() - s.min()) < 1e-12 * float(s.abs().max() + 1)
        for s in (positive, negative)
    )
    return (float(negative[0]), float(positive[0])) if steady else None
