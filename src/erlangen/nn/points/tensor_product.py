"""Every Clebsch-Gordan path with its own weights, in e3nn's layout and normalisation."""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import Irreps
from erlangen.groups.harmonics.clebsch_gordan import _symbol
from erlangen.nn.points.exact_tables import ExactTables, at_least_float32

Path = tuple[int, int, int]


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    full = TensorProduct("3x0e+2x1o+1x1e", "1x0e+1x1o+1x2e", "2x0e+2x1o+1x1e+1x0o")
    wise = TensorProduct("2x0e+2x1o", "2x0e+2x1o+2x2e", "2x0e+2x1o+2x1e", connection="channels")
    return [
        Case(full, (noise(4, 12), noise(4, 9)), name="fully connected"),
        Case(wise, (noise(4, 8), noise(4, 18)), name="channel by channel"),
    ]


@modules.register("tensor_product", summary="all Clebsch-Gordan paths, fully connected or by channel", cases=_cases)
class TensorProduct(ExactTables):
    """The bilinear equivariant maps from two irreps to a third: one weight for every path and every choice of copies.

        z^w_l3 = √(2 l3 + 1) / √N Σ_{paths to l3} Σ_{u v} W_uvw Σ_{m1 m2} 3j_{m1 m2 m3} x^u_{l1 m1} y^v_{l2 m2}

    Irreps, the `mul_ir` layout, the order of `weight` and the normalisation (N is the number of terms) are those of e3nn's
    `FullyConnectedTensorProduct`: its flat weight vector can be copied here. Every path is one of the two integrals of
    `gaunt_coefficients` (even sum of degrees) and `bracket_coefficients` (odd), exact in float64. All paths of a pair of
    input terms are one orthogonal change of basis of their outer product, and all paths into an output term one matrix
    product, where e3nn evaluates path by path.

    Args:
        connection: "full" joins all copies, W `[mul1, mul2, mul_out]` a path; "channels" joins copy u of all three, which then
            have the same multiplicity in every term, W `[mul]` a path (e3nn's "uuu"); where the second input has multiplicity 1
            it serves all of them ("uvu").
        shared: False takes the weights from the call, `[..., num_weights]`, one set a sample.

    Half precision is computed in float32. Raises ValueError for an output term that no path reaches, for unequal
    multiplicities in "channels", and for wrong shapes.
    """

    def __init__(
        self,
        irreps_in1: str | Irreps,
        irreps_in2: str | Irreps,
        irreps_out: str | Irreps,
        *,
        connection: Literal["full", "channels"] = "full",
        shared: bool = True,
    ) -> None:
        super().__init__()
        if connection not in ("full", "channels"):
            raise ValueError(f"connection: got {connection!r}; allowed are 'full', 'channels'")
        self.first, self.second, self.out = (
            Irreps(i) if isinstance(i, str) else i for i in (irreps_in1, irreps_in2, irreps_out)
        )
        self.connection, self.shared = connection, shared
        copies = {t.mul for irreps in (self.first, self.out) for t in irreps.terms}
        second = {t.mul for t in self.second.terms}
        if connection == "channels" and (len(copies) > 1 or second not in (copies, {1})):
            raise ValueError(
                f"connection: 'channels' needs one multiplicity everywhere (or 1 in irreps_in2), given {sorted(copies)} "
                f"and {sorted(second)}"
            )
        self.paths: list[Path] = [
            (i, j, k)
            for i, a in enumerate(self.first.terms)
            for j, b in enumerate(self.second.terms)
            for k, c in enumerate(self.out.terms)
            if abs(a.degree - b.degree) <= c.degree <= a.degree + b.degree and a.parity * b.parity == c.parity
        ]
        unreached = [t for k, t in enumerate(self.out.terms) if all(path[2] != k for path in self.paths)]
        if unreached:
            raise ValueError(f"irreps_out: no path from {self.first} and {self.second} reaches {unreached}")
        self._shapes = [self._weight_shape(path) for path in self.paths]
        self.num_weights = sum(math.prod(shape) for shape in self._shapes)
        self.weight = nn.Parameter(torch.randn(self.num_weights)) if shared else None
        terms = [math.prod(shape[:2]) if connection == "full" else 1 for shape in self._shapes]
        fan_in = [
            sum(n for n, path in zip(terms, self.paths, strict=True) if path[2] == k)
            for k in range(len(self.out.terms))
        ]
        self._pairs: dict[tuple[int, int], list[int]] = {}
        for number, (i, j, _) in enumerate(self.paths):
            self._pairs.setdefault((i, j), []).append(number)
        for (i, j), numbers in self._pairs.items():
            blocks = []
            for number in numbers:
                k = self.paths[number][2]
                l1, l2, l3 = self.first.terms[i].degree, self.second.terms[j].degree, self.out.terms[k].degree
                blocks.append(_symbol(l1, l2, l3).flatten(0, 1) * math.sqrt((2 * l3 + 1) / fan_in[k]))
            self.add_table(f"basis_{i}_{j}", torch.cat(blocks, -1))

    def _weight_shape(self, path: Path) -> tuple[int, ...]:
        a, b, c = (irreps.terms[n] for irreps, n in zip((self.first, self.second, self.out), path, strict=True))
        return (a.mul, b.mul, c.mul) if self.connection == "full" else (a.mul,)

    @property
    def symmetries(self) -> list[Any]:
        if not self.shared:
            return []
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry("O(3)", input=(repr(self.first), repr(self.second)), output=repr(self.out))]

    def forward(
        self,
        x: Float[Tensor, "*batch dim1"],
        y: Float[Tensor, "*batch dim2"],
        weight: Float[Tensor, "*batch num_weights"] | None = None,
    ) -> Float[Tensor, "*batch dim_out"]:
        for name, irreps, value in (("irreps_in1", self.first, x), ("irreps_in2", self.second, y)):
            if value.shape[-1] != irreps.dim:
                raise ValueError(f"{name}: {irreps} has {irreps.dim} components, given {list(value.shape)}")
        weights = self.weight if weight is None else weight
        if weights is None or weights.shape[-1] != self.num_weights:
            raise ValueError(
                f"weight: expected [..., {self.num_weights}] numbers with shared=False, given "
                f"{None if weight is None else list(weight.shape)}"
            )
        given = x.dtype
        x, y = at_least_float32(x), at_least_float32(y)
        parts = weights.to(x.dtype).split([math.prod(shape) for shape in self._shapes], -1)
        xs, ys = _unflatten(x, self.first), _unflatten(y, self.second)
        gathered: list[list[Tensor]] = [[] for _ in self.out.terms]
        mixing: list[list[Tensor]] = [[] for _ in self.out.terms]
        for (i, j), numbers in self._pairs.items():
            basis = self.table(f"basis_{i}_{j}", x)
            if self.connection == "full":
                outer = xs[i][..., :, None, :, None] * ys[j][..., None, :, None, :]
                coupled = outer.flatten(-2).flatten(-3, -2) @ basis
            else:
                coupled = (xs[i][..., :, None] * ys[j][..., None, :]).flatten(-2) @ basis
            sizes = [2 * self.out.terms[self.paths[number][2]].degree + 1 for number in numbers]
            for number, block in zip(numbers, coupled.split(sizes, -1), strict=True):
                k, part = self.paths[number][2], parts[number]
                if self.connection == "full":
                    gathered[k].append(block)
                    mixing[k].append(part.unflatten(-1, self._shapes[number]).flatten(-3, -2))
                else:
                    gathered[k].append(block * part[..., None])
        return self._combine(gathered, mixing).to(given)

    def _combine(self, gathered: list[list[Tensor]], mixing: list[list[Tensor]]) -> Tensor:
        if self.connection == "channels":
            sums = [torch.stack(blocks).sum(0) if len(blocks) > 1 else blocks[0] for blocks in gathered]
        else:
            sums = []
            for blocks, matrices in zip(gathered, mixing, strict=True):
                # components before copies: shared weights then make one large matrix product out of many small ones
                terms = torch.cat([block.mT for block in blocks], -1)
                sums.append((terms @ torch.cat(matrices, -2)).mT)
        return torch.cat([block.flatten(-2) for block in sums], -1)

    def extra_repr(self) -> str:
        return (
            f"{self.first} * {self.second} -> {self.out}, connection={self.connection!r}, {len(self.paths)} paths, "
            f"{self.num_weights} weights"
        )


def _unflatten(x: Tensor, irreps: Irreps) -> list[Tensor]:
    """`[..., mul, 2 l + 1]` for every term."""
    blocks = x.split([t.dim for t in irreps.terms], -1)
    return [block.unflatten(-1, (t.mul, 2 * t.degree + 1)) for block, t in zip(blocks, irreps.terms, strict=True)]
