"""Looking inside a model: activations by layer name, and an untrained copy to compare with."""

import copy
import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from erlangen._registry import unknown_name

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
WITHOUT_INTEREST = (nn.Identity, nn.Dropout, nn.Flatten, nn.modules.dropout._DropoutNd)


def resolve_layers(model: nn.Module, layers: str | Sequence[str] = "auto", *, limit: int = 12) -> list[str]:
    """Names of submodules of `model`, in the model's order.

    `layers` is a name, a glob (`"encoder.*"`), or several of them; everything that matches is returned. `"auto"` takes
    the `layer_names` of the model (or of the one submodule that has them), else its blocks: children, with containers
    opened as long as there are at most `limit`; where there are more, `limit` of them evenly spread from first to
    last. Raises ValueError for a name that matches nothing.
    """
    names = [name for name, _ in model.named_modules() if name]
    if layers == "auto":
        return _spread(_declared(model) or _blocks(model, limit), limit)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in names):
            raise unknown_name("layers", pattern, ["auto", *names])
    return [name for name in names if any(name == p or fnmatch.fnmatchcase(name, p) for p in patterns)]


def _declared(model: nn.Module) -> list[str]:
    for name, module in model.named_modules():
        declared = getattr(module, "layer_names", None)
        if isinstance(declared, list | tuple) and declared:
            return [f"{name}.{layer}" if name else layer for layer in declared]
    return []


def _blocks(model: nn.Module, limit: int) -> list[str]:
    def children(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
        prefix = f"{name}." if name else ""
        return [(prefix + key, child) for key, child in module.named_children()]

    found = children("", model)
    while True:
        opened = [
            inner
            for name, module in found
            for inner in (
                children(name, module)
                if len(module._modules) and (isinstance(module, CONTAINERS) or len(found) == 1)
                else [(name, module)]
            )
        ]
        # a ModuleList or ModuleDict is never called, so it must be opened whatever the count
        if opened == found or (len(opened) > limit and not any(isinstance(m, CONTAINERS[1:]) for _, m in found)):
            break
        found = opened
    return [name for name, module in found if not isinstance(module, WITHOUT_INTEREST)]


def _spread(names: list[str], limit: int) -> list[str]:
    if limit < 1:
        raise ValueError(f"limit: got {limit}; allowed are 1 and more")
    if len(names) <= limit:
        return names
    last = len(names) - 1
    return [names[last]] if limit == 1 else [names[round(i * last / (limit - 1))] for i in range(limit)]


class Tap:
    """Collects what chosen layers put out while the model runs.

        with Tap(model, layers=["stages.*"]) as tap:
            model(x)
        tap.activations["stages.0"]

    `pool="mean"` averages everything between the batch and the feature axis: `[B, C, H, W] -> [B, C]`, `[B, T, D] ->
    [B, D]`; `None` keeps the whole output. Outputs are copies, so that an in-place layer behind cannot change them,
    detached unless `detach=False`. A module that runs several times in one pass gives `name`, `name#2`, ...; tuples,
    lists and dicts give `name[0]`, `name.key`. Each call of the model starts afresh. The hooks are gone when the block
    ends, by an exception too.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] = "auto",
        *,
        pool: Literal["mean"] | None = "mean",
        detach: bool = True,
        limit: int = 12,
    ) -> None:
        if pool not in ("mean", None):
            raise ValueError(f"pool: got {pool!r}; allowed are 'mean', None")
        self.model, self.pool, self.detach = model, pool, detach
        self.layers = resolve_layers(model, layers, limit=limit)
        self.activations: dict[str, Tensor] = {}
        self._calls: Counter[str] = Counter()
        self._handles: list[RemovableHandle] = []

    def clear(self) -> None:
        """Forget what was collected."""
        self.activations = {}
        self._calls.clear()

    def __enter__(self) -> "Tap":
        if self._handles:
            raise RuntimeError("tap: it is already listening; make a second Tap")
        self._handles = [self.model.register_forward_pre_hook(lambda module, args: self.clear())]
        for name in self.layers:
            hook = self._hook(name)
            self._handles.append(self.model.get_submodule(name).register_forward_hook(hook))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._calls[name] += 1
            self._keep(name if self._calls[name] == 1 else f"{name}#{self._calls[name]}", output)

        return hook

    def _keep(self, name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            output = output.detach() if self.detach else output
            inner = () if self.pool is None else _inner_axes(output)
            self.activations[name] = output.mean(inner) if inner else output.clone()
        elif isinstance(output, Mapping):
            for key, part in output.items():
                self._keep(f"{name}.{key}", part)
        elif isinstance(output, tuple | list):
            for index, part in enumerate(output):
                self._keep(f"{name}[{index}]", part)


def _inner_axes(output: Tensor) -> tuple[int, ...]:
    if not output.is_floating_point() or output.ndim < 3:
        return ()
    return (1,) if output.ndim == 3 else tuple(range(2, output.ndim))


def untrained_twin(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of `model` with the weights it could have had before training; the global random state is left alone.

    Modules are re-initialised by their own `reset_parameters` (buffers such as running statistics too). The parameters
    of a module that has none are shuffled entry by entry, which keeps their scale and destroys what they learned.
    """
    twin = copy.deepcopy(model)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for module in twin.modules():
            own = list(module.parameters(recurse=False))
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
            else:
                for parameter in own:
                    order = torch.randperm(parameter.numel(), device=parameter.device)
                    parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return twin
