"""Whatever the user calls data, as batches of samples with label and index."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
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


def open_source(
    data: Any,
    *,
    samples: int,
    seed: int,
    batch_size: int = 256,
    shard: tuple[int, int] = (0, 1),
    looks: int = 1,
    held_out: bool = True,
) -> Source:
    """Batches of at most `samples` rows: a random subset where the length is known, else the first of the stream.

    `data` is a data set of `erlangen.data` (its test part; all of it with `held_out=False`), a pair of tensors or
    arrays, a tensor, a torch data set, a `DataLoader`, or any iterable of batches. `shard` is (rank, processes): where
    the length is known every process reads its share of the same rows; a stream is taken to be sharded already, as by a
    `DistributedSampler`. With several `looks` the rows come in a random order, so that a part of them is a sample too.
    """
    choose = partial(_choose, samples=samples, seed=seed, shard=shard, looks=looks)
    if hasattr(data, "tensors") and hasattr(data, "batches"):
        part = data.test if held_out and "test" in (getattr(data, "splits", None) or {}) else data
        rows = choose(len(part))
        names = [str(c) for c in (getattr(data, "class_names", None) or [])]
        chunks = ((*part.tensors(r), r) for r in rows.split(batch_size))
        return Source(getattr(data, "name", "data"), len(part), map(_checked, chunks), names)
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(hasattr(d, "shape") for d in data):
        x, label = torch.as_tensor(data[0]), torch.as_tensor(data[1])
        if len(x) != len(label):
            raise ValueError(f"data: {len(x)} samples with {len(label)} labels; there must be one for each")
        rows = choose(len(x))
        return Source("tensors", len(x), map(_checked, ((x[r], label[r], r) for r in rows.split(batch_size))))
    if isinstance(data, Tensor):
        pair = (data, torch.full((len(data),), -1))
        return open_source(pair, samples=samples, seed=seed, batch_size=batch_size, shard=shard, looks=looks)
    is_map = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (list, tuple, dict))
    if is_map and not hasattr(data, "batch_size"):
        rows = choose(len(data))
        return Source(type(data).__name__, len(data), map(_checked, _items(data, rows, batch_size)))
    if isinstance(data, Iterable):
        try:
            length: int | None = len(data.dataset)  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            length = None
        return Source(type(data).__name__, length, map(_checked, _stream(data, samples, shard)))
    raise TypeError(
        f"data: got {type(data).__name__}; allowed are a data set, a DataLoader, (x, labels) tensors or batches"
    )


def training_part(data: Any, *, samples: int, seed: int) -> tuple[Tensor, Tensor] | None:
    """Inputs and labels of up to `samples` rows that a model may have been fitted on: the train part of a data set
    that has a test part, or what the user gave as such."""
    splits = getattr(data, "splits", None) or {}
    if "train" in splits and "test" in splits:
        data = data.train
    elif splits or data is None:
        return None
    parts = list(open_source(data, samples=samples, seed=seed, held_out=False).batches)
    return torch.cat([x for x, _, _ in parts]), torch.cat([label for _, label, _ in parts])


def _choose(length: int, *, samples: int, seed: int, shard: tuple[int, int], looks: int) -> Tensor:
    if length == 0:
        raise ValueError("data: no samples")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(length, generator=generator)[:samples]
    rank, processes = shard
    if len(chosen) < processes:
        raise ValueError(f"data: {len(chosen)} samples are too few for {processes} processes")
    if looks == 1:
        return chosen.sort().values[rank::processes]
    return torch.cat(
        [part.sort().values[rank::processes] for part in chosen.split(-(-len(chosen) // 2 ** (looks - 1)))]
    )


def _items(data: Any, rows: Tensor, batch_size: int) -> Iterator[Batch]:
    for chunk in rows.split(batch_size):
        items = [data[int(i)] for i in chunk]
        pairs = [item if isinstance(item, (tuple, list)) else (item, -1) for item in items]
        x = torch.stack([torch.as_tensor(p[0]) for p in pairs])
        label = torch.as_tensor([int(p[1]) if len(p) > 1 else -1 for p in pairs])
        yield x, label, chunk


def _stream(data: Iterable[Any], samples: int, shard: tuple[int, int]) -> Iterator[Batch]:
    rank, processes = shard
    samples, seen = -(-(samples - rank) // processes), 0
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
        yield x[:take], label, torch.arange(seen, seen + take) * processes + rank
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
    return x, _class_numbers(label, len(x)), index


def _class_numbers(label: Tensor, samples: int) -> Tensor:
    """Labels as whole numbers; what is no class number is an error, not rounded to one."""
    if label.dim() == 2 and label.shape[1] == 1:
        label = label.squeeze(1)
    if label.shape != (samples,):
        raise ValueError(
            f"data: labels of shape {tuple(label.shape)} for {samples} samples; one class number a sample is needed"
        )
    if label.is_floating_point() and not bool((label == label.round()).all()):
        raise ValueError("data: the labels are no whole numbers; give class numbers, or the samples without labels")
    return label.long()
