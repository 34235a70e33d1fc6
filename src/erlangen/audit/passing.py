"""The one pass over the data: every batch goes through the model once and is shown to all that keep something of it."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from erlangen.audit.collect import Batch, Collector, run_model
from erlangen.audit.probe import Context, Probe, StreamingProbe
from erlangen.audit.shards import gather

Rows = Callable[[Tensor], dict[str, Tensor]]


class Pass:
    """What has been kept of the batches so far; `broken` says which streaming probes failed, and how."""

    def __init__(self, ctx: Context, probes: list[Probe], *, raw: bool, twin: bool) -> None:
        self.ctx, self.streaming = ctx, [p for p in probes if isinstance(p, StreamingProbe)]
        self.collector = Collector(
            samples=ctx.budget.samples,
            inputs=ctx.budget.orbit_samples,
            seed=ctx.seed,
            expected=ctx.rows,
            twin=twin and ctx.twin is not None,
            raw=raw,
        )
        self.states: dict[str, Any] = {}
        self.broken: dict[str, Exception] = {}
        for probe in self.streaming:
            self._guarded(probe, lambda p: self.states.update({p.name: p.start(ctx)}))

    def run(self, source: Iterator[tuple[Tensor, Tensor, Tensor]], *, until: int | None = None) -> "Pass":
        """Take in batches, until at least `until` rows have been seen here."""
        ctx = self.ctx
        for x, label, index in source:
            rows = {}
            if ctx.network is not None:
                rows = run_model(ctx.network, x.to(ctx.device), ctx.layers, ctx.pools)
            batch = Batch(x, label, index, rows)
            self.collector.update(batch, self._twin)
            for probe in self.streaming:
                if probe.name in self.states:
                    self._guarded(probe, lambda p, b=batch: p.update(self.states[p.name], b))  # type: ignore[misc]
            if until is not None and self.collector.seen >= until:
                break
        return self

    def _twin(self, x: Tensor) -> dict[str, Tensor]:
        assert self.ctx.twin is not None
        return run_model(self.ctx.twin, x.to(self.ctx.device), self.ctx.layers, self.ctx.pools)

    def _guarded(self, probe: Probe, act: Callable[[Any], object]) -> None:
        try:
            act(probe)
        except Exception as error:
            self.broken[probe.name] = error
            self.states.pop(probe.name, None)

    def merged(self) -> "Pass":
        """The pass as one process would have made it; every process gets all of it."""
        parts = gather((self.collector, self.states, {n: _sendable(e) for n, e in self.broken.items()}))
        if len(parts) == 1:
            return self
        collector, states, broken = parts[0]
        for other, more, errors in parts[1:]:
            collector.merge(other)
            broken = {**errors, **broken}
            for probe in self.streaming:
                if probe.name in states and probe.name in more:
                    states[probe.name] = probe.merge(states[probe.name], more[probe.name])
        whole = object.__new__(Pass)
        whole.ctx, whole.streaming, whole.collector, whole.broken = self.ctx, self.streaming, collector, broken
        whole.states = {name: state for name, state in states.items() if name not in broken}
        return whole


def _sendable(error: Exception) -> Exception:
    """The error as something that can be sent to another process."""
    return RuntimeError(f"{type(error).__name__}: {error}")
