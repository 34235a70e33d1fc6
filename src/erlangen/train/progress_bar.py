"""A bar on stderr: steps, epoch, loss, time left."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """Draws at most ten times a second from the fit's own thread; silent when `quiet` or when stderr is no terminal."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self.active = not quiet and sys.stderr.isatty()
        self._last = 0.0
        columns = (
            TextColumn("[bold]fit[/]"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False, disable=not self.active)
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "ProgressBar":
        if self.active:
            self._bar.start()
        return self

    def due(self) -> bool:
        """Is it time to draw again?"""
        return self.active and time.monotonic() - self._last > 0.1

    def update(self, step: int, text: str) -> None:
        self._last = time.monotonic()
        self._bar.update(self._task, completed=step, description=text, refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            self._bar.stop()
