"""How a foreign model and what the checker must say of it are written down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import CheckResult, check


@dataclass(frozen=True)
class Foreign:
    """A model that this library did not write, and the verdict that follows from its mathematics.

    `build` makes the model, its symmetry and its inputs. `verdict` is the word, or the words where a size decides;
    `cause` and `risk` hold words of which one must be said.
    """

    name: str
    verdict: str
    build: Callable[[], tuple[Any, Symmetry, Any]]
    cause: str = ""
    risk: str = ""
    quiet: bool = False  # nothing may be said that would change the verdict

    def __str__(self) -> str:
        return self.name


class Wrapped(nn.Module):
    """A module around a function of itself and its inputs, with the given submodules, parameters and buffers."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                setattr(self, name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.function(self, *inputs, **named)


def examine(case: Foreign) -> CheckResult:
    """Check the case and compare every word of the answer."""
    torch.manual_seed(0)
    model, symmetry, inputs = case.build()
    result = check(model, symmetry, inputs, seconds=60.0)  # a busy machine must not cut the examination short
    said = f"{case}\n{result}"
    assert result.verdict in case.verdict.split("|"), said
    if case.cause and result.verdict in ("broken", "approximate"):
        assert any(word in cause for word in case.cause.split("|") for cause in result.causes), said
    if result.verdict in ("exact", "round-off"):
        assert not result.causes, said
    if case.risk:
        assert any(word in risk.name for word in case.risk.split("|") for risk in result.risks), said
    if case.quiet:
        assert not result.risks, said
    return result


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def rows(output: str = "rows") -> Symmetry:
    return Symmetry("S(n)", "rows", output)


def euclidean(output: Any = "invariant", input: Any = "points") -> Symmetry:
    return Symmetry("E(3)", input, output)


def cyclic_shifts(size: int, *, output: bool = True, step: int = 1, output_step: float | int = 1) -> Symmetry:
    """Circular shifts of the plane by multiples of `step` pixels, as a user writes them."""

    def draw(generator: torch.Generator, dtype: torch.dtype) -> tuple[int, int]:
        dy, dx = (step * torch.randint(1, size // step, (2,), generator=generator)).tolist()
        return dy, dx

    def back(g: tuple[int, int], out: torch.Tensor) -> torch.Tensor:
        return torch.roll(out, (int(g[0] * output_step), int(g[1] * output_step)), (-2, -1)) if output else out

    return Symmetry.from_functions(draw, lambda g, args: (torch.roll(args[0], g, (-2, -1)),), back)
