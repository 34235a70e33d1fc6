"""Inputs made of independent binary features, each computed from bits of its own by a rule of some complexity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

RULES = {"linear": 1, "xor": 2, "parity3": 3, "parity4": 4, "nested_xor": 4}


def feature_bits(rule: str) -> int:
    """How many input bits a rule reads.

    Raises ValueError for an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"spec: rule {rule!r}; allowed are {', '.join(RULES)}")
    return RULES[rule]


def compute_feature(rule: str, bits: Bool[Tensor, "rows inputs"]) -> Bool[Tensor, " rows"]:
    """`linear` is the bit itself, `xor` and `parityN` its parity, `nested_xor` is `(a and b) xor (c or d)`."""
    if rule == "nested_xor":
        return (bits[:, 0] & bits[:, 1]) ^ (bits[:, 2] | bits[:, 3])
    return bits.sum(1) % 2 == 1


class ComposedFeatures:
    """Several binary features of different complexity in one input, independent of one another.

    Arguments:
        spec: the rule of each feature, by name: `{"easy": "linear", "hard": "parity4"}`.
        distractors: further input bits that no feature reads.
        prevalence: the probability that a feature is on, by name; one half where it is not given. Inputs are drawn
            uniformly among those with the feature on (or off).
        noise: standard deviation of Gaussian noise on the inputs, which are -1 and 1 without it.

    Raises ValueError for an empty `spec`, an unknown rule or feature, a prevalence that is not between 0 and 1.

    Source: the setting of Lampinen, Chan and Hermann, "Learned feature representations are biased by complexity,
    learning order, position, and more", 2024, arXiv:2405.05847.
    """

    def __init__(
        self,
        spec: Mapping[str, str],
        *,
        distractors: int = 0,
        prevalence: Mapping[str, float] | None = None,
        noise: float = 0.0,
    ) -> None:
        if not spec:
            raise ValueError("spec: no features; name at least one, for example {'easy': 'linear'}")
        self.spec = dict(spec)
        self.widths = {name: feature_bits(rule) for name, rule in self.spec.items()}
        self.prevalence = dict(prevalence or {})
        for name, value in self.prevalence.items():
            if name not in self.spec or not 0 < value < 1:
                raise ValueError(
                    f"prevalence: {name!r} with {value}; a feature of the spec, and a number between 0 and 1"
                )
        if distractors < 0 or noise < 0:
            raise ValueError(f"distractors, noise: {distractors}, {noise}; must not be negative")
        self.distractors, self.noise = distractors, noise

    @property
    def input_size(self) -> int:
        return sum(self.widths.values()) + self.distractors

    def sample(
        self, count: int, *, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "rows inputs"], dict[str, Bool[Tensor, " rows"]]]:
        """Inputs and the value of every feature."""
        parts, features = [], {}
        for name, rule in self.spec.items():
            width = self.widths[name]
            table = torch.arange(2**width)[:, None] >> torch.arange(width) & 1 == 1
            on = compute_feature(rule, table)
            share = self.prevalence.get(name, 0.5)
            weight = torch.where(on, share / on.sum(), (1 - share) / (~on).sum())
            rows = torch.multinomial(weight, count, replacement=True, generator=generator)
            parts.append(table[rows])
            features[name] = on[rows]
        parts.append(torch.rand(count, self.distractors, generator=generator) < 0.5)
        x = torch.cat(parts, 1).float() * 2 - 1
        return x + self.noise * torch.randn(x.shape, generator=generator), features

    def __repr__(self) -> str:
        rules = ", ".join(f"{name}: {rule}" for name, rule in self.spec.items())
        return f"ComposedFeatures({rules}; {self.input_size} inputs)"
