"""Spend a limited time on what matters most: the verdict first, then what explains it."""

from __future__ import annotations

import time

from erlangen.testing.runner import Runner


class Budget:
    """A deadline, and what was left out because of it."""

    def __init__(self, seconds: int | float, *, start: float | None = None) -> None:
        self.start = time.perf_counter() if start is None else start
        self.end = self.start + seconds
        self.skipped: list[str] = []

    @property
    def left(self) -> float:
        return self.end - time.perf_counter()

    def affords(self, runner: Runner, calls: int, *, share: int | float = 1.0) -> bool:
        """Whether that many calls of the model fit into a share of the time that is left."""
        return calls * runner.seconds_per_call <= share * self.left

    def calls(self, runner: Runner, *, share: int | float = 1.0) -> int:
        """How many calls of the model fit into a share of the time that is left."""
        return int(share * max(self.left, 0.0) / max(runner.seconds_per_call, 1e-9))

    def skip(self, what: str) -> None:
        if what not in self.skipped:
            self.skipped.append(what)
