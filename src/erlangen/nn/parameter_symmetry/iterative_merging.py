"""Which units of a network are so alike, by their weights alone, that one can stand for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from erlangen.nn.parameter_symmetry.coupling_graph import CouplingGraph
from erlangen.nn.parameter_symmetry.groups import Group, Slot
from erlangen.nn.parameter_symmetry.surgery import tensor_of
from erlangen.nn.parameter_symmetry.trace import READS

Rule = Literal["mean_in_sum_out", "sum_in_mean_out"]
EQUAL = 1e-11  # squared distance over squared norms below which two units are the same numbers


@dataclass(frozen=True)
class Plan:
    """What to merge: for every group the cluster of each unit, and the rule that fits its activation."""

    clusters: dict[str, Tensor]
    rules: dict[str, Rule]

    def widths(self) -> dict[str, tuple[int, int]]:
        """Units before and after, for every group."""
        return {name: (len(c), len(c.unique())) for name, c in self.clusters.items()}


def plan_merges(
    model: nn.Module,
    graph: CouplingGraph,
    *,
    beta: float = 0.1,
    max_ratio: float = 1.0,
    rule: Literal["auto", "mean_in_sum_out", "sum_in_mean_out"] = "auto",
    compare: Literal["all", "writes"] = "all",
    groups: list[str] | None = None,
) -> Plan:
    """Iterative feature merging: in turn, every group merges its closest two units, while they are close enough.

    A unit is the vector of all weights that belong to it (tensors of at least two axes); a merged unit is the mean of
    its parts, so that the third of three equal units is still equal to the first two. The closest two of a group merge
    while their squared distance is at most `beta` times the largest one in the group at that moment. One Gram matrix a
    group is kept up to date: a merge costs O(units^2) and not O(units^2 weights). The diagonal never takes part, so
    that exactly equal units are found; with `beta=0` only those merge.

    Arguments:
        max_ratio: at most this part of a group's units disappears.
        rule: "mean_in_sum_out" averages writers and sums readers; "sum_in_mean_out" the reverse, for homogeneous
            activations. For the same clusters the function of the result is the same; the distances of the units before
            and behind, which see the merged weights, are not. "auto" takes the second where it is exact.
        compare: "all" weights of a unit, or those that "writes" it only: units equal in those are equivalent however
            their readers weigh them.

    Raises ValueError for numbers out of range and for a rule that is not exact for a group.

    Chen, Zhou and Yan, "Going Beyond Neural Network Feature Similarity", ICLR 2024.
    """
    if not beta >= 0 or not 0 <= max_ratio <= 1:
        raise ValueError(f"beta, max_ratio: {beta}, {max_ratio}; allowed are beta >= 0 and 0 <= max_ratio <= 1")
    if rule not in ("auto", "mean_in_sum_out", "sum_in_mean_out") or compare not in ("all", "writes"):
        raise ValueError(f"rule, compare: {rule!r}, {compare!r}; see the documentation for the allowed ones")
    names = [n for n, g in graph.groups.items() if not g.not_mergeable and not g.not_sliceable]
    names = [n for n in names if groups is None or n in groups]
    rules = {name: _rule(graph.groups[name], rule) for name in names}
    weights = {
        slot.name: tensor_of(model, slot.name).detach().double().cpu().numpy().copy()
        for name in names
        for slot in graph.groups[name].slots
        if tensor_of(model, slot.name).dim() > 1
    }
    states = {name: _State(graph.groups[name], rules[name], weights, compare) for name in names}
    readers: dict[str, list[tuple[_State, int]]] = {}
    for state in states.values():
        for place, slot in enumerate(state.slots):
            readers.setdefault(slot.name, []).append((state, place))
    for state in states.values():
        state.most = int(max_ratio * state.group.size)
    active = list(states.values())
    while active:
        active = [state for state in active if _step(state, weights, readers, beta)]
    return Plan({name: torch.from_numpy(state.cluster) for name, state in states.items()}, rules)


def _rule(group: Group, rule: str) -> Rule:
    covered = {(s.name, s.axis) for f in group.factors for s in f.reads}
    exact = all((s.name, s.axis) in covered for s in group.slots if s.role == READS)
    if rule == "sum_in_mean_out" and not exact:
        raise ValueError(
            f"rule: 'sum_in_mean_out' is not exact for the units of {group.name!r}, whose activation is not "
            "homogeneous; use 'mean_in_sum_out' or 'auto'"
        )
    return "sum_in_mean_out" if exact and rule != "mean_in_sum_out" else "mean_in_sum_out"


class _State:
    """The live units of a group with the Gram matrices of their weights, one for those that add up, one for means.

    Row `r` of everything is unit `units[r]`; a merged unit's row is overwritten by the last one.
    """

    def __init__(self, group: Group, rule: Rule, weights: Mapping[str, np.ndarray], compare: str) -> None:
        self.group, self.live = group, group.size
        self.units = np.arange(group.size)
        self.count = np.ones(group.size)
        self.cluster = np.arange(group.size)
        self.merged, self.most = 0, group.size
        self.slots: list[Slot] = [s for s in group.slots if s.name in weights]
        self.index = [s.index.numpy().copy() for s in self.slots]
        scaled = {(s.name, s.axis) for f in group.factors for s in f.writes}
        self.adds = [(s.name, s.axis) in scaled if rule == "sum_in_mean_out" else s.role == READS for s in self.slots]
        self.counts = [compare == "all" or s.role != READS for s in self.slots]
        self.gram = np.zeros((2, group.size, group.size))
        for place, slot in enumerate(self.slots):
            if self.counts[place]:
                rows = self.rows(np.moveaxis(weights[slot.name], slot.axis, 0), place)
                self.gram[int(self.adds[place])] += rows @ rows.T

    def rows(self, array: np.ndarray, place: int) -> np.ndarray:
        """One row of weights a live unit, from an array whose first axis is the slot's."""
        return array[self.index[place][: self.live].ravel()].reshape(self.live, -1)

    def closest(self) -> tuple[float, float, int, int]:
        """Smallest and largest squared distance between two live units, and the two closest."""
        n = self.live
        count = self.count[:n]
        gram = self.gram[0, :n, :n] + self.gram[1, :n, :n] / (count[:, None] * count)
        norms = gram.diagonal().copy()
        distance = norms[:, None] + norms - 2 * gram
        np.fill_diagonal(distance, 0.0)
        largest = float(distance.max())
        distance[distance <= EQUAL * (norms[:, None] + norms)] = 0.0
        np.fill_diagonal(distance, np.inf)
        i, j = sorted(divmod(int(distance.argmin()), n))
        return float(distance[i, j]), largest, i, j

    def shares(self, i: int, j: int, adds: bool) -> tuple[float, float]:
        if adds:
            return 1.0, 1.0
        total = self.count[i] + self.count[j]
        return float(self.count[i] / total), float(self.count[j] / total)

    def combine(self, i: int, j: int) -> None:
        """Row i becomes the merged unit's, row j the last one's."""
        n = self.live
        for adds in (False, True):
            a, b = self.shares(i, j, adds)
            gram = self.gram[int(adds)]
            row = a * gram[i, :n] + b * gram[j, :n]
            row[i] = a * a * gram[i, i] + 2 * a * b * gram[i, j] + b * b * gram[j, j]
            gram[i, :n], gram[:n, i] = row, row
            gram[j, :n] = gram[n - 1, :n]
            gram[:n, j] = gram[:n, n - 1]
        self.cluster[self.cluster == self.units[j]] = self.units[i]
        self.count[i] += self.count[j]
        for held in (self.units, self.count, *self.index):
            held[j] = held[n - 1]
        self.live -= 1
        self.merged += 1


def _step(
    state: _State, weights: dict[str, np.ndarray], readers: Mapping[str, list[tuple[_State, int]]], beta: float
) -> bool:
    """Merge the closest two units of one group, if they are close enough; is there more to come?"""
    if state.live < 2 or state.merged >= state.most:
        return False
    smallest, largest, i, j = state.closest()
    if smallest > beta * largest:
        return False
    own = _tell_neighbours(state, weights, readers, i, j)
    for place, slot in enumerate(state.slots):
        array = np.moveaxis(weights[slot.name], slot.axis, 0)
        a, b = state.shares(i, j, state.adds[place])
        first, second = state.index[place][i], state.index[place][j]
        array[first] = a * array[first] + b * array[second]
        array[second] = 0.0
    row = np.arange(state.live - 1)
    row[j : j + 1] = state.live - 1
    state.combine(i, j)
    for adds, change in own:
        state.gram[adds, : state.live, : state.live] += change[np.ix_(row, row)]
    return True


def _tell_neighbours(
    state: _State, weights: dict[str, np.ndarray], readers: Mapping[str, list[tuple[_State, int]]], i: int, j: int
) -> list[tuple[int, np.ndarray]]:
    """Units on the other axes of the changed tensors get other vectors: a change of low rank in their Gram matrix.

    Returns the changes of the group's own matrix (a tensor with both axes in one group), due once its rows are merged.
    """
    own = []
    for place, slot in enumerate(state.slots):
        for other, at in readers[slot.name]:
            axis = other.slots[at].axis
            if axis == slot.axis or not other.counts[at]:
                continue
            array = np.moveaxis(weights[slot.name], (axis, slot.axis), (0, 1))
            pair = [array[:, state.index[place][r]] for r in (i, j)]
            if other is state:  # the other axis of this tensor merges too, and its own rows are combined afterwards
                pair = [_combined(state, at, x, i, j) for x in pair]
            old = [other.rows(x, at) for x in pair]
            a, b = state.shares(i, j, state.adds[place])
            new = a * old[0] + b * old[1]
            gram = other.gram[int(other.adds[at])]
            change = np.concatenate([new, *old], 1) @ np.concatenate([new, -old[0], -old[1]], 1).T
            if other is state:
                own.append((int(other.adds[at]), change))
            else:
                gram[: other.live, : other.live] += change
    return own


def _combined(state: _State, place: int, array: np.ndarray, i: int, j: int) -> np.ndarray:
    a, b = state.shares(i, j, state.adds[place])
    first, second = state.index[place][i], state.index[place][j]
    array = array.copy()
    array[first] = a * array[first] + b * array[second]
    array[second] = 0.0
    return array
