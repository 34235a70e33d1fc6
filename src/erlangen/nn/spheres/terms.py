"""Multiplicities by degree of an irreps string."""

from erlangen.groups.irreps import Irreps


def multiplicities(irreps: str | Irreps, argument: str) -> list[tuple[int, int]]:
    """(multiplicity, degree) of every term, in order; parity plays no part under rotations."""
    if not isinstance(irreps, (str, Irreps)):
        raise TypeError(f"{argument}: expected a string such as '8x0+8x1' or Irreps, given {type(irreps).__name__}")
    made = Irreps(irreps) if isinstance(irreps, str) else irreps
    return [(term.mul, term.degree) for term in made.terms]


def dimension(terms: list[tuple[int, int]]) -> int:
    return sum(mul * (2 * degree + 1) for mul, degree in terms)


def describe(terms: list[tuple[int, int]]) -> str:
    return "+".join(f"{mul}x{degree}" for mul, degree in terms)
