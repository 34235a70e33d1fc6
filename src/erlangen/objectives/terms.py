"""A loss as its named parts."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Number = int | float


class LossTerms(Mapping[str, Tensor]):
    """Named scalar terms with weights, in order: a mapping name -> value whose `total` is the weighted sum.

    `terms["variance"]` is the bare value, `terms.weights["variance"]` its weight. Two of them add: names that both
    have must carry the same weight and their values add; the others are joined. A number scales the weights.

    Arguments:
        terms: name -> value, or name -> (value, weight); a bare value has weight 1.
    """

    def __init__(self, terms: Mapping[str, Tensor | tuple[Tensor, Number]]) -> None:
        pairs = {name: term if isinstance(term, tuple) else (term, 1.0) for name, term in terms.items()}
        for name, (value, _) in pairs.items():
            if value.ndim != 0:
                raise ValueError(f"terms: {name!r} has shape {tuple(value.shape)}; every term is one number")
        if not pairs:
            raise ValueError("terms: none given; a loss has at least one term")
        self._values: dict[str, Tensor] = {name: value for name, (value, _) in pairs.items()}
        self.weights: dict[str, float] = {name: float(weight) for name, (_, weight) in pairs.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def total(self) -> Float[Tensor, ""]:
        """The weighted sum, which is what one minimises."""
        first, *others = (v if self.weights[name] == 1 else self.weights[name] * v for name, v in self.items())
        return sum(others, first)

    def detach(self) -> "LossTerms":
        """The same numbers without their graph."""
        return LossTerms({name: (value.detach(), self.weights[name]) for name, value in self.items()})

    def as_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Detached bare values and the total, by name, for a log."""
        values = {prefix + name: value.detach() for name, value in self.items()}
        return {**values, prefix + "total": self.total.detach()}

    def not_finite(self) -> list[str]:
        """The names of the terms that are NaN or infinite."""
        return [name for name, value in self.items() if not bool(torch.isfinite(value))]

    @staticmethod
    def mean(several: Sequence["LossTerms"]) -> "LossTerms":
        """Term by term the mean over several results, as over micro-batches."""
        if not several:
            raise ValueError("several: empty; give at least one LossTerms")
        total = several[0]
        for other in several[1:]:
            if set(other) != set(total):
                raise ValueError(f"several: terms {sorted(other)} and {sorted(total)}; give the same terms")
            total = total + other
        return LossTerms({name: (value / len(several), total.weights[name]) for name, value in total.items()})

    def __add__(self, other: "LossTerms") -> "LossTerms":
        if not isinstance(other, LossTerms):
            return NotImplemented
        merged = {name: (value, self.weights[name]) for name, value in self.items()}
        for name, value in other.items():
            weight = other.weights[name]
            if name in merged and merged[name][1] != weight:
                raise ValueError(f"other: {name!r} has weight {weight}, here {merged[name][1]}; rename one of them")
            merged[name] = (merged[name][0] + value, weight) if name in merged else (value, weight)
        return LossTerms(merged)

    def __mul__(self, factor: Number) -> "LossTerms":
        if not isinstance(factor, int | float):
            return NotImplemented
        return LossTerms({name: (value, factor * self.weights[name]) for name, value in self.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: Number) -> "LossTerms":
        return self * (1.0 / divisor)

    def __repr__(self) -> str:
        parts = " + ".join(f"{self.weights[name]:g} {name}={float(value):.4g}" for name, value in self.items())
        return f"LossTerms({float(self.total):.4g} = {parts})"
