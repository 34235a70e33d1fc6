"""How far the weights of a network are from equivariant for several candidate groups, as a loss and as a reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups import Homomorphism
from erlangen.groups.representations import Rep
from erlangen.groups.solve import Projector, projector
from erlangen.objectives.terms import LossTerms


@dataclass(frozen=True)
class Discovered:
    """What a trained network says about one candidate group.

    Attributes:
        residual: R per constrained weight, 0 where all layers are equivariant.
        function_error: relative error of f(g·x) = g·f(x) over drawn elements; None where no inputs were given.
        strength: the weight λ of this group's penalty.
        exact: whether R vanishes to rounding.
    """

    residual: float
    function_error: float | None
    strength: float
    exact: bool


class EquivarianceRegularizer:
    """R_k = Σ_layers ½ ‖W - P_k W‖² + ½ ‖b - P_k b‖² for candidate groups k, P_k the orthogonal projection on Hom_{G_k}.

    The gradient of R_k is W - P_k W; R_k = 0 exactly when every layer is equivariant for group k, and a larger group
    has the larger R. R lives in parameter space: rescaling layers changes it, and two breaks that cancel count; the
    function's own error is in `discovered`.

    Args:
        module: a network whose layers carry `rep_in` and `rep_out` (such as `SoftEquivariantMLP`), or any network with
            `reps`.
        groups: name -> subgroup of the representations' group: a `Homomorphism` into it, or a name such as "SO(2)_z".
        reps: layer name -> (V, W), for `nn.Linear` layers of a network of your own.

    Raises:
        ValueError: a layer without representations, representations that do not fit a layer, or no groups.

    Source: H. Kim, H. Lee, H. Yang, J. Lee, "Regularizing Towards Soft Equivariance Under Mixed Symmetries", 2023,
    arXiv:2306.00356.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        groups: Mapping[str, Any],
        reps: Mapping[str, tuple[Rep, Rep]] | None = None,
    ) -> None:
        if not groups:
            raise ValueError("groups: none given; name at least one candidate, such as {'z': 'SO(2)_z'}")
        self.module = module
        self._layers = _layers(module, reps)
        ambient = next(iter(self._layers.values()))[1].group
        self.groups: dict[str, Homomorphism] = {
            name: g if isinstance(g, Homomorphism) else ambient.subgroup(g) for name, g in groups.items()
        }
        self._projectors: dict[str, list[tuple[nn.Module, Projector, Projector]]] = {}
        self.constrained: dict[str, int] = {}
        for name, hom in self.groups.items():
            if hom.target != ambient:
                raise ValueError(
                    f"groups: {name!r} maps into {hom.target}, but the layers are representations of {ambient}"
                )
            rows = []
            for layer, rep_in, rep_out in self._layers.values():
                small_in, small_out = rep_in.restrict(hom), rep_out.restrict(hom)
                rows.append((layer, projector(small_in, small_out), projector(hom.source.trivial(), small_out)))
            self._projectors[name] = rows
            self.constrained[name] = sum(
                p.shape[0] - p.rank + (q.shape[0] - q.rank if layer.bias is not None else 0) for layer, p, q in rows
            )

    def values(self, *, normalize: bool = False) -> dict[str, Tensor]:
        """R_k by name; with `normalize` divided by how many directions the group constrains, to compare groups."""
        out: dict[str, Tensor] = {}
        for name, rows in self._projectors.items():
            total = torch.zeros((), dtype=rows[0][0].weight.dtype, device=rows[0][0].weight.device)  # type: ignore[arg-type]
            for layer, on_weight, on_bias in rows:
                weight: Any = layer.weight
                bias: Any = layer.bias
                # ½‖W - PW‖² has the gradient W - PW also with PW held fixed, as P is an orthogonal projection.
                total = total + 0.5 * (weight - on_weight(weight.detach())).square().sum()
                if bias is not None:
                    total = total + 0.5 * (bias - on_bias(bias.detach()[:, None])[:, 0]).square().sum()
            out[name] = total / max(self.constrained[name], 1) if normalize else total
        return out

    def loss(self, weights: Mapping[str, float] | float) -> LossTerms:
        """Σ_k λ_k R_k as named terms; a number stands for the same λ everywhere.

        Raises:
            ValueError: a negative λ, or a name that is no candidate.
        """
        if isinstance(weights, Mapping):
            unknown = sorted(set(weights) - set(self.groups))
            if unknown:
                raise ValueError(f"weights: {', '.join(unknown)} unknown; the candidates are {', '.join(self.groups)}")
            strengths = {name: float(weights.get(name, 0.0)) for name in self.groups}
        else:
            strengths = dict.fromkeys(self.groups, float(weights))
        wrong = {name: value for name, value in strengths.items() if not value >= 0}
        if wrong:
            raise ValueError(f"weights: must be at least 0, given {wrong}")
        return LossTerms({name: (value, strengths[name]) for name, value in self.values().items()})

    def discovered(
        self,
        weights: Mapping[str, float] | None = None,
        *,
        inputs: Tensor | None = None,
        elements: int = 8,
        generator: torch.Generator | None = None,
    ) -> dict[str, Discovered]:
        """What the network says about each candidate; with `inputs` `[B, dim in]` also its error as a function."""
        residuals = self.values(normalize=True)
        out = {}
        for name, hom in self.groups.items():
            error = None if inputs is None else self._function_error(hom, inputs, elements, generator)
            residual = float(residuals[name])
            scale = float(sum(w.detach().square().mean() for w in self._weights()))
            out[name] = Discovered(residual, error, float((weights or {}).get(name, 0.0)), residual <= 1e-12 * scale)
        return out

    def _weights(self) -> list[Tensor]:
        return [layer.get_parameter("weight") for layer, _, _ in self._layers.values()]

    def _function_error(
        self, hom: Homomorphism, inputs: Tensor, elements: int, generator: torch.Generator | None
    ) -> float:
        order = list(self._layers.values())
        first, last = order[0], order[-1]
        rep_in, rep_out = first[1].restrict(hom), last[2].restrict(hom)
        with torch.no_grad():
            plain = self.module(inputs)
            g: Any = hom.source.sample(elements, generator=generator, dtype=torch.float64)
            turn_in, turn_out = rep_in.matrix(g, inputs.dtype), rep_out.matrix(g, plain.dtype)
            moved = self.module(torch.einsum("kij,bj->kbi", turn_in, inputs).flatten(0, 1)).unflatten(0, (elements, -1))
            want = torch.einsum("kij,bj->kbi", turn_out, plain)
            return float((moved - want).norm() / want.norm())


def _layers(module: nn.Module, reps: Mapping[str, tuple[Rep, Rep]] | None) -> dict[str, tuple[nn.Module, Rep, Rep]]:
    found: dict[str, tuple[nn.Module, Rep, Rep]] = {}
    missing: list[str] = []
    names = {name for name, _ in module.named_modules()}
    unknown = sorted(set(reps or {}) - names)
    if unknown:
        raise ValueError(f"reps: {', '.join(unknown)} are no layers of the module")
    for name, layer in module.named_modules():
        if reps is not None and name in reps:
            found[name] = (layer, *reps[name])
        elif hasattr(layer, "rep_in") and hasattr(layer, "rep_out") and hasattr(layer, "weight"):
            found[name] = (layer, layer.rep_in, layer.rep_out)  # type: ignore[assignment]
        elif isinstance(layer, nn.Linear):
            missing.append(name)
    if missing or not found:
        named = ", ".join(missing) or "none has any"
        raise ValueError(f"reps: layers without representations: {named}; give reps={{'layer': (rep_in, rep_out)}}")
    for name, (layer, rep_in, rep_out) in found.items():
        shape = tuple(layer.weight.shape)  # type: ignore[union-attr, arg-type]
        if shape != (rep_out.dim, rep_in.dim):
            raise ValueError(
                f"reps: layer {name!r} has weights {shape}, but {rep_in} -> {rep_out} needs {(rep_out.dim, rep_in.dim)}"
            )
    return found
