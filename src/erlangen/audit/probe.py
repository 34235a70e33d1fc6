"""What a probe is: a class that says what it needs and turns the collected rows into findings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Budget, Needs
from erlangen.audit.collect import Collected, run_model
from erlangen.audit.finding import Finding
from erlangen.audit.orbit import Orbit

TWIN_ROWS = 128
FLOOR_ROWS = 256


class NotApplicable(Exception):
    """Raised by a probe that has nothing to look at; its text becomes the finding."""


@dataclass
class Context:
    """Everything a probe may use."""

    model: nn.Module
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
    collected: Collected = field(init=False)

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
    """Base of all probes: override `needs` and `finish`; `name` is the one it is registered under."""

    name: ClassVar[str] = ""

    def needs(self, ctx: Context) -> Needs:
        """What the probe will hold, from the sizes in `ctx` (nothing has been collected yet)."""
        return Needs()

    def finish(self, ctx: Context) -> list[Finding]:
        """The findings, from `ctx.collected`; raise `NotApplicable` where there is nothing to measure."""
        raise NotImplementedError
