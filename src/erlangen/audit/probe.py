"""What a probe is: a class that says what it needs and turns the collected rows into findings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Budget, Needs
from erlangen.audit.collect import Batch, Collected, NotApplicable, run_model
from erlangen.audit.finding import TWIN_WORDS, Finding
from erlangen.audit.orbit import Orbit

__all__ = ["Batch", "Context", "Needs", "NotApplicable", "OrbitRows", "Probe", "StreamingProbe"]

TWIN_ROWS = 128
FLOOR_ROWS = 256


@dataclass
class Context:
    """Everything a probe may use.

    `network` is None where a data set is audited alone; `model` is the same for a probe that cannot do without.
    `twin` is the model with fresh weights, or with `twin_kind` "baseline" the reference model that the user gave.
    `training` are samples that the model was fitted on, with labels, where they are known. `states` holds what
    streaming probes have accumulated, by name.
    """

    network: nn.Module | None
    twin: nn.Module | None
    twin_name: str
    layers: list[str]
    pools: dict[str, int]
    orbit: Orbit | None
    classifier: Callable[[Tensor], Tensor | None] | None
    num_classes: int
    class_names: list[str]
    level: float
    seed: int
    budget: Budget
    device: Any
    rows: int
    dimensions: dict[str, int]
    input_shape: tuple[int, ...]
    training: tuple[Tensor, Tensor] | None = None
    twin_kind: Literal["untrained", "baseline"] = "untrained"
    sketched: dict[str, int] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    collected: Collected = field(init=False)

    @property
    def model(self) -> nn.Module:
        """The model; `NotApplicable` where there is none."""
        if self.network is None:
            raise NotApplicable("there is no model to look at, only data")
        return self.network

    @property
    def twin_words(self) -> str:
        """What pictures call the model beside which this one is shown."""
        return TWIN_WORDS[self.twin_kind]

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def run(self, x: Tensor, *, twin: bool = False) -> dict[str, Tensor]:
        """Pooled activations and embedding of inputs, in batches."""
        model = self.twin if twin and self.twin is not None else self.model
        parts = [run_model(model, part.to(self.device), self.layers, self.pools) for part in x.split(256)]
        return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}

    def classify(self, embedding: Tensor) -> Tensor | None:
        """Class numbers by the user's classifier; None without one."""
        if self.classifier is None:
            return None
        with torch.inference_mode():
            logits = self.classifier(embedding.to(self.device))
        return None if logits is None else logits.argmax(1).cpu()

    def class_name(self, label: int) -> str:
        return self.class_names[label] if label < len(self.class_names) else str(label)

    @cached_property
    def training_rows(self) -> dict[str, Tensor]:
        """Activations and embedding of the samples that the model was fitted on; computed once for all probes."""
        if self.training is None:
            raise NotApplicable("which samples the model was fitted on is not known: give them as training=(x, labels)")
        return self.run(self.training[0])

    @cached_property
    def orbit_rows(self) -> "OrbitRows":
        """The moved inputs as the model, and as its reference, sees them; computed once for all probes."""
        return OrbitRows(self)


class OrbitRows:
    """Activations of the kept inputs, as they are and under every element of the orbit.

    The inputs as they are have been through the model already, in the pass over the data. What moving there and back
    does is measured on the first `FLOOR_ROWS` of them, the reference model on the first `TWIN_ROWS`.
    """

    def __init__(self, ctx: Context) -> None:
        if ctx.orbit is None:
            raise NotApplicable("no group was given: name one with group=..., for example group='SO(2)'")
        x = ctx.collected.inputs
        self.upright = {name: rows[ctx.collected.input_rows] for name, rows in ctx.collected.rows.items()}
        self.moved = [ctx.run(ctx.orbit.move(i, x)) for i in range(len(ctx.orbit))]
        floor = {name: rows[:FLOOR_ROWS] for name, rows in self.upright.items()}
        self.there_and_back = [
            floor if ctx.orbit.exact[i] else ctx.run(ctx.orbit.there_and_back(i, x[:FLOOR_ROWS]))
            for i in range(len(ctx.orbit))
        ]
        few = x[:TWIN_ROWS]  # a reference needs fewer rows than what is judged
        self.twin_upright = ctx.run(few, twin=True) if ctx.twin is not None else None
        self.twin_moved = (
            [ctx.run(ctx.orbit.move(i, few), twin=True) for i in range(len(ctx.orbit))]
            if ctx.twin is not None
            else None
        )


class Probe:
    """Base of all probes: override `needs` and `finish`; `name` is the one it is registered under.

    Such a probe works on the sample of rows that the audit keeps. One that wants to see every row is a
    `StreamingProbe`.
    """

    name: ClassVar[str] = ""

    def needs(self, ctx: Context) -> Needs:
        """What the probe will hold, from the sizes in `ctx` (nothing has been collected yet)."""
        return Needs()

    def finish(self, ctx: Context) -> list[Finding]:
        """The findings, from `ctx.collected`; raise `NotApplicable` where there is nothing to measure."""
        raise NotImplementedError


class StreamingProbe(Probe):
    """A probe with a mergeable state that is shown every batch: override `start`, `update`, `merge` and `conclude`.

    The states of the processes of a distributed audit are merged in the order of their ranks; merging must give what
    one pass over all rows would have given. `needs` states the bytes of the state as `state_bytes`.
    """

    def start(self, ctx: Context) -> Any:
        """An empty state; `ctx.collected` is not there yet."""
        raise NotImplementedError

    def update(self, state: Any, batch: Batch) -> None:
        """Take in one batch."""
        raise NotImplementedError

    def merge(self, state: Any, other: Any) -> Any:
        """The state of both together; associative."""
        return state.merge(other)

    def conclude(self, state: Any, ctx: Context) -> list[Finding]:
        """The findings, from the state of the whole pass."""
        raise NotImplementedError

    def finish(self, ctx: Context) -> list[Finding]:
        return self.conclude(ctx.states[self.name], ctx)
