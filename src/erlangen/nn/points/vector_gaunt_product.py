"""The Gaunt product completed by the Poisson bracket: every coupling of degrees, cross products included, on one grid."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import Irreps
from erlangen.groups.harmonics.product_grid import full_grid, values_and_slopes
from erlangen.nn.points.exact_tables import ExactTables, at_least_float32

Part = tuple[Tensor, Tensor, Tensor]


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    return [
        Case(
            VectorGauntTensorProduct("0e+1o+2e", "1o+2e", channels=2),
            (noise(3, 2, 9), noise(3, 2, 8)),
            name="functions",
        ),
        Case(
            VectorGauntTensorProduct("0e+1o+1e+2o", "0o+1o+1e", "0e+1o+1e+0o", channels=2),
            (noise(3, 2, 12), noise(3, 2, 7)),
            name="both parities",
        ),
    ]


@modules.register(
    "vector_gaunt_tensor_product",
    paper="arXiv:2506.13523",
    summary="product and Poisson bracket of functions on the sphere",
    cases=_cases,
)
class VectorGauntTensorProduct(ExactTables):
    """Product and bracket of functions and pseudo-functions on the sphere, channel by channel.

        f g                                   couples the degrees with an even sum: the Gaunt product
        {f, g} = u · (∇f × ∇g)                couples those with an odd sum: cross products and their kin

    Together they are all Clebsch-Gordan couplings, lumped by output degree and parity, for twice the cost of one. Inputs
    may mix functions (0e, 1o, 2e, ...) and pseudo-functions (0o, 1e, 2o, ...), each degree once of each kind; the bracket
    of two functions is a pseudo-function. Coefficients of the bracket of degrees l1 and l2 grow like l1 l2 beside those of
    the product. `[..., channels, dim1], [..., channels, dim2] -> [..., channels, dim_out]`.

    Args:
        irreps_out: part of what is reached; all of it by default.
        weight: "degree" learns a factor for every degree of both inputs, and for every degree of the output one for the
            product and one for the bracket, per channel; "none" learns nothing and adds the two.

    Half precision is computed in float32. Raises ValueError for multiplicities, a term twice, an output out of reach, and
    wrong shapes.

    Source: the antisymmetric couplings are those of the vector signal product of Xie, Daigavane, Kotak and Smidt, "The
    Price of Freedom", 2025, arXiv:2506.13523, who use vector spherical harmonics; the bracket needs derivatives only.
    """

    def __init__(
        self,
        irreps_in1: str | Irreps,
        irreps_in2: str | Irreps,
        irreps_out: str | Irreps | None = None,
        *,
        channels: int = 1,
        weight: Literal["degree", "none"] = "degree",
    ) -> None:
        super().__init__()
        if weight not in ("degree", "none") or channels < 1:
            raise ValueError(f"weight, channels: got {weight!r}, {channels}; 'degree' or 'none', and at least 1")
        self.channels, self.weight = channels, weight
        first, second = _terms(irreps_in1, "irreps_in1"), _terms(irreps_in2, "irreps_in2")
        reached = _reached(first, second)
        everything = sorted(reached["product"] | reached["bracket"], key=lambda t: (t[0], t[1] != (-1) ** t[0]))
        out = everything if irreps_out is None else _terms(irreps_out, "irreps_out")
        missing = [t for t in out if t not in everything]
        if missing:
            raise ValueError(f"irreps_out: {_text(missing)} is out of reach; possible: {_text(everything)}")
        self.first, self.second, self.out = first, second, out
        l_first, l_second, l_out = (max(l for l, _ in terms) for terms in (first, second, out))
        points, back = full_grid(l_first + l_second, l_out)
        for side, terms, l_max in (("first", first, l_first), ("second", second, l_second)):
            tables = values_and_slopes(l_max, points)
            for pseudo in (False, True):
                position, column = _where(terms, pseudo)
                self.add_table(f"{side}_{pseudo}_index", position)
                for name, table in zip(("value", "a", "b"), tables, strict=True):
                    self.add_table(f"{side}_{pseudo}_{name}", table[column])
        order = []
        for pseudo in (False, True):
            position, column = _where(out, pseudo)
            self.add_table(f"back_{pseudo}", back[:, column])
            order.append(position)
        self.add_table("order", torch.argsort(torch.cat(order)))
        self.scales = nn.ParameterList()
        for name, terms in (("first", first), ("second", second), ("product", out), ("bracket", out)):
            sizes = torch.tensor([2 * l + 1 for l, _ in terms])
            self.add_table(f"{name}_term", torch.repeat_interleave(torch.arange(len(terms)), sizes))
            if weight == "degree":
                self.scales.append(nn.Parameter(torch.ones(channels, len(terms))))

    @property
    def symmetries(self) -> list[Any]:
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry("O(3)", input=(_text(self.first), _text(self.second)), output=_text(self.out))]

    def forward(
        self, x: Float[Tensor, "*batch channels dim1"], y: Float[Tensor, "*batch channels dim2"]
    ) -> Float[Tensor, "*batch channels dim_out"]:
        for name, terms, value in (("irreps_in1", self.first, x), ("irreps_in2", self.second, y)):
            dim = sum(2 * l + 1 for l, _ in terms)
            if value.ndim < 2 or value.shape[-2:] != (self.channels, dim):
                raise ValueError(
                    f"{name}: {_text(terms)} on {self.channels} channels has shape [..., {self.channels}, {dim}], given "
                    f"{list(value.shape)}"
                )
        given = x.dtype
        x, y = at_least_float32(x), at_least_float32(y)
        f, h = self._evaluate(x * self._scale(0, "first", x), "first")
        g, k = self._evaluate(y * self._scale(1, "second", y), "second")
        product = self._project([_times(f, g) + _times(h, k), _times(f, k) + _times(h, g)])
        bracket = self._project([_bracket(f, k) + _bracket(h, g), _bracket(f, g) + _bracket(h, k)])
        return (product * self._scale(2, "product", x) + bracket * self._scale(3, "bracket", x)).to(given)

    def _evaluate(self, x: Tensor, side: str) -> tuple[Part, Part]:
        """The function and the pseudo-function in `x`: values and two slopes at the points."""
        parts = []
        for pseudo in (False, True):
            mine = x.index_select(-1, self.get_buffer(f"{side}_{pseudo}_index"))
            value, a, b = (mine @ self.table(f"{side}_{pseudo}_{name}", x) for name in ("value", "a", "b"))
            parts.append((value, a, b))
        return parts[0], parts[1]

    def _project(self, parts: list[Tensor]) -> Tensor:
        both = [part @ self.table(f"back_{pseudo}", part) for part, pseudo in zip(parts, (False, True), strict=True)]
        return torch.cat(both, -1).index_select(-1, self.get_buffer("order"))

    def _scale(self, position: int, name: str, x: Tensor) -> Tensor:
        if self.weight == "none":
            return x.new_ones(())
        return self.scales[position].to(x.dtype).index_select(1, self.get_buffer(f"{name}_term"))

    def extra_repr(self) -> str:
        return f"{_text(self.first)} * {_text(self.second)} -> {_text(self.out)}, channels={self.channels}"


Terms = list[tuple[int, int]]


def _times(f: Part, g: Part) -> Tensor:
    return f[0] * g[0]


def _bracket(f: Part, g: Part) -> Tensor:
    return f[1] * g[2] - f[2] * g[1]


def _terms(irreps: str | Irreps, name: str) -> Terms:
    terms = (Irreps(irreps) if isinstance(irreps, str) else irreps).terms
    pairs = [(t.degree, t.parity) for t in terms]
    if any(t.mul != 1 for t in terms) or len(set(pairs)) < len(pairs):
        raise ValueError(f"{name}: {irreps} must have every irrep once; give the number of copies through channels")
    return pairs


def _text(terms: Terms) -> str:
    return "+".join(f"{l}{'e' if p == 1 else 'o'}" for l, p in terms)


def _reached(first: Terms, second: Terms) -> dict[str, set[tuple[int, int]]]:
    """The irreps that the product and the bracket reach."""
    out: dict[str, set[tuple[int, int]]] = {"product": set(), "bracket": set()}
    for l1, p1 in first:
        for l2, p2 in second:
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                out["bracket" if (l1 + l2 + l3) % 2 else "product"].add((l3, p1 * p2))
    return out


def _where(terms: Terms, pseudo: bool) -> tuple[Tensor, Tensor]:
    """Positions of the functions (or pseudo-functions) on the last axis, and their places l² + l + m."""
    positions, columns, start = [], [], 0
    for l, p in terms:
        if (p != (-1) ** l) == pseudo:
            positions.append(torch.arange(start, start + 2 * l + 1))
            columns.append(torch.arange(l**2, (l + 1) ** 2))
        start += 2 * l + 1
    if not positions:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    return torch.cat(positions), torch.cat(columns)
