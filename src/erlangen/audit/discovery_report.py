"""What was discovered, as values, as a table, and as the command to run next."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from erlangen.groups import parse
from erlangen.groups.base import FiniteGroup
from erlangen.groups.finite import Cyclic, Dihedral

Verdict = Literal["exact", "approximate", "not at all", "cannot tell"]


@dataclass(frozen=True)
class Reading:
    """A number with its interval."""

    value: float
    low: float
    high: float

    def percent(self) -> str:
        """`72 % [65, 79]`."""
        if math.isnan(self.value):
            return "-"
        return f"{100 * self.value:.0f} % [{100 * self.low:.0f}, {100 * self.high:.0f}]"


@dataclass(frozen=True)
class GroupReading:
    """One candidate group.

    Attributes:
        group: its name.
        verdict: "exact", "approximate", "not at all" or "cannot tell".
        why: in words.
        holds: how much of the symmetry there is: 1 as in the planted twin, 0 as for a target without symmetry.
        lost, planted, broken: share of the predictor's skill that goes when inputs are moved: in the data, in the twin
            where the symmetry was planted, for a target that no group respects.
        told_apart, planted_told_apart: how often moved inputs are known from unmoved ones, there and in the twin.
        rest, moved, planted_rest: the predictor's skill on unmoved inputs, its score on moved ones (accuracy, or the
            share of variance explained), and its score on the planted twin.
        by_element: share lost for each element of a small group, by its name.
    """

    group: str
    verdict: Verdict
    why: str
    holds: Reading
    lost: Reading
    planted: Reading
    broken: Reading
    told_apart: Reading
    planted_told_apart: Reading
    rest: float
    moved: float
    planted_rest: float
    by_element: dict[str, float]


@dataclass(frozen=True)
class Discovery:
    """The readings of all candidates; `print` shows a table, `command` says what to run next.

    Attributes:
        data: what the data are called.
        samples: how many were used.
        task: "classification", "regression" or "inputs".
        readings: one a candidate, in the order asked for.
        skill: the predictor's skill on the data as they are; None where there is nothing to predict.
        source: the name or path that the data came from, where they did.
        kind: the type of the inputs.
    """

    data: str
    samples: int
    task: str
    readings: tuple[GroupReading, ...]
    skill: Reading | None
    source: str | None
    kind: str

    def __getitem__(self, group: str) -> GroupReading:
        for reading in self.readings:
            if reading.group == parse(group).name:
                return reading
        raise KeyError(f"{group}: not among the candidates {', '.join(r.group for r in self.readings)}")

    @property
    def symmetry(self) -> str | None:
        """The largest candidate that holds exactly, or nearly (at least 80 % at the interval's lower end)."""
        kept = [r for r in self.readings if r.verdict == "exact" or (r.verdict == "approximate" and r.holds.low >= 0.8)]
        if not kept:
            return None
        return max(kept, key=lambda r: _size(r.group)).group

    @property
    def command(self) -> str:
        """The command, or the line of Python, that uses what was found."""
        group = self.symmetry
        source = self.source or "DATA"
        if self.kind == "image":
            finite = _finite(group)
            if finite is None:
                return f"erlangen fit {source} --symmetry C1 --encoder plain_cnn --out RUN"
            return f"erlangen fit {source} --symmetry {finite} --encoder group_cnn --out RUN"
        if group is None:
            return f"erlangen fit {source} --encoder mlp --out RUN"
        kind = self.kind if self.kind.isidentifier() or self.kind[:1].isdigit() else "vectors"
        return f'model = er.symmetrize(model, er.Symmetry("{group}", input="{kind}"), how="frame")'

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {**dataclasses.asdict(self), "symmetry": self.symmetry, "command": self.command}

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table."""
        return [
            (
                r.group,
                r.verdict,
                r.holds.percent() if r.verdict != "cannot tell" else "-",
                r.lost.percent() if r.verdict != "cannot tell" else "-",
                _percent(r.planted.value) if r.verdict != "cannot tell" else "-",
                _percent(r.broken.value),
                f"{100 * r.told_apart.value:.0f} % (twin {100 * r.planted_told_apart.value:.0f} %)",
            )
            for r in self.readings
        ]

    def summary(self) -> list[str]:
        """Lines of words for people."""
        what = {"classification": "classes", "regression": "targets", "inputs": "inputs"}[self.task]
        lines = [f"{self.data}: {self.samples} samples, {what}"]
        if self.skill is not None:
            lines[0] += f"; predicted from the inputs with skill {self.skill.percent()}"
        lines += [f"{r.group}: {r.verdict}: {r.why}" for r in self.readings]
        partly = [
            (r.group, sorted(r.by_element.items(), key=lambda e: -e[1]))
            for r in self.readings
            if r.verdict != "cannot tell"
        ]
        for group, elements in partly:
            if len(elements) > 2 and elements[0][1] - elements[-1][1] > 0.2:
                worst, best = elements[0], elements[-1]
                lines.append(f"within {group}: {worst[0]} loses {worst[1]:.0%}, {best[0]} loses {best[1]:.0%}")
        lines.append(f"next: {self.command}")
        return lines

    def __str__(self) -> str:
        head = COLUMNS
        rows = [head, *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines = self.summary()
        return "\n".join([lines[0], *table, *lines[1:]])


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


COLUMNS = ("group", "verdict", "holds", "lost when moved", "if it held", "if it did not", "moved inputs told apart")


def _size(name: str) -> tuple[float, int, float]:
    group = parse(name)
    if isinstance(group, FiniteGroup):
        return float(group.order), 0, 0.0
    return math.inf, group.dim, 0.0 if group.is_connected else 1.0


def _finite(name: str | None) -> str | None:
    """The group of the plane that the encoders know and that comes nearest."""
    if name is None:
        return None
    group = parse(name)
    if isinstance(group, (Cyclic, Dihedral)):
        return group.name
    return {"SO(2)": "C8", "SE(2)": "C8", "O(2)": "D8", "E(2)": "D8"}.get(name)
