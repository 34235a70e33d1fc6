"""Irreps that are the coefficients of one function on the sphere: each degree once, all of one kind of parity."""

from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen.groups import Irreps


@dataclass(frozen=True)
class SphereType:
    """The degrees of a function on the sphere, and whether it is a pseudo-function (changes sign under inversion).

    A function carries 0e + 1o + 2e + ..., a pseudo-function 0o + 1e + 2o + ...
    """

    degrees: tuple[int, ...]
    pseudo: bool

    @property
    def dim(self) -> int:
        return sum(self.sizes)

    @property
    def l_max(self) -> int:
        return max(self.degrees)

    @property
    def sizes(self) -> list[int]:
        return [2 * degree + 1 for degree in self.degrees]

    @property
    def index(self) -> Tensor:
        """Where the components are among all coefficients l² + l + m."""
        return torch.cat([torch.arange(degree**2, (degree + 1) ** 2) for degree in self.degrees])

    @property
    def term(self) -> Tensor:
        """Which of the degrees each component belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.degrees)), torch.tensor(self.sizes))

    def __str__(self) -> str:
        return "+".join(f"{degree}{'e' if (degree % 2 == 0) != self.pseudo else 'o'}" for degree in self.degrees)


def sphere_type(irreps: str | Irreps, name: str) -> SphereType:
    """Read "0e+1o+2e" as the type of a function on the sphere.

    Raises:
        ValueError: multiplicities, a degree twice or out of order, or both kinds of parity; names the offending irreps.
    """
    terms = (Irreps(irreps) if isinstance(irreps, str) else irreps).terms
    if any(t.mul != 1 for t in terms):
        raise ValueError(f"{name}: {irreps} has multiplicities; give every degree once and the number through channels")
    degrees = tuple(t.degree for t in terms)
    if list(degrees) != sorted(set(degrees)):
        raise ValueError(f"{name}: {irreps} must have every degree once, in ascending order")
    odd = [t for t in terms if t.parity != (-1) ** t.degree]
    if odd and len(odd) != len(terms):
        raise ValueError(
            f"{name}: {irreps} mixes functions (0e, 1o, 2e, ...) with pseudo-functions; the offending irreps are "
            f"{', '.join(f'{t.degree}' + ('e' if t.parity == 1 else 'o') for t in odd)}; "
            "VectorGauntTensorProduct takes both"
        )
    return SphereType(degrees, bool(odd))


def product_type(a: SphereType, b: SphereType, irreps_out: str | Irreps | None) -> SphereType:
    """The type of the product of two functions, or `irreps_out` where it is part of that.

    Raises:
        ValueError: `irreps_out` has a degree that no path reaches, or the wrong parity.
    """
    reached = sorted(
        {l for i in a.degrees for j in b.degrees for l in range(abs(i - j), i + j + 1) if (i + j + l) % 2 == 0}
    )
    pseudo = a.pseudo != b.pseudo
    if irreps_out is None:
        return SphereType(tuple(reached), pseudo)
    out = sphere_type(irreps_out, "irreps_out")
    unreached = [l for l in out.degrees if l not in reached]
    if unreached:
        raise ValueError(
            f"irreps_out: {out} has degrees {unreached} that no product of {a} and {b} reaches; possible: {reached}"
        )
    if out.pseudo != pseudo:
        raise ValueError(
            f"irreps_out: {out} has the wrong parity; the product of {a} and {b} is part of "
            f"{SphereType(tuple(reached), pseudo)}"
        )
    return out
