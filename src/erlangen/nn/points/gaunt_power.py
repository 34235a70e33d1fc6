"""Powers of one function on the sphere: the many-body features of an atomic environment in one evaluation."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import Irreps
from erlangen.groups.harmonics.product_grid import full_grid, values
from erlangen.nn.points.exact_tables import ExactTables, at_least_float32
from erlangen.nn.points.sphere_types import SphereType, sphere_type


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    return [
        Case(GauntPower("0e+1o+2e", 3, "0e+1o", channels=2), (noise(4, 2, 9),), name="three bodies"),
        Case(GauntPower("1e+2o", 3, channels=2), (noise(4, 2, 8),), name="pseudo, odd powers"),
    ]


@modules.register("gaunt_power", paper="arXiv:2401.10216", summary="powers of a function on the sphere", cases=_cases)
class GauntPower(ExactTables):
    """Weighted powers of a function on the sphere, one weight for every channel, power and degree of the output.

        z_l = Σ_{ν = 1}^{correlation} w_{ν l} (f^ν)_l,     f^ν pointwise

    `[..., channels, dim] -> [..., channels, dim_out]`. One grid serves all powers: it is exact for degree
    correlation * l. This is the symmetric contraction of MACE with the Gaunt coupling. Even powers of a pseudo-function are
    functions: of its powers only those with the parity of `irreps_out` count (odd ones by default).

    Args:
        correlation: the highest power ν, at least 1.
        irreps_out: up to correlation * l; by default the degrees of the input, for pseudo-functions too.

    Half precision is computed in float32. Raises ValueError for irreps with multiplicities or of mixed parity, for a degree
    beyond correlation * l, and for wrong shapes.

    Source: Luo, Chen and Krishnapriyan, 2024, arXiv:2401.10216, which multiplies on the torus and stores padded complex
    tensors; here values on the sphere are multiplied.
    """

    def __init__(
        self, irreps: str | Irreps, correlation: int, irreps_out: str | Irreps | None = None, *, channels: int = 1
    ) -> None:
        super().__init__()
        if correlation < 1 or channels < 1:
            raise ValueError(f"correlation, channels: got {correlation}, {channels}; both must be at least 1")
        self.type_in = sphere_type(irreps, "irreps")
        self.type_out: SphereType = self.type_in if irreps_out is None else sphere_type(irreps_out, "irreps_out")
        if self.type_out.l_max > correlation * self.type_in.l_max:
            raise ValueError(
                f"irreps_out: {self.type_out} reaches beyond degree {correlation * self.type_in.l_max}, the highest in power "
                f"{correlation} of {self.type_in}"
            )
        self.channels, self.correlation = channels, correlation
        self.orders = tuple(
            v for v in range(1, correlation + 1) if (self.type_in.pseudo and v % 2 == 1) == self.type_out.pseudo
        )
        if not self.orders:
            raise ValueError(f"irreps_out: {self.type_out} has the wrong parity for powers of {self.type_in}")
        points, back = full_grid(correlation * self.type_in.l_max, self.type_out.l_max)
        self.add_table("there", values(self.type_in.l_max, points)[self.type_in.index])
        self.add_table("back", back[:, self.type_out.index])
        self.add_table("term_in", self.type_in.term)
        self.add_table("term", self.type_out.term)
        self.weight = nn.Parameter(torch.ones(channels, len(self.orders), len(self.type_out.degrees)))

    @property
    def symmetries(self) -> list[Any]:
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry("O(3)", input=str(self.type_in), output=str(self.type_out))]

    def forward(
        self,
        x: Float[Tensor, "*batch channels dim"],
        weight: Float[Tensor, "*batch channels orders degrees"] | None = None,
        operands: Float[Tensor, "*batch channels correlation degrees_in"] | None = None,
    ) -> Float[Tensor, "*batch channels dim_out"]:
        """`weight` replaces the learned one, for weights that depend on the sample, such as the species of an atom.

        With `operands` the factors differ: the power ν is the product of the first ν of the functions v_k · f, degree by
        degree; this is the learnable product of the paper, with weights before and after.
        """
        if x.ndim < 2 or x.shape[-2:] != (self.channels, self.type_in.dim):
            raise ValueError(
                f"irreps: {self.type_in} on {self.channels} channels has shape [..., {self.channels}, {self.type_in.dim}], "
                f"given {list(x.shape)}"
            )
        given, x = x.dtype, at_least_float32(x)
        if operands is None:
            factors = [x @ self.table("there", x)] * self.correlation
        else:
            spread = operands.to(x.dtype).index_select(-1, self.get_buffer("term_in"))
            factors = list(((spread * x[..., None, :]) @ self.table("there", x)).unbind(-2))
        powers, power = [], factors[0]
        for order in range(1, self.correlation + 1):
            power = power * factors[order - 1] if order > 1 else power
            if order in self.orders:
                powers.append(power)
        coefficients = torch.stack(powers, -2) @ self.table("back", x)
        after = (self.weight if weight is None else weight).to(x.dtype).index_select(-1, self.get_buffer("term"))
        return (coefficients * after).sum(-2).to(given)

    def extra_repr(self) -> str:
        return f"{self.type_in}, powers {self.orders} -> {self.type_out}, channels={self.channels}"
