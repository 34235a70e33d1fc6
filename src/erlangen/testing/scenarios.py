"""Measure again in the circumstances that may change the verdict, and keep those that do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from erlangen.testing import leaves, perturb
from erlangen.testing.budget import Budget
from erlangen.testing.elements import Draw
from erlangen.testing.measure import measure, noise_floor
from erlangen.testing.result import Risk
from erlangen.testing.runner import Runner
from erlangen.testing.session import Session
from erlangen.testing.vacuous import why_vacuous
from erlangen.testing.verdict import Thresholds, Verdict, judge

WORSE = {
    "train mode": "use eval mode where the symmetry matters, or layers whose statistics respect it",
    "eval mode": "the verdict above holds in train mode only",
    "perturbed parameters": "a special initialisation hides the break; training will undo it",
    "after one optimizer step": "training leaves the symmetric weights; constrain them instead of initialising them",
    "other inputs": "the given inputs do not reach the part of the model that breaks",
    "tied inputs": "ties in sorting, neighbours or maxima are broken by rounding",
    "duplicated rows": "equal rows are ordered by accident",
    "collinear inputs": "the orientation of flat inputs is not defined",
    "zero inputs": "a division by a vanishing length",
}
BETTER = {
    "train mode": "the break above belongs to eval mode",
    "eval mode": "the break above belongs to train mode",
    "perturbed parameters": "the verdict above belongs to these parameter values",
    "after one optimizer step": "the verdict above belongs to these parameter values",
}
RANK: dict[str, int] = {"exact": 0, "round-off": 0, "approximate": 1, "broken": 2, "vacuous": 3}
OTHER = 10.0  # a structural error is another one when it is this many times larger


class Scenarios:
    """Runs the circumstances one after the other within a time limit; a risk is one whose verdict differs."""

    def __init__(
        self, session: Session, draws: list[Draw], limits: Thresholds, verdict: Verdict, budget: Budget, *, seed: int
    ) -> None:
        self.session, self.limits, self.verdict, self.seed, self.budget = session, limits, verdict, seed, budget
        self.draws = _few(draws)
        self.many = [draw for draw in draws if draw.distance != 0.0]
        self.errors: dict[str, float] = {}
        self.risks: list[Risk] = []
        self.refused: list[str] = []
        self.base_error = 0.0
        self.noise_seed = seed if session.random else None

    def run_all(self) -> None:
        calls = len(self.draws) + 2
        if perturb.has_modules(self.session.main):
            self._guarded("perturbed parameters", self._perturbed, calls + 1)
            self._guarded("the other mode", self._mode, calls)
            self._guarded("after one optimizer step", self._step, calls + 4)
        if self.verdict in ("broken", "vacuous"):
            return
        self._guarded("far from the origin", self._far, 2 * calls)
        self._guarded("other inputs", self._other, calls + 1)
        if any(risk.name == "other inputs" for risk in self.risks):
            return  # broken on generic inputs: special ones would only be misread
        for name, args in perturb.special_inputs(self.session.args).items():
            self._guarded(name, lambda name=name, args=args: self._inputs(name, args), calls + 1)  # type: ignore[misc]

    def _guarded(self, name: str, change: Callable[[], None], calls: int) -> None:
        if not self.budget.affords(self.session.main, calls):
            self.budget.skip(name)
            return
        try:
            change()
        except Exception:  # a circumstance in which the model refuses to run has no verdict
            self.refused.append(name)

    def _mode(self) -> None:
        for training in perturb.other_modes(self.session.main):
            with perturb.changed_runner(self.session.main) as twin:
                for root in twin.modules:
                    root.train(training)
                if perturb.depends_on_mode(twin):
                    self._measure("train mode" if training else "eval mode", twin, self.session.args, literal=True)

    def _perturbed(self) -> None:
        with perturb.changed_runner(self.session.main) as twin:
            if perturb.perturb_weights(twin, self.session.args, torch.Generator().manual_seed(self.seed)):
                self._measure("perturbed parameters", twin, self.session.args)

    def _step(self) -> None:
        with perturb.changed_runner(self.session.main) as twin:
            if perturb.optimizer_step(twin, self.session.args, torch.Generator().manual_seed(self.seed)):
                self._measure("after one optimizer step", twin, self.session.args)

    def _other(self) -> None:
        args = perturb.other_inputs(self.session, torch.Generator().manual_seed(self.seed))
        if args is not None:
            self._inputs("other inputs", args)

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
                words = f"{name} far from the origin (shift 1e4): {error:.0e}; centre the input"
                self.risks.append(Risk("far from the origin", word, error, words))
                return

    def _inputs(self, name: str, args: tuple[Any, ...]) -> None:
        runner = self.session.main
        out = leaves.stacked(runner(leaves.cast(args, runner.dtype), seed=self.seed, of_one=False))
        if not bool(torch.isfinite(out).all()):
            self.errors[name] = float("inf")
            words = f"{name}: the output is NaN or infinite; {WORSE[name]}"
            self.risks.append(Risk(name, "broken", float("inf"), words))
            return
        ties = name in perturb.SPECIAL and self.budget.affords(runner, 8 * len(self.many))
        self._measure(name, runner, args, draws=self.many if ties else None)  # rounding breaks ties for some only

    def _scale(self) -> float:
        return 1e-3 * float(leaves.stacked(self.session.outputs[self.session.main_name]).norm())

    def _measure(
        self,
        name: str,
        runner: Runner,
        args: tuple[Any, ...],
        *,
        literal: bool = False,
        draws: list[Draw] | None = None,
    ) -> None:
        seed = None if literal else self.noise_seed
        found = measure(runner, self.session.symmetry, args, draws or self.draws, seed=seed, floor=self._scale())
        error = found.worst
        self.errors[name] = error
        double = runner.dtype == torch.float64
        doubtful = not error <= (self.limits.exact64 if double else 0.0)
        floor = noise_floor(runner, args, seed=self.seed, repeats=2) if doubtful else 0.0
        if double and error <= 1e3 * floor and error < 1e-6:
            error = 0.0
        word = judge(error if double else None, None if double else error, self.limits, floor32=floor)
        if self.verdict == "vacuous":
            word = "vacuous" if why_vacuous(runner, args, found.output, seed=self.seed) else word
        if not self._changes(name, word, error):
            return
        advice = BETTER[name] if RANK[word] < RANK[self.verdict] else WORSE[name]
        self.risks.append(Risk(name, word, error, f"{name}: {word}, error {error:.0e}; {advice}"))

    def _changes(self, name: str, word: Verdict, error: float) -> bool:
        """Whether this circumstance says something that the verdict does not."""
        if RANK[word] == RANK[self.verdict]:
            return False
        if {word, self.verdict} == {"approximate", "broken"}:  # one break on the two sides of a line
            small, large = sorted((error, self.base_error))
            if large < OTHER * max(small, 1e-12):
                return False
        if RANK[word] < RANK[self.verdict]:
            return name in BETTER and not (self.verdict == "broken" and word == "approximate")
        return True


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
