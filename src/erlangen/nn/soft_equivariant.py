"""A network whose layers may be equivariant, nearly, or not at all: what soft equivariance trains."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import Homomorphism
from erlangen.groups.representations import Rep, SumRep
from erlangen.groups.solve import Projector, projector
from erlangen.groups.symmetry import Case, Symmetry


class SoftLinear(nn.Module):
    """A dense linear layer that knows the representations it maps between: `[*B, dim in] -> [*B, dim out]`.

    The weight starts on Hom_G(V, W) of the representations' group, with rows of mean square norm 1, and is free to
    leave it; `constrain` keeps the layer on the equivariant maps of a subgroup.

    Args:
        rep_in: V.
        rep_out: W, of the same group.
        bias: whether a bias is added; it starts at 0.
        generator: of the initial weights.
    """

    def __init__(
        self, rep_in: Rep, rep_out: Rep, *, bias: bool = True, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if rep_in.group != rep_out.group:
            raise ValueError(f"rep_out: {rep_out} is of {rep_out.group}, but {rep_in} is of {rep_in.group}")
        self.rep_in, self.rep_out = rep_in, rep_out
        start = torch.randn(rep_out.dim, rep_in.dim, generator=generator, dtype=torch.float64)
        start = projector(rep_in, rep_out)(start)
        size = start.norm()
        if float(size) > 0:
            start = start * (rep_out.dim**0.5 / size)
        self.weight = nn.Parameter(start.to(torch.get_default_dtype()))
        self.bias = nn.Parameter(torch.zeros(rep_out.dim)) if bias else None
        self._constraint: Homomorphism | None = None
        self._known: dict[Homomorphism, tuple[Projector, Projector]] = {}

    def constrain(self, hom: Homomorphism | None) -> None:
        """Use P W and P b in place of W and b from now on, P the projection for a subgroup; None lifts it."""
        self._constraint = hom

    def project_(self, hom: Homomorphism) -> None:
        """Replace the weights by the nearest equivariant ones, once."""
        with torch.no_grad():
            weight, bias = self._projected(hom)
            self.weight.copy_(weight)
            if self.bias is not None and bias is not None:
                self.bias.copy_(bias)

    def _projected(self, hom: Homomorphism) -> tuple[Tensor, Tensor | None]:
        if hom not in self._known:
            rep_in, rep_out = self.rep_in.restrict(hom), self.rep_out.restrict(hom)
            self._known[hom] = projector(rep_in, rep_out), projector(hom.source.trivial(), rep_out)
        on_weight, on_bias = self._known[hom]
        return on_weight(self.weight), None if self.bias is None else on_bias(self.bias[:, None])[:, 0]

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        weight, bias = (self.weight, self.bias) if self._constraint is None else self._projected(self._constraint)
        return nn.functional.linear(x, weight, bias)

    def extra_repr(self) -> str:
        return f"{self.rep_in} -> {self.rep_out}"


class BilinearGate(nn.Module):
    """B(y): products of pairs of parts of y contracted by the equivariant maps of the whole group, `[*B, d] -> [*B, d]`.

    Equivariant whatever its weights. For every triple of types with Hom(V_p ⊗ V_q, V_a) ≠ 0, each copy of V_a gets
    one product of fixed random copies of V_p and V_q, with a learned weight a map. Triples whose product of dimensions
    exceeds `max_path` are left out: the cost of a product grows with it.
    """

    def __init__(self, rep: Rep, *, max_path: int = 128, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.rep = rep
        types = _runs(rep)
        self._paths: list[tuple[slice, slice, slice, tuple[int, int, int]]] = []
        self.weights = nn.ParameterList()
        self._maps: list[Tensor] = []  # float64: a module cast to double has to be exact
        self._cast: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for i, (left, place_left, copies_left) in enumerate(types):
            for right, place_right, copies_right in types[i:]:
                for out, place_out, copies_out in types:
                    if left.dim * right.dim * out.dim > max_path:
                        continue
                    maps = (left @ right).hom_basis(out)
                    if not len(maps):
                        continue
                    maps = maps.unflatten(-1, (left.dim, right.dim)) * (left.dim * right.dim) ** 0.5
                    number = len(self._paths)
                    self._maps.append(maps)
                    for side, copies in (("left", copies_left), ("right", copies_right)):
                        chosen = torch.randint(copies, (copies_out,), generator=generator)
                        self.register_buffer(f"{side}{number}", chosen)
                    start = 0.1 * torch.randn(copies_out, len(maps), generator=generator) / len(maps) ** 0.5
                    self.weights.append(nn.Parameter(start))
                    self._paths.append((place_left, place_right, place_out, (left.dim, right.dim, out.dim)))

    def forward(self, y: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        pieces: dict[int, list[Tensor]] = {}
        key = (y.dtype, y.device)
        if key not in self._cast:
            self._cast[key] = [m.to(y) for m in self._maps]
        for number, ((place_left, place_right, place_out, dims), weight) in enumerate(
            zip(self._paths, self.weights, strict=True)
        ):
            left = y[..., place_left].unflatten(-1, (-1, dims[0]))[..., getattr(self, f"left{number}"), :]
            right = y[..., place_right].unflatten(-1, (-1, dims[1]))[..., getattr(self, f"right{number}"), :]
            kernel = torch.einsum("cr,raij->caij", weight, self._cast[key][number])
            half = torch.einsum("caij,...cj->...cai", kernel, right)
            pieces.setdefault(place_out.start, []).append((half @ left[..., None])[..., 0].flatten(-2))
        filled = []
        for _, run, _ in _runs(self.rep):
            found = pieces.get(run.start)
            filled.append(torch.stack(found).sum(0) if found else torch.zeros_like(y[..., run]))
        return torch.cat(filled, -1)


class Gate(nn.Module):
    """Scalars pass a SiLU; every other part is multiplied by the sigmoid of a scalar of its own, `[*B, gates + d]` ->
    `[*B, d]`: equivariant for every subgroup."""

    def __init__(self, rep: Rep) -> None:
        super().__init__()
        parts = rep.parts if isinstance(rep, SumRep) else (rep,)
        self.scalars = sum(p.dim for p in parts if p.is_trivial)
        sizes = [p.dim for p in parts if not p.is_trivial]
        if any(not a.is_trivial and b.is_trivial for a, b in pairwise(parts)):
            raise ValueError(f"rep: trivial parts have to come first, given {rep}")
        self.gates = len(sizes)
        self.register_buffer(
            "owner", torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes, dtype=torch.int64))
        )

    def forward(self, y: Float[Tensor, "*batch gated"]) -> Float[Tensor, "*batch d"]:
        owner: Any = self.owner
        gates, scalars, rest = y.split([self.gates, self.scalars, len(owner)], -1)
        return torch.cat([nn.functional.silu(scalars), rest * torch.sigmoid(gates)[..., owner]], -1)


class SoftEquivariantMLP(nn.Module):
    """Linear maps, bilinear products and gates between representations, with dense linear weights: `[*B, dim in]` ->
    `[*B, dim out]`.

    y = W x + b, z = gate(y + B(y)), `depth` times, then a last linear map. B and the gates are equivariant for the
    whole group; only the linear maps can break a symmetry, and `objectives.EquivarianceRegularizer` measures by how
    much. `constrain("O(3)")` makes the network exactly equivariant and keeps it so in training: the parametrisation of
    M. Finzi, M. Welling, A. Wilson, "A Practical Method for Constructing Equivariant Multilayer Perceptrons for
    Arbitrary Matrix Groups", 2021, arXiv:2104.09459.

    Source: H. Kim, H. Lee, H. Yang, J. Lee, "Regularizing Towards Soft Equivariance Under Mixed Symmetries", 2023,
    arXiv:2306.00356. There the bilinear layer draws its products at random within tensors; here it takes all maps of
    Hom(V_p ⊗ V_q, V_a).

    Args:
        rep_in: of the inputs.
        rep_out: of the outputs, of the same group.
        hidden: of the hidden layers: any sum; its parts are sorted by type, scalars first.
        depth: how many hidden layers.
        bilinear: whether the products are there.
        generator: of the initial weights.
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        *,
        hidden: Rep,
        depth: int = 3,
        bilinear: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth: expected at least 1 hidden layer, given {depth}")
        self.rep_in, self.rep_out, self.hidden = rep_in, rep_out, _sorted(hidden)
        self.group = rep_in.group
        gate = Gate(self.hidden)
        gated = SumRep(*[self.group.trivial()] * gate.gates, self.hidden) if gate.gates else self.hidden
        self.layers = nn.ModuleList()
        previous = rep_in
        for _ in range(depth):
            self.layers.append(
                nn.ModuleDict(
                    {
                        "linear": SoftLinear(previous, gated, generator=generator),
                        "product": BilinearGate(gated, generator=generator) if bilinear else nn.Identity(),
                        "gate": Gate(self.hidden),
                    }
                )
            )
            previous = self.hidden
        self.bilinear = bilinear
        self.last = SoftLinear(previous, rep_out, generator=generator)
        self._constraint: Homomorphism | None = None

    def linears(self) -> dict[str, SoftLinear]:
        """The layers that can break a symmetry, by name."""
        return {name: m for name, m in self.named_modules() if isinstance(m, SoftLinear)}

    def constrain(self, group: Any) -> SoftEquivariantMLP:
        """Keep every linear map equivariant for a subgroup (a `Homomorphism`, or its name such as "SO(2)_z"), the
        weights being projected at every pass; None lifts it. Returns the module."""
        self._constraint = _as_hom(self.group, group)
        for layer in self.linears().values():
            layer.constrain(self._constraint)
        return self

    def project_(self, group: Any) -> SoftEquivariantMLP:
        """Replace all linear weights by the nearest equivariant ones, once. Returns the module."""
        hom = _as_hom(self.group, group)
        if hom is None:
            raise ValueError("group: None names no subgroup; give a Homomorphism or a name such as 'SO(2)_z'")
        for layer in self.linears().values():
            layer.project_(hom)
        return self

    @property
    def symmetries(self) -> list[Symmetry]:
        """Equivariance under the subgroup that `constrain` set; none without it."""
        return [] if self._constraint is None else [self.symmetry(self._constraint)]

    def symmetry(self, group: Any) -> Symmetry:
        """Equivariance from the inputs' to the outputs' representation, for a subgroup."""
        from erlangen.groups.actions.linear import Linear

        hom = _as_hom(self.group, group)
        if hom is None:
            raise ValueError("group: None names no subgroup; give a Homomorphism or a name such as 'SO(2)_z'")
        return Symmetry(hom.source, Linear(self.rep_in.restrict(hom)), Linear(self.rep_out.restrict(hom)))

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        for layer in self.layers:
            y = layer["linear"](x)  # type: ignore[operator, index]
            if self.bilinear:
                y = y + layer["product"](y)  # type: ignore[operator, index]
            x = layer["gate"](y)  # type: ignore[operator, index]
        return self.last(x)


def _as_hom(group: Any, wanted: Any) -> Homomorphism | None:
    if wanted is None or isinstance(wanted, Homomorphism):
        return wanted
    found = group.subgroup(wanted)
    assert isinstance(found, Homomorphism)
    return found


def _sorted(rep: Rep) -> Rep:
    parts = list(rep.parts) if isinstance(rep, SumRep) else [rep]
    order = {p: i for i, p in reversed(list(enumerate(parts)))}
    return SumRep(*sorted(parts, key=lambda p: (not p.is_trivial, p.dim, order[p])))


def _runs(rep: Rep) -> list[tuple[Rep, slice, int]]:
    """Neighbouring equal parts: the part, where the run lies, how many copies."""
    out: list[tuple[Rep, slice, int]] = []
    start = 0
    for part in rep.parts if isinstance(rep, SumRep) else (rep,):
        if out and out[-1][0] == part:
            _, place, copies = out[-1]
            out[-1] = (part, slice(place.start, place.stop + part.dim), copies + 1)
        else:
            out.append((part, slice(start, start + part.dim), 1))
        start += part.dim
    return out


def _cases() -> list[Case]:
    from erlangen.groups import parse

    group = parse("O(3)")
    vector = group.standard()
    cases = []
    for name in ("O(3)", "SO(2)_z", "C4_x"):
        generator = torch.Generator().manual_seed(0)
        net = SoftEquivariantMLP(
            2 * group.trivial() + 2 * vector,
            vector @ vector,
            hidden=2 * group.trivial() + 2 * vector,
            depth=2,
            generator=generator,
        )
        for layer in net.linears().values():
            with torch.no_grad():
                layer.weight.add_(0.3 * torch.randn(layer.weight.shape, generator=generator))
                if layer.bias is not None:
                    layer.bias.add_(torch.randn(layer.bias.shape, generator=generator))
        cases.append(Case(net.constrain(name), (torch.randn(4, 8, generator=generator),), name=name))
    return cases


modules.register(
    "soft_equivariant_mlp",
    summary="dense layers between representations: free, regularised, or constrained to be equivariant",
    paper="arXiv:2306.00356",
    cases=_cases,
)(SoftEquivariantMLP)
