"""Interventions on a linear structural equation model, as changes of some of its equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["do", "shift", "scale", "coefficient"]
KINDS = ("do", "shift", "scale", "coefficient")


@dataclass(frozen=True)
class Interventions:
    """Several environments that change the equations of the same nodes.

    In environment e the equation of node `sites[j]` reads `x = rows[e, j] . X + eta` with `eta` of mean `mean[e, j]`
    and variance `variance[e, j]`; all other equations stay. `rows=None` leaves every coefficient as it is.

    Attributes:
        sites: node numbers, no two alike.
        mean: `[environments, sites]`.
        variance: `[environments, sites]`.
        rows: `[environments, sites, nodes]` or `None`.
    """

    sites: tuple[int, ...]
    mean: Tensor
    variance: Tensor
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        if len(set(self.sites)) != len(self.sites):
            raise ValueError(f"sites: {list(self.sites)}; every node at most once")
        for name, value in (("mean", self.mean), ("variance", self.variance)):
            if value.ndim != 2 or value.shape[1] != len(self.sites):
                raise ValueError(f"{name}: shape {tuple(value.shape)}; [environments, {len(self.sites)}] is needed")
        if not bool((self.variance >= 0).all()):
            raise ValueError("variance: negative or NaN; a variance is at least 0")

    def __len__(self) -> int:
        return len(self.mean)

    def join(self, other: Interventions) -> Interventions:
        """Both at once, environment by environment. Raises ValueError where they share a node or differ in number."""
        if len(self) != len(other):
            raise ValueError(f"other: {len(other)} environments, here {len(self)}; the numbers must be the same")
        if set(self.sites) & set(other.sites):
            raise ValueError(f"other: nodes {sorted(set(self.sites) & set(other.sites))} are changed here already")
        if (self.rows is None) != (other.rows is None):
            raise ValueError("other: one of the two changes coefficients, the other does not; give both `rows`")
        rows = None
        if self.rows is not None and other.rows is not None:
            rows = torch.cat([self.rows, other.rows], 1)
        return Interventions(
            (*self.sites, *other.sites),
            torch.cat([self.mean, other.mean], 1),
            torch.cat([self.variance, other.variance], 1),
            rows,
        )


def make_interventions(
    sites: Sequence[int], kind: Kind, value: Tensor, *, coefficients: Tensor, variance: Tensor
) -> Interventions:
    """Interventions of one kind; `coefficients [sites, nodes]` and `variance [sites]` are those of the model.

    "do" fixes the node at `value`, "shift" adds `value` to its noise, "scale" multiplies the noise's variance by it,
    "coefficient" multiplies all incoming coefficients by it. `value` is `[environments, sites]`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r}; allowed: {', '.join(map(repr, KINDS))}")
    if not bool(torch.isfinite(value).all()):
        raise ValueError("value: contains NaN or infinite numbers; an intervention is finite")
    plain = variance.expand_as(value)
    if kind == "shift":
        return Interventions(tuple(sites), value, plain)
    if kind == "scale":
        return Interventions(tuple(sites), torch.zeros_like(value), plain * value)
    factor = torch.zeros_like(value) if kind == "do" else value
    rows = factor[..., None] * coefficients
    if kind == "do":
        return Interventions(tuple(sites), value, torch.zeros_like(plain), rows)
    return Interventions(tuple(sites), torch.zeros_like(value), plain, rows)
