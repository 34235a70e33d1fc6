"""Linear representations: matrices ρ(g) with ρ(gh) = ρ(g) ρ(h), their sums, products, duals and restrictions."""

from erlangen.groups.representations.composed import DualRep, RestrictedRep, SumRep, TensorRep
from erlangen.groups.representations.named import FunctionRep, RegularRep, SignRep, StandardRep, TrivialRep
from erlangen.groups.representations.rep import Rep

__all__ = [
    "DualRep",
    "FunctionRep",
    "RegularRep",
    "Rep",
    "RestrictedRep",
    "SignRep",
    "StandardRep",
    "SumRep",
    "TensorRep",
    "TrivialRep",
]
