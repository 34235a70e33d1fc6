"""The Gaunt tensor product: multiply two functions on the sphere given by their spherical harmonic coefficients."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import Irreps
from erlangen.nn.points.exact_tables import at_least_float32
from erlangen.nn.points.gaunt_paths import PathRoute
from erlangen.nn.points.gaunt_routes import ROUTES, cheapest
from erlangen.nn.points.sphere_types import product_type, sphere_type

Method = Literal["auto", "grid", "fourier", "direct"]
CANDIDATES = {"auto": ("direct", "grid", "split", "separable"), "grid": ("grid", "split", "separable")}


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    def case(name: str, a: str, b: str, **options: Any) -> Case:
        module = GauntTensorProduct(a, b, channels=2, **options)
        return Case(module, (noise(3, 2, module.type1.dim), noise(3, 2, module.type2.dim)), name=name)

    return [
        case("grid", "0e+1o+2e", "0e+1o+2e", method="grid"),
        case("fourier, pseudo", "0o+1e", "0e+1o+2e", method="fourier"),
        case("direct, path weights", "0e+1o", "1o+2e", weight="path"),
        case("split, truncated", "0e+1o+2e+3o+4e", "0e+1o+2e+3o+4e", irreps_out="0e+1o+2e"),
    ]


@modules.register(
    "gaunt_tensor_product", paper="arXiv:2401.10216", summary="product of functions on the sphere", cases=_cases
)
class GauntTensorProduct(nn.Module):
    """The product of two functions on the sphere, channel by channel, in coefficients of real spherical harmonics.

        f(u) = Σ x_lm Y_lm(u),   g(u) = Σ y_lm Y_lm(u),   z_lm = ∫ f g Y_lm du = Σ G^{lm}_{l1 m1, l2 m2} x_{l1 m1} y_{l2 m2}

    `[..., channels, dim1], [..., channels, dim2] -> [..., channels, dim_out]`; irreps such as "0e+1o+2e" name every degree
    once. Functions carry 0e + 1o + 2e + ..., pseudo-functions 0o + 1e + 2o + ...; the product of the two kinds is a
    pseudo-function. All Clebsch-Gordan paths with an even sum of degrees are there, lumped by output degree; those with
    an odd sum (cross products) are not, so this product alone cannot tell a shape from its mirror image:
    `VectorGauntTensorProduct` can, and `TensorProduct` has every path by itself.

    Args:
        irreps_out: part of the product; all of it by default.
        method: "grid" evaluates, multiplies and projects, on the fewest points that are exact, or separably in (θ, φ) for
            high degrees; "fourier" convolves on the torus, as in the paper; "direct" contracts the dense table; "auto" takes
            whichever costs least by a model of the arithmetic. All agree to rounding.
        weight: "degree" learns a factor for every degree and channel before (twice) and after the product, "path" one for
            every path (l1, l2, l3) and channel, "none" nothing.

    Half precision is computed in float32. Raises ValueError for irreps with multiplicities, of mixed parity or out of
    reach (named), and for wrong shapes.

    Sources: Luo, Chen and Krishnapriyan, "Enabling Efficient Equivariant Operations in the Fourier Basis via Gaunt Tensor
    Products", 2024, arXiv:2401.10216, whose released code takes the Fourier route with tables for fixed degrees; the grid
    route is Xie, Daigavane, Kotak and Smidt, "The Price of Freedom", 2025, arXiv:2506.13523. The points are ours.
    """

    def __init__(
        self,
        irreps_in1: str | Irreps,
        irreps_in2: str | Irreps,
        irreps_out: str | Irreps | None = None,
        *,
        channels: int = 1,
        method: Method = "auto",
        weight: Literal["degree", "path", "none"] = "degree",
    ) -> None:
        super().__init__()
        if method not in ("auto", "grid", "fourier", "direct"):
            raise ValueError(f"method: got {method!r}; allowed are 'auto', 'grid', 'fourier', 'direct'")
        if weight not in ("degree", "path", "none"):
            raise ValueError(f"weight: got {weight!r}; allowed are 'degree', 'path', 'none'")
        if channels < 1:
            raise ValueError(f"channels: got {channels}; at least 1")
        self.type1, self.type2 = sphere_type(irreps_in1, "irreps_in1"), sphere_type(irreps_in2, "irreps_in2")
        self.type_out = product_type(self.type1, self.type2, irreps_out)
        self.channels, self.weight = channels, weight
        types = (self.type1, self.type2, self.type_out)
        self.route: nn.Module
        if weight == "path":
            self.method = "path"
            self.route = PathRoute(*types, channels=channels)
        else:
            self.method = cheapest(*types, among=CANDIDATES[method]) if method in CANDIDATES else method
            self.route = ROUTES[self.method](*types)
        self.scales = nn.ParameterList()
        for position, kind in enumerate(types):
            self.register_buffer(f"_term{position}", kind.term, persistent=False)
            if weight == "degree":
                self.scales.append(nn.Parameter(torch.ones(channels, len(kind.degrees))))

    @property
    def symmetries(self) -> list[Any]:
        """Rotating and reflecting both inputs does it to the output."""
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry("O(3)", input=(str(self.type1), str(self.type2)), output=str(self.type_out))]

    def forward(
        self, x: Float[Tensor, "*batch channels dim1"], y: Float[Tensor, "*batch channels dim2"]
    ) -> Float[Tensor, "*batch channels dim_out"]:
        for name, kind, value in (("irreps_in1", self.type1, x), ("irreps_in2", self.type2, y)):
            if value.ndim < 2 or value.shape[-2:] != (self.channels, kind.dim):
                raise ValueError(
                    f"{name}: {kind} on {self.channels} channels has shape [..., {self.channels}, {kind.dim}], "
                    f"given {list(value.shape)}"
                )
        given = x.dtype
        x, y = at_least_float32(x), at_least_float32(y)
        if self.weight == "degree":
            x, y = x * self._scale(0, x), y * self._scale(1, y)
        z = self.route(x, y)
        if self.weight == "degree":
            z = z * self._scale(2, z)
        return z.to(given)

    def _scale(self, position: int, x: Tensor) -> Tensor:
        return self.scales[position].to(x.dtype).index_select(1, getattr(self, f"_term{position}"))

    def extra_repr(self) -> str:
        return (
            f"{self.type1} * {self.type2} -> {self.type_out}, channels={self.channels}, "
            f"route={self.method!r}, weight={self.weight!r}"
        )
