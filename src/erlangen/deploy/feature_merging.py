"""A smaller network with the same features: units that are alike become one, without data and without training."""

import copy
import fnmatch
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from erlangen.nn.parameter_symmetry.coupling_graph import CouplingGraph
from erlangen.nn.parameter_symmetry.iterative_merging import Plan, plan_merges
from erlangen.nn.parameter_symmetry.surgery import scale_, tensor_of


@dataclass(frozen=True)
class MergeReport:
    """What `merge_features` did.

    `widths`: units before and after, a group; `multiplicities`: how many units each of those left stands for (they sum
    to the width before); `left_alone`: groups and parameter axes that could not be merged, with the reason.
    """

    parameters_before: int
    parameters_after: int
    widths: dict[str, tuple[int, int]]
    multiplicities: dict[str, list[int]]
    rules: dict[str, str]
    left_alone: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def removed(self) -> float:
        """The part of the parameters that is gone."""
        return 1 - self.parameters_after / self.parameters_before

    def __str__(self) -> str:
        lines = [f"{self.parameters_before:,} -> {self.parameters_after:,} parameters ({self.removed:.1%} removed)"]
        lines += [f"  {name}: {a} -> {b} units" for name, (a, b) in self.widths.items()]
        return "\n".join([*lines, *(f"  left alone: {name} ({why})" for name, why in self.left_alone)])


def merge_features(
    model: nn.Module,
    example_input: Any,
    *,
    beta: float = 0.1,
    max_ratio: float = 1.0,
    rule: Literal["auto", "mean_in_sum_out", "sum_in_mean_out"] = "auto",
    compare: Literal["all", "writes"] = "all",
    canonical: bool = False,
    skip: str | Sequence[str] = (),
) -> tuple[nn.Module, MergeReport]:
    """Iterative feature merging: a smaller copy of `model`, of the same modules, and what was done.

    In every group of coupled units the closest two merge, in turn, while their squared distance is at most `beta` times
    the group's largest; exactly equal units merge for every `beta >= 0`, and the function then stays the same.
    Parameters that cannot be merged (outputs, shared tables, whatever an unknown operation touches, units under one
    layer norm) are left alone and listed.

    Arguments:
        example_input: an input, or a tuple of inputs; one or two samples are enough, no data are used.
        beta: how different units may be; 0.001 to 0.3 in the paper.
        max_ratio: at most this part of a group disappears.
        rule: see `plan_merges`.
        compare: "all" weights of a unit, or only those that "writes" it.
        canonical: bring every unit whose activation is homogeneous to unit norm of its incoming weights first (the
            factor moves to its readers), so that units equal up to a positive factor merge too.
        skip: names or globs of groups to leave alone.

    Raises ValueError for a model with hooks or parametrizations, arguments out of range, names in `skip` that match
    nothing.

    Chen, Zhou and Yan, "Going Beyond Neural Network Feature Similarity: the Network Feature Complexity and its
    Interpretation", ICLR 2024. Other than the released code, the diagonal of the distances is left out explicitly (it
    fails on exactly equal units), and normalisations are averaged rather than summed.
    """
    began = time.perf_counter()
    model = copy.deepcopy(model)
    graph = CouplingGraph.from_model(model, example_input)
    patterns = [skip] if isinstance(skip, str) else list(skip)
    for pattern in patterns:
        if not fnmatch.filter(graph.groups, pattern):
            raise ValueError(f"skip: {pattern!r} matches no group; there are {', '.join(graph.groups)}")
    names = [n for n in graph.groups if not any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    if canonical:
        unit_norms_(model, graph, names)
    plan = plan_merges(model, graph, beta=beta, max_ratio=max_ratio, rule=rule, compare=compare, groups=names)
    before = sum(p.numel() for p in model.parameters())
    apply_plan_(model, graph, plan)
    report = MergeReport(
        before,
        sum(p.numel() for p in model.parameters()),
        plan.widths(),
        {name: torch.bincount(_numbered(c)).tolist() for name, c in plan.clusters.items()},
        dict(plan.rules),
        _left_alone(graph, names),
        time.perf_counter() - began,
    )
    return model, report


def _numbered(cluster: Tensor) -> Tensor:
    return cluster.unique(return_inverse=True)[1]


def apply_plan_(model: nn.Module, graph: CouplingGraph, plan: Plan) -> None:
    """Merge the clusters of a plan, in place; merged units carry the sum of their parts where the rule says so."""
    for name, cluster in plan.clusters.items():
        if plan.rules[name] == "sum_in_mean_out":
            number = _numbered(cluster)
            sizes = torch.bincount(number)[number].double()
            for which in range(len(graph.groups[name].factors)):
                scale_(model, graph.groups[name], sizes, which)
    graph.merge(model, {n: c for n, c in plan.clusters.items() if len(c.unique()) < len(c)}, inplace=True)


@torch.no_grad()
def unit_norms_(model: nn.Module, graph: CouplingGraph, names: Sequence[str]) -> None:
    """Incoming weights of norm one wherever a unit's scale is free; the function stays the same."""
    for name in names:
        group = graph.groups[name]
        for which, factor in enumerate(group.factors):
            square = torch.zeros(group.size, dtype=torch.float64)
            for slot in factor.writes:
                t = tensor_of(model, slot.name).double().movedim(slot.axis, 0)
                square += t[slot.index.flatten()].unflatten(0, slot.index.shape).flatten(1).square().sum(1).cpu()
            norm = square.sqrt()
            scale_(model, group, torch.where(norm > 0, 1 / norm, 1.0), which)


def _left_alone(graph: CouplingGraph, names: Sequence[str]) -> list[tuple[str, str]]:
    found = [(n, g.not_mergeable or g.not_sliceable or "skipped") for n, g in graph.groups.items() if n not in names]
    found += [
        (n, graph.groups[n].not_mergeable or graph.groups[n].not_sliceable)
        for n in names
        if graph.groups[n].not_mergeable or graph.groups[n].not_sliceable
    ]
    for fixed in graph.fixed:
        where = ", ".join(f"{name}[axis {axis}]" for name, axis in fixed.slots)
        found.append((where, fixed.reason))
    return found
