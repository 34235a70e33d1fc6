"""Reads the groups of interchangeable units off a trace."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from erlangen.nn.parameter_symmetry.trace import READS, THROUGH, WRITES, Axis, Trace


@dataclass(frozen=True)
class Slot:
    """Where the units of a group sit in one tensor: unit `u` owns the indices `index[u]` of axis `axis`.

    `role`: "writes" (rows of a producer), "reads" (columns of a consumer, which sums over units), "through" (a factor
    or shift that a unit passes on its way), "both" where one axis is written and read.
    """

    name: str
    axis: int
    index: Tensor
    role: str

    def __str__(self) -> str:
        return f"{self.name}[axis {self.axis}] {self.role}"


@dataclass(frozen=True)
class Factor:
    """One positive number a unit that may be multiplied into `writes` and divided out of `reads`."""

    writes: tuple[Slot, ...]
    reads: tuple[Slot, ...]


@dataclass(frozen=True)
class Group:
    """Units that can change places: `size` of them, sitting in `slots`.

    `factors` are the scales that can be moved from writers to readers. `not_mergeable` and `not_sliceable` say why, and
    are empty where two equal units can be made one, and units taken out.
    """

    name: str
    size: int
    slots: tuple[Slot, ...]
    factors: tuple[Factor, ...] = ()
    not_mergeable: str = ""
    not_sliceable: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.size} units in {', '.join(map(str, self.slots))}"


@dataclass(frozen=True)
class Fixed:
    """Parameter axes whose units stay as they are, and why."""

    slots: tuple[Axis, ...]
    reason: str


@dataclass
class _Unit:
    slots: dict[Axis, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def signature(self) -> tuple[tuple[Axis, int], ...]:
        return tuple(sorted((key, len(places)) for key, places in self.slots.items()))


def read_groups(trace: Trace) -> tuple[list[Group], list[Fixed]]:
    """The groups of a trace and, for the rest, what fixed it."""
    why: dict[str, set[Axis]] = defaultdict(set)
    roots = {key: trace.units.find(ids) for key, ids in trace.ids.items()}
    for unit, reason in trace.fixed:
        found = trace.units.find(unit)
        why[reason] |= {key for key, root in roots.items() if np.isin(root, found).any()}
    for unit, _ in trace.fixed:
        trace.units.fix(unit)
    units: dict[int, _Unit] = defaultdict(_Unit)
    for key, ids in trace.ids.items():
        for place, root in enumerate(trace.units.find(ids)):
            if root:
                units[int(root)].slots[key].append(place)
    families: dict[tuple[tuple[Axis, int], ...], list[int]] = defaultdict(list)
    for root, member in units.items():
        families[member.signature].append(root)
    factors = _factors(trace)
    groups = []
    for signature, members in families.items():
        if len(members) < 2:
            why["one unit of its kind"] |= {key for key, _ in signature}
            continue
        if all(trace.roles[key] == {READS} for key, _ in signature):
            why["read from an input of the model"] |= {key for key, _ in signature}
            continue
        groups.append(_group(trace, members, units, factors))
    groups.sort(key=lambda g: list(trace.ids).index((g.slots[0].name, g.slots[0].axis)))
    seen: dict[str, int] = defaultdict(int)
    named = []
    for group in groups:
        seen[group.name] += 1
        again = f"{group.name}#{seen[group.name]}" if seen[group.name] > 1 else group.name
        named.append(Group(again, group.size, group.slots, group.factors, group.not_mergeable, group.not_sliceable))
    return named, [Fixed(tuple(sorted(keys)), reason) for reason, keys in why.items() if keys]


def _group(trace: Trace, members: list[int], units: dict[int, _Unit], factors: "dict[int, list[_Scale]]") -> Group:
    slots = []
    for key in trace.ids:
        if key in units[members[0]].slots:
            index = torch.tensor([units[m].slots[key] for m in members])
            slots.append(Slot(*key, index, _role(trace.roles[key])))
    slots.sort(key=lambda s: {"writes": 0, "through": 1}.get(s.role, 2))
    merge = next((reason for unit, reason in trace.mixed if np.isin(trace.units.find(unit), members).any()), "")
    if any(s.role == "both" for s in slots):
        merge = "a tensor that is written and read along one axis"
    elif not any(s.role == READS for s in slots):
        merge = merge or "nothing sums over the units"
    cut = next((reason for unit, reason in trace.unsliceable if np.isin(trace.units.find(unit), members).any()), "")
    name = slots[0].name.removesuffix(".weight").removesuffix(".in_proj_weight")
    return Group(name, len(members), tuple(slots), _usable(trace, members, factors), merge, cut)


def _role(roles: set[str]) -> str:
    if READS in roles:
        return "both" if len(roles) > 1 else READS
    return WRITES if WRITES in roles else THROUGH


@dataclass
class _Scale:
    slots: dict[tuple[str, int, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def kind(self) -> frozenset[tuple[str, int, str]]:
        return frozenset(self.slots)


def _factors(trace: Trace) -> dict[int, list[_Scale]]:
    """The scale segments of every unit that lie within it."""
    scales: dict[int, _Scale] = defaultdict(_Scale)
    owner: dict[int, set[int]] = defaultdict(set)
    for (name, axis, role), ids in trace.scale_ids.items():
        unit = trace.units.find(trace.ids[(name, axis)])
        for place, root in enumerate(trace.scales.find(ids)):
            if root:
                scales[int(root)].slots[(name, axis, role)].append(place)
                owner[int(root)].add(int(unit[place]))
    found: dict[int, list[_Scale]] = defaultdict(list)
    for root, scale in scales.items():
        if len(owner[root]) == 1:
            found[owner[root].pop()].append(scale)
    return found


def _usable(trace: Trace, members: list[int], factors: dict[int, list[_Scale]]) -> tuple[Factor, ...]:
    kinds = {scale.kind: None for scale in factors.get(members[0], [])}
    usable = []
    for kind in kinds:
        if {role for *_, role in kind} != {WRITES, READS}:
            continue
        slots = []
        for name, axis, role in sorted(kind):
            rows = [
                sorted(p for scale in factors.get(m, []) if scale.kind == kind for p in scale.slots[(name, axis, role)])
                for m in members
            ]
            if len({len(row) for row in rows}) != 1 or not rows[0]:
                break
            slots.append(Slot(name, axis, torch.tensor(rows), role))
        else:
            writes = tuple(s for s in slots if s.role == WRITES)
            usable.append(Factor(writes, tuple(s for s in slots if s.role == READS)))
    return tuple(usable)
