"""Whatever the user calls data, as batches of samples with label and index."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass
class Source:
    """Samples to audit: `batches` yields `(x, label, index)`, a label of -1 standing for none."""

    name: str
    available: int | None
    batches: Iterable[Batch] = field(repr=False)
    class_names: list[str] = field(default_factory=list)


def open_source(data: Any, *, samples: int, seed: int, batch_size: int = 256) -> Source:
    """Batches of at most `samples` rows: a random subset where the length is known, else the first of the stream.

    `data` is a data set of `erlangen.data` (its test part), a pair of tensors or arrays, a tensor, a torch data set, a
    `DataLoader`, or any iterable of batches.
    """
    if hasattr(data, "tensors") and hasattr(data, "batches"):
        part = data.test if "test" in (getattr(data, "splits", None) or {}) else data
        rows = _choose(len(part), samples, seed)
        names = [str(c) for c in (getattr(data, "class_names", None) or [])]
        chunks = ((*part.tensors(r), r) for r in rows.split(batch_size))
        return Source(getattr(data, "name", "data"), len(part), map(_checked, chunks), names)
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(hasattr(d, "shape") for d in data):
        x, label = torch.as_tensor(data[0]), torch.as_tensor(data[1])
        if len(x) != len(label):
            raise ValueError(f"data: {len(x)} samples with {len(label)} labels; there must be one for each")
        rows = _choose(len(x), samples, seed)
        return Source("tensors", len(x), map(_checked, ((x[r], label[r], r) for r in rows.split(batch_size))))
    if isinstance(data, Tensor):
        return open_source((data, torch.full((len(data),), -1)), samples=samples, seed=seed, batch_size=batch_size)
    is_map = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (list, tuple, dict))
    if is_map and not hasattr(data, "batch_size"):
        rows = _choose(len(data), samples, seed)
        return Source(type(data).__name__, len(data), map(_checked, _items(data, rows, batch_size)))
    if isinstance(data, Iterable):
        try:
            length: int | None = len(data.dataset)  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            length = None
        return Source(type(data).__name__, length, map(_checked, _stream(data, samples)))
    raise TypeError(
        f"data: got {type(data).__name__}; allowed are a data set, a DataLoader, (x, labels) tensors or batches"
    )


def _choose(length: int, samples: int, seed: int) -> Tensor:
    if length == 0:
        raise ValueError("data: no samples")
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(length, generator=generator)[:samples].sort().values


def _items(data: Any, rows: Tensor, batch_size: int) -> Iterator[Batch]:
    for chunk in rows.split(batch_size):
        items = [data[int(i)] for i in chunk]
        pairs = [item if isinstance(item, (tuple, list)) else (item, -1) for item in items]
        x = torch.stack([torch.as_tensor(p[0]) for p in pairs])
        label = torch.as_tensor([int(p[1]) if len(p) > 1 else -1 for p in pairs])
        yield x, label, chunk


def _stream(data: Iterable[Any], samples: int) -> Iterator[Batch]:
    seen = 0
    for batch in data:
        if isinstance(batch, Tensor):
            x, label = batch, None
        elif hasattr(batch, "x"):
            x, label = batch.x, getattr(batch, "label", None)
        elif isinstance(batch, (tuple, list)) and batch:
            x, label = batch[0], batch[1] if len(batch) > 1 else None
        else:
            raise TypeError(f"data: batches are {type(batch).__name__}; allowed are tensors, (x, labels) and PairBatch")
        take = min(len(x), samples - seen)
        label = torch.full((take,), -1) if label is None else torch.as_tensor(label)[:take]
        yield x[:take], label, torch.arange(seen, seen + take)
        seen += take
        if seen >= samples:
            return


def _checked(batch: Batch) -> Batch:
    x, label, index = batch
    x = x.float() / 255 if x.dtype == torch.uint8 else x
    x = x if x.is_floating_point() else x.float()
    if not bool(torch.isfinite(x).all()):
        bad = index[~torch.isfinite(x).flatten(1).all(1)]
        raise ValueError(f"data: sample {int(bad[0])} and {len(bad) - 1} others contain NaN or infinite values")
    return x, label.long(), index
