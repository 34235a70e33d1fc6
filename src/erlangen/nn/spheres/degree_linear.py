"""Linear maps between sums of irreps of SO(3): one matrix a degree."""

from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.irreps import Irreps
from erlangen.nn.spheres.terms import describe, dimension, multiplicities


class DegreeLinear(nn.Module):
    """All SO(3)-equivariant linear maps, by Schur's lemma a matrix on the copies of each degree: `[B, in] -> [B, out]`.

    From functions on the sphere ("Cx0+Cx1+...") to functions on SO(3) (multiplicity C'(2 l + 1)) it is the spherical
    convolution with C C' filters; between functions on SO(3) it is the convolution on the group. Layout `mul_ir`; degrees
    must not repeat.

    Raises ValueError for a degree listed twice or an output degree the input lacks.
    """

    def __init__(self, irreps_in: str | Irreps, irreps_out: str | Irreps) -> None:
        super().__init__()
        self.terms_in, self.terms_out = multiplicities(irreps_in, "irreps_in"), multiplicities(irreps_out, "irreps_out")
        for name, terms in (("irreps_in", self.terms_in), ("irreps_out", self.terms_out)):
            degrees = [degree for _, degree in terms]
            if len(set(degrees)) < len(degrees):
                raise ValueError(f"{name}: {describe(terms)} lists a degree twice")
        sizes = {degree: mul for mul, degree in self.terms_in}
        missing = [degree for _, degree in self.terms_out if degree not in sizes]
        if missing:
            raise ValueError(f"irreps_out: degrees {missing} are not in irreps_in, {describe(self.terms_in)}")
        self.weights = nn.ParameterList(
            torch.randn(mul, sizes[degree]) / sizes[degree] ** 0.5 for mul, degree in self.terms_out
        )
        self.dim_in, self.dim = dimension(self.terms_in), dimension(self.terms_out)

    @property
    def symmetries(self) -> list[Any]:
        return []

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.dim_in:
            raise ValueError(f"x: last axis {x.shape[-1]}, expected {self.dim_in} for {describe(self.terms_in)}")
        blocks, start = {}, 0
        for mul, degree in self.terms_in:
            size = mul * (2 * degree + 1)
            blocks[degree] = x[..., start : start + size].unflatten(-1, (mul, 2 * degree + 1))
            start += size
        pairs = zip(self.weights, self.terms_out, strict=True)
        return torch.cat([(weight @ blocks[degree]).flatten(-2) for weight, (_, degree) in pairs], -1)

    def extra_repr(self) -> str:
        return f"{describe(self.terms_in)} -> {describe(self.terms_out)}"
