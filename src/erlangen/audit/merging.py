"""Which classes a symmetry merges: class a, moved, is read as class b, and b, moved back, as a."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen.stats import clopper_pearson


@dataclass(frozen=True)
class Reading:
    """How often a reader answers `b` for members of class `a`: `hits` of `total`."""

    hits: int
    total: int

    @property
    def share(self) -> float:
        return self.hits / self.total if self.total else math.nan

    def interval(self, level: float) -> tuple[float, float]:
        return clopper_pearson(self.hits, self.total, level=level) if self.total else (0.0, 1.0)


@dataclass(frozen=True)
class Merge:
    """Two classes that element number `element` takes into each other, `a` into `b` at least as often as back."""

    a: int
    b: int
    element: int
    back: int
    strength: float


class Confusions:
    """Counts `[elements + 1, classes, classes]` of class by answer, row 0 for the inputs as they are."""

    def __init__(self, answers: Tensor, label: Tensor, num_classes: int) -> None:
        self.counts = torch.stack(
            [torch.bincount(label * num_classes + a, minlength=num_classes**2) for a in answers]
        ).view(len(answers), num_classes, num_classes)

    @property
    def num_classes(self) -> int:
        return self.counts.shape[1]

    def reading(self, element: int, a: int, b: int) -> Reading:
        """Members of class `a` moved by `element` (-1: not moved) that are read as `b`."""
        row = self.counts[element + 1, a]
        return Reading(int(row[b]), int(row.sum()))

    def read_by_others(self, element: int, a: int, b: int) -> float:
        """The share of the other classes, moved by `element`, that is read as `b`: a reader's mere preference."""
        others = [c for c in range(self.num_classes) if c not in (a, b)]
        rows = self.counts[element + 1, others]
        return float(rows[:, b].sum() / rows.sum()) if others and int(rows.sum()) else 0.0

    def accuracy(self, element: int) -> float:
        table = self.counts[element + 1]
        return float(table.diagonal().sum() / table.sum())

    def mistaken(self, a: int, b: int) -> tuple[Reading, float]:
        """How often unmoved members of a and b are taken for each other, and the average over the other pairs."""
        table = self.counts[0]
        pair = Reading(int(table[a, b] + table[b, a]), int(table[a].sum() + table[b].sum()))
        rates = []
        for c in range(self.num_classes):
            for d in range(c):
                total = int(table[c].sum() + table[d].sum())
                if {c, d} != {a, b} and total:
                    rates.append(float(table[c, d] + table[d, c]) / total)
        return pair, sum(rates) / len(rates) if rates else 0.0


def find_merges(table: Confusions, inverses: list[int | None], *, level: float) -> list[Merge]:
    """Pairs of classes that an element takes into each other, strongest first, one element a pair.

    Both directions (`g` on a, its inverse on b) must be read as the other class in a share whose interval, corrected
    for all pairs and elements tried, lies above chance and above the share of the other classes that is read so.
    """
    classes = table.num_classes
    tried = 2 * len(inverses) * classes * (classes - 1) // 2
    strict = 1 - (1 - level) / max(tried, 1)
    best: dict[tuple[int, int], Merge] = {}
    for i, j in enumerate(inverses):
        if j is None:
            continue
        for a in range(classes):
            for b in range(classes):
                there, back = table.reading(i, a, b), table.reading(j, b, a)
                if a == b or not there.total or not back.total or there.share < back.share:
                    continue
                strength = math.sqrt(there.share * back.share)
                key = (min(a, b), max(a, b))
                if key in best and best[key].strength >= strength:
                    continue
                if _above_chance(table, i, a, b, there, strict) and _above_chance(table, j, b, a, back, strict):
                    best[key] = Merge(a, b, i, j, strength)
    return sorted(best.values(), key=lambda m: -m.strength)


def _above_chance(table: Confusions, element: int, a: int, b: int, reading: Reading, level: float) -> bool:
    chance = max(1 / table.num_classes, table.read_by_others(element, a, b))
    return reading.share > chance and reading.interval(level)[0] > chance
