"""How many interventions must be seen before invariance on them says something about the others.

The constants are ours: classical bounds for learning a set from examples, applied to the set of interventions that
violate invariance. The published theorem has other constants, which we have not checked against.
"""

from __future__ import annotations

import math
from typing import Literal


def polynomial_complexity(parameters: int, degree: int) -> int:
    """A bound on the VC dimension of the sets of interventions that violate invariance: `C(parameters + degree, degree)`.

    An intervention is a point of `parameters` numbers. Where the violation is a polynomial of this degree in them, the
    violating set is a half-space in the monomials, whose number bounds the dimension (R. Dudley, 1978). The number of
    nodes does not occur. For shifts of s noises, the squared gradient has degree 4.
    """
    if parameters < 1 or degree < 1:
        raise ValueError(f"parameters, degree: {parameters}, {degree}; both are at least 1")
    return math.comb(parameters + degree, degree)


def pac_sample_size(
    complexity: float | int, rho: float, delta: float = 0.05, *, kind: Literal["finite", "vc"] = "finite"
) -> int:
    """Interventions that suffice: what is eps-invariant on all of them is so on all but a share rho, surely to 1 - delta.

    "finite": `(ln N + ln 1/delta) / rho`, with `complexity` the number N of representations that are compared.
    "vc": `max(4/rho log2(2/delta), 8 V/rho log2(13/rho))`, with `complexity` the VC dimension V (A. Blumer et al.,
    "Learnability and the Vapnik-Chervonenkis dimension", 1989). The interventions are drawn independently from the
    family that is asked about.

    Raises:
        ValueError: rho or delta outside (0, 1), or a complexity below 1.
    """
    if not (0 < rho < 1 and 0 < delta < 1):
        raise ValueError(f"rho, delta: {rho}, {delta}; both must be between 0 and 1")
    if not complexity >= 1:
        raise ValueError(f"complexity: {complexity}; at least 1 is needed")
    if kind == "finite":
        return math.ceil((math.log(complexity) + math.log(1 / delta)) / rho)
    if kind != "vc":
        raise ValueError(f"kind: {kind!r}; allowed: 'finite', 'vc'")
    return math.ceil(max(4 / rho * math.log2(2 / delta), 8 * complexity / rho * math.log2(13 / rho)))


def pac_violation_bound(
    complexity: float | int, n: int, delta: float = 0.05, *, kind: Literal["finite", "vc"] = "finite"
) -> float:
    """The smallest share rho that n interventions suffice for; 1 where they say nothing."""
    if n < 1:
        raise ValueError(f"n: {n}; at least 1 intervention is needed")
    low, high = 0.0, 1.0 - 1e-12
    if pac_sample_size(complexity, high, delta, kind=kind) > n:
        return 1.0
    for _ in range(80):
        middle = (low + high) / 2
        enough = middle > 0 and pac_sample_size(complexity, middle, delta, kind=kind) <= n
        low, high = (low, middle) if enough else (middle, high)
    return high
