"""A network cut at chosen layers: what flows through the cuts, and the map from one cut to the next."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from erlangen.nn.tap import resolve_layers

OUTPUT = "output"


class _Reached(Exception):
    """The layer that was waited for has run."""


def first_tensor(output: Any) -> Tensor:
    """The first tensor in what a model returns, however that is nested."""
    found = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
    if found is None or found.dim() < 2:
        raise ValueError("model: it must put out a tensor [samples, ...], or a collection that starts with one")
    return found


def rows_of(value: Tensor) -> Tensor:
    """An activation as `[samples, positions, features]`: the last axis of sequences, the channels of maps."""
    if value.dim() == 2:
        return value.unsqueeze(1)
    return value if value.dim() == 3 else value.flatten(2).transpose(1, 2)


class Sections:
    """The cuts of a model, from the first named layer to its output.

    Arguments:
        model: left as it is; it runs in evaluation mode.
        layers: names or globs; their outputs are the cuts. Each must run once, and everything that comes behind must
            depend on the input through it alone (`check`): of a residual network take the ends of blocks.
    """

    def __init__(self, model: nn.Module, layers: str | Sequence[str]) -> None:
        self.model = model
        self.names = [*resolve_layers(model, layers), OUTPUT]

    def _with_hooks(self, hooks: dict[str, Callable[..., Any]], x: Tensor, stop: str = "") -> Tensor | None:
        handles = [self.model.get_submodule(n).register_forward_hook(h) for n, h in hooks.items() if n != OUTPUT]
        training = [m for m in self.model.modules() if m.training]
        self.model.eval()
        try:
            return first_tensor(self.model(x))
        except _Reached:
            return None
        finally:
            for handle in handles:
                handle.remove()
            for module in training:
                module.training = True

    @torch.no_grad()
    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """What flows through every cut."""
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                if name in found:
                    raise ValueError(f"layers: {name!r} runs more than once; it is no cut")
                if not isinstance(output, Tensor) or output.dim() < 2:
                    raise ValueError(
                        f"layers: {name!r} puts out {type(output).__name__}; it must be one tensor of rows"
                    )
                found[name] = output.clone()

            return hook

        output = self._with_hooks({n: keep(n) for n in self.names[:-1]}, x)
        assert output is not None
        found[OUTPUT] = output
        missing = [n for n in self.names if n not in found]
        if missing:
            raise ValueError(f"layers: {missing[0]!r} does not run")
        return {n: found[n] for n in self.names}  # in the order that was asked for, which is the model's

    def following(self, name: str) -> str:
        return self.names[self.names.index(name) + 1]

    def run(self, name: str, value: Tensor, x: Tensor, to: str | None = None) -> Tensor:
        """What flows through cut `to` (left out, the next one) when `value` flows through `name`.

        `x` only has to have as many samples; what it holds does not matter behind a cut.
        """
        to = to or self.following(name)
        found: list[Tensor] = []

        def reached(module: nn.Module, args: Any, output: Tensor) -> None:
            found.append(output)
            raise _Reached

        hooks: dict[str, Callable[..., Any]] = {name: lambda module, args, output: value.clone()}
        if to != OUTPUT:
            hooks[to] = reached
        output = self._with_hooks(hooks, x)
        return output if output is not None else found[0]

    @torch.no_grad()
    def check(self, x: Tensor) -> None:
        """Raise ValueError where something gets past a cut."""
        held = self.activations(x)
        for name, value in held.items():
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"data: what flows through {name!r} is not finite")
        other = x.roll(1, 0) if len(x) > 1 else x + 1
        for name in self.names[:-1]:
            to = self.following(name)
            found = self.run(name, held[name], other)
            if not torch.allclose(found, held[to], rtol=1e-4, atol=1e-5 * float(held[to].abs().max())):
                raise ValueError(
                    f"layers: {to!r} does not depend on the input through {name!r} alone (something goes around it); "
                    "choose layers that everything passes through"
                )


def batches(data: Any) -> list[Tensor]:
    """The inputs of a tensor `[n, ...]`, or of an iterable of batches (with or without labels)."""
    if isinstance(data, Tensor):
        return list(data.split(256))
    found = [b[0] if isinstance(b, (tuple, list)) else b for b in data]
    if not found:
        raise ValueError("data: no batches")
    return found
