"""Any network as a function of a code: its weights are made by a small network, for one code or many at a time."""

import copy
import fnmatch
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from erlangen.nn.hyper.magnitude_invariant import MagnitudeInvariantEncoding

Encoding = Literal["mip", "none", "z1z"]
CORRECTION = 0.1  # how large Δ starts beside θ0
MEAN_SQUARE = {"mip": 1 / 2, "none": 1 / 3, "z1z": 1 / 3}  # of an encoded code whose entries are uniform in [0, 1]


class HyperNet(nn.Module):
    """`y = target(x; θ0 + Δ(E(code)))`: the weights of `target` depend on a code through a multilayer perceptron Δ.

    With `encoding="mip"` all codes have one norm (`MagnitudeInvariantEncoding`), and with `residual` the target keeps its
    own weights θ0, initialised as ever and learned, to which Δ starts as a small correction: together the magnitude
    invariant parametrisation of J. J. Gonzalez Ortiz, J. Guttag, A. Dalca, Magnitude invariant parametrizations improve
    hypernetwork learning, 2024, arXiv:2304.07645. The released code initialises Δ by Kaiming's rule for the fan-out of
    each tensor, which for small targets is more than θ0; here Δ starts a tenth as large as θ0 for targets of all sizes.

    Weights that are not selected are shared by all codes, as are buffers such as running statistics. Parameters that are
    tied in the target stay tied.

    Arguments:
        code_dim: numbers in a code.
        target: the network; it becomes a part of this one.
        hidden: the widths of the perceptron's hidden layers.
        encoding: "mip"; "none", the code as it is; or "z1z", [code, 1 - code].
        residual: whether the target's own weights are added. Without, Δ alone starts as large as they were, on
            average over uniform codes (matrices; vectors, such as the scales of norms, start as they were).
        select: names of the target's parameters that the code changes, or globs (`"head.*"`); `None` is all that train.
        low, high: the range of codes for "mip", one number or one for each entry.
        layer_norm: whether layer norms stand in the perceptron: a remedy that the paper finds not to be enough.

    Raises:
        ValueError: sizes below 1, no parameter selected, a name that matches none, a code of another size, dtype or
            device, a code out of range, or batch norm in training mode with a code for each sample.
    """

    def __init__(
        self,
        code_dim: int,
        target: nn.Module,
        *,
        hidden: Sequence[int] = (16, 64, 128),
        encoding: Encoding = "mip",
        residual: bool = True,
        select: str | Sequence[str] | None = None,
        low: float | Sequence[float] = 0.0,
        high: float | Sequence[float] = 1.0,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        if code_dim < 1 or not hidden or min(hidden) < 1:
            raise ValueError(f"code_dim, hidden: {code_dim}, {tuple(hidden)}; at least 1 and one layer are needed")
        if encoding not in ("mip", "none", "z1z"):
            raise ValueError(f"encoding: {encoding!r}; allowed: 'mip', 'none', 'z1z'")
        self.code_dim, self.encoding, self.residual = code_dim, encoding, residual
        self.encode = MagnitudeInvariantEncoding(low, high) if encoding == "mip" else None
        if self.encode is not None and self.encode.entries not in (None, code_dim):
            raise ValueError(f"low, high: {self.encode.entries} entries for codes of {code_dim} numbers")
        self.target = target
        self.selected = _selected(target, select)
        chosen = [target.get_parameter(name) for name in self.selected]
        self._shapes = [tuple(p.shape) for p in chosen]
        widths = [code_dim if encoding == "none" else 2 * code_dim, *hidden]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Linear(inner, outer), *([nn.LayerNorm(outer)] if layer_norm else []), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-1], sum(p.numel() for p in chosen))
        for part in (self.hidden, self.last):
            part.to(chosen[0])
        self._initialise(chosen)
        if not residual:
            for parameter in chosen:  # the code makes these: what the target holds is never used
                parameter.requires_grad_(False)

    @torch.no_grad()
    def _initialise(self, chosen: list[nn.Parameter]) -> None:
        for layer in self.hidden:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.last.bias)
        # relu layers of this initialisation keep the mean square of what is encoded; a relu halves that of a layer norm
        normed = any(isinstance(layer, nn.LayerNorm) for layer in self.hidden)
        size = math.sqrt(self.last.in_features * (0.5 if normed else MEAN_SQUARE[self.encoding]))
        for weight, bias, parameter in zip(*(self._split(t) for t in self._last_parameters()), chosen, strict=True):
            spread = max(float(parameter.double().square().mean().sqrt()), 1e-3) if parameter.ndim > 1 else 1e-3
            nn.init.normal_(weight, std=spread * (CORRECTION if self.residual else 1.0) / size)
            if not self.residual and parameter.ndim < 2:
                bias.copy_(parameter.flatten())

    def _last_parameters(self) -> tuple[Tensor, Tensor]:
        return self.last.weight.detach(), self.last.bias.detach()

    def _split(self, flat: Tensor) -> tuple[Tensor, ...]:
        return flat.split([math.prod(shape) for shape in self._shapes])

    def weights(self, code: Tensor) -> dict[str, Tensor]:
        """The selected parameters by name: `[*codes, code_dim] -> {name: [*codes, *shape]}`."""
        self._check(code)
        if self.encode is not None:
            code = self.encode(code)
        elif self.encoding == "z1z":
            code = torch.cat([code, 1 - code], -1)
        made = self.last(self.hidden(code)).split([math.prod(shape) for shape in self._shapes], -1)
        parts = {
            name: part.unflatten(-1, shape) if shape else part.squeeze(-1)
            for name, part, shape in zip(self.selected, made, self._shapes, strict=True)
        }
        if self.residual:
            parts = {name: self.target.get_parameter(name) + part for name, part in parts.items()}
        return parts

    def forward(self, *inputs: Tensor, code: Tensor) -> Tensor:
        """The target on `inputs`, with one code for all, `[code_dim]`, or one for each sample, `[batch, code_dim]`."""
        weights = self.weights(code)
        if code.ndim == 1:
            return cast(Tensor, functional_call(self.target, weights, inputs))
        if code.ndim != 2 or any(len(x) != len(code) for x in inputs):
            sizes = [len(x) for x in inputs]
            raise ValueError(
                f"code: shape {list(code.shape)} for batches of {sizes}; allowed: [code_dim], [batch, code_dim]"
            )
        self._refuse_batch_statistics()

        def one(own: dict[str, Tensor], *sample: Tensor) -> Tensor:
            return functional_call(self.target, own, tuple(x.unsqueeze(0) for x in sample)).squeeze(0)

        return vmap(one, randomness="different")(weights, *inputs)

    def each(self, *inputs: Tensor, codes: Tensor) -> Tensor:
        """The whole batch under every one of several codes: `[codes, code_dim] -> [codes, batch, ...]`, in one pass."""
        if codes.ndim != 2:
            raise ValueError(f"codes: shape {list(codes.shape)}; [codes, code_dim] is needed")
        self._refuse_batch_statistics()
        weights = self.weights(codes)

        def one(own: dict[str, Tensor]) -> Tensor:
            return cast(Tensor, functional_call(self.target, own, inputs))

        return vmap(one, randomness="different")(weights)

    def _check(self, code: Tensor) -> None:
        if code.ndim < 1 or code.shape[-1] != self.code_dim:
            raise ValueError(f"code: shape {list(code.shape)}; codes of {self.code_dim} numbers are needed")
        weight = self.last.weight
        if code.dtype != weight.dtype or code.device != weight.device:
            raise ValueError(
                f"code: {code.dtype} on {code.device}; the network has {weight.dtype} on {weight.device}, "
                "which the code must share"
            )

    def _refuse_batch_statistics(self) -> None:
        for name, module in self.target.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                raise ValueError(
                    f"target: {name!r} updates batch statistics, which codes cannot share; use eval() or nn.GroupNorm"
                )

    def extra_repr(self) -> str:
        return f"code_dim={self.code_dim}, encoding={self.encoding!r}, residual={self.residual}, selected={len(self.selected)}"


def _selected(target: nn.Module, select: str | Sequence[str] | None) -> list[str]:
    """The names of the selected parameters, each once: of tied ones the first."""
    every = dict(target.named_parameters(remove_duplicate=False))
    first: dict[int, str] = {}
    for name, parameter in every.items():
        first.setdefault(id(parameter), name)
    if select is None:
        names = [name for name, parameter in every.items() if parameter.requires_grad]
    else:
        patterns = [select] if isinstance(select, str) else list(select)
        for pattern in patterns:
            if not fnmatch.filter(every, pattern):
                raise ValueError(f"select: {pattern!r} matches no parameter; there are {', '.join(every) or 'none'}")
        names = [name for name in every if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    chosen = list(dict.fromkeys(first[id(every[name])] for name in names))
    if not chosen:
        raise ValueError(f"select: {select!r} leaves no parameter of {type(target).__name__} for the code to change")
    kinds = {(every[name].dtype, every[name].device) for name in chosen}
    if len(kinds) > 1 or not every[chosen[0]].is_floating_point():
        raise ValueError(
            f"target: parameters of kinds {sorted(map(str, kinds))}; one floating point dtype and device are needed"
        )
    return chosen


def hypernetize(module: nn.Module, code_dim: int, **options: object) -> HyperNet:
    """`module` with weights that depend on a code: `net(x, code=code)` in place of `module(x)`.

    A copy is made: the module itself stays as it is. `options` are those of `HyperNet`, as `select="head.*"`.

        net = hypernetize(model, 2)
        y = net(x, code=torch.tensor([0.3, 0.9]))
        every = net.each(x, codes=torch.rand(32, 2))
    """

    return HyperNet(code_dim, copy.deepcopy(module), **options)  # type: ignore[arg-type]
