"""Measure again in the circumstances that may change the verdict, and keep those that do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from erlangen.testing import leaves, perturb
from erlangen.testing.elements import Draw
from erlangen.testing.measure import measure, noise_floor
from erlangen.testing.result import Risk
from erlangen.testing.runner import Runner
from erlangen.testing.session import Session
from erlangen.testing.vacuous import why_vacuous
from erlangen.testing.verdict import Thresholds, Verdict, judge

ADVICE = {
    "train mode": "use eval mode where the symmetry matters, or layers whose statistics respect it",
    "eval mode": "the verdict above holds in train mode only",
    "perturbed parameters": "a special initialisation hides the break; training will undo it",
    "after one optimizer step": "training leaves the symmetric weights; constrain them instead of initialising them",
    "tied inputs": "ties in sorting, neighbours or maxima are broken by rounding",
    "duplicated rows": "equal rows are ordered by accident",
    "collinear inputs": "the orientation of flat inputs is not defined",
    "zero inputs": "a division by a vanishing length",
}


class Scenarios:
    """Runs the circumstances one after the other within a time limit."""

    def __init__(
        self, session: Session, draws: list[Draw], limits: Thresholds, verdict: Verdict, *, seed: int, deadline: float
    ) -> None:
        self.session, self.limits, self.verdict, self.seed, self.deadline = session, limits, verdict, seed, deadline
        self.draws = _few(draws)
        self.errors: dict[str, float] = {}
        self.risks: list[Risk] = []
        self.skipped: list[str] = []
        self.base_error = 0.0
        self.noise_seed = seed if session.random else None

    def run_all(self) -> None:
        for name, change in (
            ("mode", self._mode),
            ("perturbed parameters", self._perturbed),
            ("after one optimizer step", self._step),
        ):
            if not perturb.has_modules(self.session.main):
                break
            self._guarded(name, change)
        if self.verdict in ("broken", "vacuous"):
            return
        self._guarded("far from the origin", self._far)
        for name, args in perturb.special_inputs(self.session.args).items():
            self._guarded(name, lambda name=name, args=args: self._inputs(name, args))  # type: ignore[misc]

    def _guarded(self, name: str, change: Callable[[], None]) -> None:
        if time.perf_counter() > self.deadline:
            self.skipped.append(name)
            return
        try:
            change()
        except Exception:  # a circumstance in which the model refuses to run has no verdict
            self.skipped.append(name)

    def _mode(self) -> None:
        twin = perturb.clone_runner(self.session.main)
        self._measure(f"{perturb.other_mode(twin)} mode", twin, self.session.args, literal=True)

    def _perturbed(self) -> None:
        twin = perturb.clone_runner(self.session.main)
        if perturb.perturb_weights(twin, self.session.args, torch.Generator().manual_seed(self.seed)):
            self._measure("perturbed parameters", twin, self.session.args)

    def _step(self) -> None:
        twin = perturb.clone_runner(self.session.main)
        if perturb.optimizer_step(twin, self.session.args, torch.Generator().manual_seed(self.seed)):
            self._measure("after one optimizer step", twin, self.session.args)

    def _far(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        args = perturb.far_inputs(self.session.symmetry, self.session.args, generator)
        if args is None:
            return
        scale = self._scale()
        for name, runner in self.session.runners.items():
            error = measure(runner, self.session.symmetry, args, self.draws, seed=self.noise_seed, floor=scale).worst
            self.errors[f"far from the origin, {name}"] = error
            limit = self.limits.exact64 * perturb.FAR if name == "float64" else self.limits.exact32
            if error > limit and self.verdict in ("exact", "round-off"):
                word: Verdict = "broken" if error >= self.limits.broken else "approximate"
                word = "round-off" if name == "float32" and "float64" in self.session.runners else word
                self.risks.append(
                    Risk(
                        "far from the origin",
                        word,
                        error,
                        f"{name} far from the origin (shift 1e4): {error:.0e}; centre the input",
                    )
                )
                return

    def _inputs(self, name: str, args: tuple[Any, ...]) -> None:
        runner = perturb.clone_runner(self.session.main)
        out = leaves.stacked(runner(leaves.cast(args, runner.dtype), seed=self.seed))
        if not bool(torch.isfinite(out).all()):
            self.errors[name] = float("inf")
            self.risks.append(
                Risk(name, "broken", float("inf"), f"{name}: the output is NaN or infinite; {ADVICE[name]}")
            )
            return
        self._measure(name, runner, args)

    def _scale(self) -> float:
        return 1e-3 * float(leaves.stacked(self.session.outputs[self.session.main_name]).norm())

    def _measure(self, name: str, runner: Runner, args: tuple[Any, ...], *, literal: bool = False) -> None:
        seed = None if literal else self.noise_seed
        found = measure(runner, self.session.symmetry, args, self.draws, seed=seed, floor=self._scale())
        error = found.worst
        self.errors[name] = error
        double = runner.dtype == torch.float64
        doubtful = not error <= (self.limits.exact64 if double else 0.0)
        floor = noise_floor(runner, args, seed=self.seed, repeats=2) if doubtful else 0.0
        if double and error <= 1e3 * floor and error < 1e-6:
            error = 0.0
        word = judge(error if double else None, None if double else error, self.limits, floor32=floor)
        if self.verdict == "vacuous":
            still = why_vacuous(runner, args, found.output, seed=self.seed)
            word = "vacuous" if still else word
        same = {"exact": 0, "round-off": 0, "approximate": 1, "broken": 2, "vacuous": 3}
        better = same[word] < same[self.verdict]
        if self.verdict == "approximate" and word == "broken" and error < 3 * max(self.base_error, 1e-12):
            return  # the same size of error on the other side of the line is no other circumstance
        if same[word] != same[self.verdict] and not (better and name in perturb.SPECIAL):
            self.risks.append(Risk(name, word, error, f"{name}: {word}, error {error:.0e}; {ADVICE[name]}"))


def _few(draws: list[Draw]) -> list[Draw]:
    """An element of every part and of the whole group; two of each where the group has at most one part."""
    per_part = 1 if len({draw.part for draw in draws}) > 2 else 2
    kept: list[Draw] = []
    for draw in draws:
        if draw.distance == 0.0:
            continue
        if sum(k.part == draw.part for k in kept) < per_part:
            kept.append(draw)
    return kept
