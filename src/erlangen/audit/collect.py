"""One pass over the data: pooled activations, embeddings and labels of all rows, and a few inputs to move about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.nn.tap import Tap
from erlangen.stats import Reservoir
from erlangen.stats.reservoir import random_keys
from erlangen.stats.sketch import count_sketch

EMBEDDING = "embedding"
MOST_ROWS = 24
WIDEST = 4096
TWIN_ROWS_KEPT = 1024


class NotApplicable(Exception):
    """Raised by a probe that has nothing to look at; its text becomes the finding."""


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


@dataclass(frozen=True)
class Batch:
    """What a streaming probe is shown: inputs, labels (-1: none), places in the data set, and `rows[name]` `[n, d]`
    of every layer and of the embedding (nothing where there is no model)."""

    x: Tensor
    label: Tensor
    index: Tensor
    rows: dict[str, Tensor]


@dataclass
class Collected:
    """What the pass kept.

    `rows[name]` is `[n, d]` for every layer and for the embedding; `inputs` are the few inputs that are moved about,
    `input_rows` their places among the rows. `raw_rows` are the flattened inputs of all rows, if a probe needs them;
    `twin` the rows of the reference model at the places `twin_rows`, likewise. What is not finite is set aside: of such
    layers `not_finite` has the number of samples concerned, and nothing else is kept.
    """

    rows: dict[str, Tensor]
    label: Tensor
    index: Tensor
    inputs: Tensor
    input_rows: Tensor
    raw_rows: Tensor | None = None
    twin: dict[str, Tensor] = field(default_factory=dict)
    twin_rows: Tensor | None = None
    not_finite: dict[str, int] = field(init=False, default_factory=dict)
    labelled: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.labelled = (self.label >= 0).nonzero().squeeze(1)
        bad = {name: int((~torch.isfinite(value)).any(1).sum()) for name, value in self.rows.items()}
        self.not_finite = {name: count for name, count in bad.items() if count}
        self.rows = {name: value for name, value in self.rows.items() if not bad[name]}
        self.twin = {n: v for n, v in self.twin.items() if not bad.get(n) and bool(torch.isfinite(v).all())}

    @property
    def embedding(self) -> Tensor:
        if EMBEDDING in self.not_finite:
            raise NotApplicable("the embedding is NaN or infinite for some of the inputs")
        if EMBEDDING not in self.rows:
            raise NotApplicable("there is no model, so there is no embedding to look at")
        return self.rows[EMBEDDING]

    @property
    def layers(self) -> dict[str, Tensor]:
        """`rows`; `NotApplicable` where there are none."""
        if not self.rows:
            why = "all are NaN or infinite for some of the inputs" if self.not_finite else "there is no model"
            raise NotApplicable(f"there are no layers to look at: {why}")
        return self.rows

    @property
    def raw(self) -> Tensor:
        """The flattened inputs `[n, values]` of all rows; kept where `needs` says `raw=True`, or without a model."""
        if self.raw_rows is None:
            raise NotApplicable(
                "the inputs of all rows were not kept: the probe must ask for them with Needs(raw=True)"
            )
        return self.raw_rows

    def __len__(self) -> int:
        return len(self.label)

    @property
    def nbytes(self) -> int:
        held = [*self.rows.values(), self.label, self.index, self.inputs, *self.twin.values()]
        held += [self.raw_rows] if self.raw_rows is not None else []
        return sum(t.numel() * t.element_size() for t in held)


@torch.inference_mode()
def run_model(model: nn.Module, x: Tensor, layers: list[str], pools: Mapping[str, int]) -> dict[str, Tensor]:
    """Pooled float32 activations of the layers and the embedding, on the CPU.

    A layer of regular features (its group's order in `pools`) is averaged over the group as well as over positions, so
    that what is left is invariant if the layer is equivariant. A layer of more than 4,096 values a sample is sketched
    down to that many.
    """
    with Tap(model, layers) if layers else _NoTap() as tap:
        output = as_embedding(model(in_its_precision(model, x)))
        found = dict(tap.activations)
    rows = {}
    if len(found) > MOST_ROWS:  # a module that runs many times (a symmetrised backbone) is seen at its first run only
        found = {name: value for name, value in found.items() if "#" not in name}
    for name, value in found.items():
        if not value.is_floating_point() or value.dim() < 2 or len(value) != len(x):
            continue
        value = value.flatten(1).float().cpu()
        order = pools.get(name.split("#")[0], 1)
        value = value.unflatten(1, (-1, order)).mean(2) if order > 1 and value.shape[1] % order == 0 else value
        rows[name] = count_sketch(value, WIDEST)
    rows[EMBEDDING] = output.float().cpu()
    return rows


def in_its_precision(model: nn.Module, x: Tensor) -> Tensor:
    """Floating-point inputs in the precision of the model's first floating-point parameter; whole numbers as such where
    the first thing that the model has is an embedding of them."""
    first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
    if isinstance(first, (nn.Embedding, nn.EmbeddingBag)) and bool((x == x.round()).all()):
        return x.long()
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)
    return x.to(own) if x.is_floating_point() else x


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


class Collector:
    """Keeps a uniform sample of what passes by: rows of the model, a few inputs, and on request rows of a reference
    model and the flattened inputs. Collectors of shards merge into the collector of one pass."""

    def __init__(self, *, samples: int, inputs: int, seed: int, expected: int, twin: bool = False, raw: bool = False):
        self.seed, self.want_twin, self.want_raw = seed, twin, raw
        self.share = min(1.0, TWIN_ROWS_KEPT / max(expected, 1))
        self.kept, self.moved = Reservoir(samples, seed=seed), Reservoir(inputs, seed=seed + 1)
        self.twin = Reservoir(samples, seed=seed)

    def update(self, batch: Batch, twin: Callable[[Tensor], dict[str, Tensor]] | None = None) -> None:
        raw = {"raw": batch.x.flatten(1).float().cpu()} if self.want_raw else {}
        rows = {f"rows/{name}": value for name, value in batch.rows.items()}
        self.kept.update(batch.index, label=batch.label, **raw, **rows)
        self.moved.update(batch.index, inputs=batch.x)
        if self.want_twin and twin is not None:
            chosen = random_keys(batch.index, self.seed + 2) < self.share
            if bool(chosen.any()):
                seen = twin(batch.x[chosen])
                self.twin.update(batch.index[chosen], **{f"rows/{name}": value for name, value in seen.items()})

    def merge(self, other: "Collector") -> "Collector":
        self.kept.merge(other.kept)
        self.moved.merge(other.moved)
        self.twin.merge(other.twin)
        return self

    @property
    def seen(self) -> int:
        return self.kept.seen

    def compute(self) -> Collected:
        if not self.kept.seen:
            raise ValueError("data: no samples")
        if self.kept.seen < 4:
            raise ValueError(f"data: {self.kept.seen} samples are too few to audit; at least 4 are needed")
        held, few, twin = self.kept.compute(), self.moved.compute(), self.twin.compute()
        return Collected(
            _named_rows(held),
            held["label"],
            held["index"],
            few["inputs"],
            torch.searchsorted(held["index"], few["index"]),
            raw_rows=held.get("raw"),
            twin=_named_rows(twin),
            twin_rows=torch.searchsorted(held["index"], twin["index"]) if twin else None,
        )


def _named_rows(held: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("rows/"): value for name, value in held.items() if name.startswith("rows/")}
