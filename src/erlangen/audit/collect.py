"""One pass over the data: pooled activations, embeddings and labels of all rows, and a few inputs to move about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.audit.inputs import Source
from erlangen.nn.tap import Tap
from erlangen.stats import Reservoir

EMBEDDING = "embedding"
MOST_ROWS = 24


def as_embedding(output: Any) -> Tensor:
    """A model's output as rows: the first tensor in it, averaged over everything behind the channels."""
    while not isinstance(output, Tensor):
        if isinstance(output, Mapping):
            output = next(iter(output.values()))
        elif isinstance(output, (tuple, list)) and len(output):
            output = output[0]
        else:
            raise TypeError(f"model: returned {type(output).__name__}; it must return a tensor or a collection of them")
    if output.dim() < 2:
        raise ValueError(f"model: returned shape {tuple(output.shape)}; it must be [batch, dimensions, ...]")
    return output.flatten(2).mean(2) if output.dim() > 2 else output


@dataclass
class Collected:
    """What the pass kept: `rows[name]` is `[n, d]` for every layer and for the embedding."""

    rows: dict[str, Tensor]
    label: Tensor
    index: Tensor
    inputs: Tensor
    input_rows: Tensor
    labelled: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.labelled = (self.label >= 0).nonzero().squeeze(1)

    @property
    def embedding(self) -> Tensor:
        return self.rows[EMBEDDING]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def nbytes(self) -> int:
        held = [*self.rows.values(), self.label, self.index, self.inputs]
        return sum(t.numel() * t.element_size() for t in held)


@torch.inference_mode()
def run_model(model: nn.Module, x: Tensor, layers: list[str], pools: Mapping[str, int]) -> dict[str, Tensor]:
    """Pooled float32 activations of the layers and the embedding, on the CPU.

    A layer of regular features (its group's order in `pools`) is averaged over the group as well as over positions, so
    that what is left is invariant if the layer is equivariant.
    """
    with Tap(model, layers) if layers else _NoTap() as tap:
        output = as_embedding(model(x))
        found = dict(tap.activations)
    rows = {}
    if len(found) > MOST_ROWS:  # a module that runs many times (a symmetrised backbone) is seen at its first run only
        found = {name: value for name, value in found.items() if "#" not in name}
    for name, value in found.items():
        if not value.is_floating_point() or value.dim() < 2 or len(value) != len(x):
            continue
        value = value.flatten(1).float().cpu()
        order = pools.get(name.split("#")[0], 1)
        rows[name] = value.unflatten(1, (-1, order)).mean(2) if order > 1 and value.shape[1] % order == 0 else value
    rows[EMBEDDING] = output.float().cpu()
    return rows


class _NoTap:
    activations: dict[str, Tensor] = {}  # noqa: RUF012

    def __enter__(self) -> "_NoTap":
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def regular_orders(model: nn.Module, layers: list[str]) -> dict[str, int]:
    """The order of the group whose regular features a layer puts out, where the layer says so by a `group`."""
    orders = {}
    for name in layers:
        for module in model.get_submodule(name).modules():
            order = getattr(getattr(module, "group", None), "order", None)
            if isinstance(order, int) and order > 1 and hasattr(module, "weight"):
                orders[name] = order
    return orders


def collect(
    source: Source, run: Callable[[Tensor], dict[str, Tensor]], *, samples: int, inputs: int, seed: int, device: Any
) -> Collected:
    """Run the model once over the source; keep at most `samples` rows and `inputs` of the inputs themselves."""
    kept, moved = Reservoir(samples, seed=seed), Reservoir(inputs, seed=seed + 1)
    names: list[str] = []
    for x, label, index in source.batches:
        rows = run(x.to(device))
        names = names or list(rows)
        kept.update(index, label=label, **{f"rows/{n}": rows[n] for n in names})
        moved.update(index, inputs=x)
    if not kept.seen:
        raise ValueError("data: no samples")
    if kept.seen < 4:
        raise ValueError(f"data: {kept.seen} samples are too few to audit; at least 4 are needed")
    held, held_inputs = kept.compute(), moved.compute()
    position = torch.searchsorted(held["index"], held_inputs["index"])
    return Collected(
        {n: held[f"rows/{n}"] for n in names}, held["label"], held["index"], held_inputs["inputs"], position
    )
