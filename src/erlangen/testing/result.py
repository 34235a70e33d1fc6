"""What a check found: the verdict, the numbers behind it, the risks, the place and the likely causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from erlangen.testing.verdict import Verdict


class EquivarianceError(AssertionError):
    """A model does not have the symmetry it was checked for."""


@dataclass(frozen=True)
class Risk:
    """A circumstance in which the verdict is another one."""

    name: str
    verdict: Verdict
    error: float
    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Worst:
    """The worst case found, kept for reproduction: the element, the input, the input moved, and the two outputs."""

    g: Any
    x: Any
    gx: Any
    label: str
    error: float
    output: Any = None  # f(x)
    moved_output: Any = None  # f(g·x); None where the model raised


@dataclass
class CheckResult:
    """`verdict` is the word, `error` the worst relative error per precision, `parts` per part of the group.

    `risks` lists what would change the verdict; `first_breaking` names the first submodule at which the error
    appears; `causes` says in plain words what most often makes this pattern; `curve` is (distance from the identity,
    error) per element; `notes` are facts about the run (randomness, memory, precision).
    """

    verdict: Verdict
    symmetry: Any
    error: dict[str, float]
    parts: dict[str, float]
    risks: list[Risk] = field(default_factory=list)
    worst: Worst | None = None
    first_breaking: str | None = None
    causes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curve: list[tuple[float, float]] = field(default_factory=list)
    random: bool = False
    error_same_noise: float | None = None
    islands: list[str] = field(default_factory=list)
    error_lifted: float | None = None
    scenarios: dict[str, float] = field(default_factory=dict)
    not_in_group: list[str] = field(default_factory=list)
    seconds: float = 0.0
    calls: int = 0
    _again: Callable[[], CheckResult] | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Exact, or exact but for round-off."""
        return self.verdict in ("exact", "round-off")

    @property
    def worst_error(self) -> float:
        """The error the verdict is read from: float64 where the model runs in it."""
        return self.error.get("float64", self.error.get("float32", float("nan")))

    def rerun(self) -> CheckResult:
        """The same check again, from the same seed."""
        if self._again is None:
            raise ValueError("rerun: this result was read from a file; call check again with the model and its inputs")
        return self._again()

    def raise_if_failed(self, *, tolerance: float | None = None) -> None:
        """Raise `EquivarianceError` unless the verdict is exact or round-off (or within `tolerance` in float64)."""
        if self.ok or (tolerance is not None and self.verdict != "vacuous" and self.worst_error <= tolerance):
            return
        raise EquivarianceError(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return {
            "verdict": self.verdict,
            "symmetry": str(self.symmetry),
            "error": {k: float(v) for k, v in self.error.items()},
            "parts": {k: float(v) for k, v in self.parts.items()},
            "risks": [
                {"name": r.name, "verdict": r.verdict, "error": float(r.error), "words": r.words} for r in self.risks
            ],
            "worst": None if self.worst is None else {"label": self.worst.label, "error": float(self.worst.error)},
            "first_breaking": self.first_breaking,
            "causes": list(self.causes),
            "notes": list(self.notes),
            "curve": [[float(d), float(e)] for d, e in self.curve],
            "random": self.random,
            "error_same_noise": self.error_same_noise,
            "islands": list(self.islands),
            "error_lifted": self.error_lifted,
            "scenarios": {k: float(v) for k, v in self.scenarios.items()},
            "not_in_group": list(self.not_in_group),
            "seconds": float(self.seconds),
            "calls": self.calls,
        }

    def __str__(self) -> str:
        shown = self.verdict if self.verdict != "approximate" else f"approximate({self.worst_error:.0e})"
        pieces = [f"{name} {value:.1e}" for name, value in self.parts.items() if name != "whole group"]
        pieces += [f"{name} not in the group" for name in self.not_in_group]
        group = getattr(self.symmetry, "group", self.symmetry)
        lines = [f"{shown}  {group}: {', '.join(pieces) or f'{self.worst_error:.1e}'}", f"  {self._precisions()}"]
        if self.first_breaking:
            lines.append(f"  first layer that breaks: {self.first_breaking}")
        lines += [f"  likely cause: {cause}" for cause in self.causes]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  risk: {risk.words}" for risk in self.risks]
        if self.worst is not None and not self.ok:
            at = f" ({self.worst.label})" if self.worst.label else ""
            lines.append(f"  worst case kept{at}: result.worst.g, result.worst.x        reproduce: result.rerun()")
        return "\n".join(lines)

    def _precisions(self) -> str:
        numbers = ", ".join(f"{name} {value:.1e}" for name, value in self.error.items())
        e64, e32 = self.error.get("float64"), self.error.get("float32")
        if e64 is None or e32 is None:
            return numbers
        if self.verdict in ("broken", "approximate") and e32 < 100 * e64:
            return f"{numbers}: the same in both, so this is structure, not round-off"
        if self.verdict == "round-off":
            return f"{numbers}: it shrinks with the precision, so this is round-off, not structure"
        return numbers
