"""Samples in memory with labels, splits and a fingerprint."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from erlangen.data.batch import PairBatch
from erlangen.data.validate import as_tensor, class_numbers, count_classes, stored_samples

CHUNK = 4096


def random_split(label: Tensor | None, samples: int, *, fraction: float = 0.2, seed: int = 0) -> dict[str, Tensor]:
    """A train and a test part drawn with `seed`, class by class where there are labels."""
    generator = torch.Generator().manual_seed(seed)
    if samples < 2:
        return {}
    groups = [torch.arange(samples)] if label is None else [(label == c).nonzero()[:, 0] for c in label.unique()]
    test = []
    for members in groups:
        order = members[torch.randperm(len(members), generator=generator)]
        test.append(order[: round(fraction * len(members))])
    held_out = torch.cat(test).sort().values
    if len(held_out) == 0:
        held_out = torch.randint(samples, (1,), generator=generator)
    kept = torch.ones(samples, dtype=torch.bool)
    kept[held_out] = False
    return {"train": kept.nonzero()[:, 0], "test": held_out}


class ArrayDataset(Dataset[Any]):
    """A data set in memory: bytes or floats inside, float32 outside.

    Byte images are delivered as [channels, height, width] in [0, 1]; floats are delivered as they are.

    Arguments:
        x: samples first; images [N, C, H, W] as uint8 or float, vectors [N, features].
        label: class numbers 0 .. classes - 1 or names, -1 for no label; `None` for no labels at all.
        name: what reports call it.
        kind: "image" or "vector".
        class_names: a name for each class number.
        num_classes: how many classes there are, where the labels do not show it; the length of `class_names` if given.
        splits: "train" and "test" to positions. `None` draws a fifth for the test, class by class, with `seed`;
            an empty mapping means that the whole set is both.
        skipped: the files that could not be read and were left out on request.
        seed: of the drawn split.
    """

    def __init__(
        self,
        x: Any,
        label: Any = None,
        *,
        name: str = "data",
        kind: Literal["image", "vector"] = "image",
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        splits: Mapping[str, Any] | None = None,
        skipped: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.x = stored_samples(as_tensor(x))
        expected = {"image": 4, "vector": 2}.get(kind)
        if expected is None:
            raise ValueError(f"kind: {kind!r}; allowed: 'image', 'vector'")
        if self.x.ndim != expected:
            form = "(N, C, H, W)" if kind == "image" else "(N, features)"
            raise ValueError(f"x: shape {tuple(self.x.shape)}; kind={kind!r} needs {form}")
        self.label, self.class_names = class_numbers(label, len(self.x), class_names, num_classes)
        self.num_classes = count_classes(self.label, self.class_names, num_classes)
        self.name, self.kind, self.skipped = name, kind, list(skipped)
        self.origin: dict[str, Any] = {}  # what `load` was asked for, so that a run can load it again
        if splits is None:
            self.splits = random_split(self.label, len(self.x), seed=seed)
        else:
            self.splits = {part: as_tensor(index, "splits").to(torch.int64) for part, index in splits.items()}
        for part, index in self.splits.items():
            if len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= len(self.x):
                raise ValueError(f"splits: {part!r} is empty or leaves 0 .. {len(self.x) - 1}")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: {index} is out of range for {len(self)} samples")
        index = int(index) % len(self)
        x, label = self.tensors(torch.tensor([index]))
        return x[0], label[0], index

    def __repr__(self) -> str:
        classes = f", {self.num_classes} classes" if self.num_classes else ""
        return f"ArrayDataset({self.name!r}, {len(self)} x {self.sample_shape}{classes})"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def subset(self, index: Any, *, name: str | None = None) -> "ArrayDataset":
        """The samples at `index` as a data set that is both its own train and test part."""
        index = as_tensor(index, "index").to(torch.int64)
        return ArrayDataset(
            self.x[index],
            None if self.label is None else self.label[index],
            name=name or self.name,
            kind=self.kind,
            class_names=self.class_names,
            num_classes=self.num_classes,
            splits={},
            skipped=self.skipped,
        )

    @cached_property
    def train(self) -> "ArrayDataset":
        return self.subset(self.splits["train"]) if "train" in self.splits else self

    @cached_property
    def test(self) -> "ArrayDataset":
        return self.subset(self.splits["test"]) if "test" in self.splits else self

    def tensors(self, indices: Any = None) -> tuple[Float[Tensor, "batch ..."], Tensor]:
        """Samples in float32 and their labels, all of them or those at `indices`."""
        chosen = slice(None) if indices is None else as_tensor(indices, "indices").to(torch.int64)
        x = self.x[chosen]
        x = x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x.to(torch.float32)
        label = torch.full((len(x),), -1) if self.label is None else self.label[chosen]
        return x, label

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> Iterator[PairBatch]:
        """All samples in batches, in order or shuffled by `generator`."""
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size}; give at least 1")
        order = torch.randperm(len(self), generator=generator) if shuffle else torch.arange(len(self))
        for index in order.split(batch_size):
            if drop_last and len(index) < batch_size:
                return
            x, label = self.tensors(index)
            yield PairBatch(x=x, label=label, index=index)

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        x, axes = self.train.x, (0, 2, 3) if self.kind == "image" else (0,)
        total = torch.zeros(x.shape[1], dtype=torch.float64)
        square = torch.zeros_like(total)
        count = x.numel() // x.shape[1]
        scale = 255.0 if x.dtype == torch.uint8 else 1.0
        for chunk in x.split(CHUNK):
            total += (chunk.double() / scale).sum(axes)
        mean = total / count
        centre = mean.view(-1, 1, 1) if self.kind == "image" else mean
        for chunk in x.split(CHUNK):
            square += (chunk.double() / scale - centre).square().sum(axes)
        std = (square / count).sqrt()
        std[std == 0] = 1.0
        return mean.float(), std.float()

    @property
    def mean(self) -> Float[Tensor, " channels"]:
        """Mean of each channel (feature) over the train part."""
        return self._moments[0]

    @property
    def std(self) -> Float[Tensor, " channels"]:
        """Standard deviation of each channel over the train part; 1 for a constant one, which dividing leaves at 0."""
        return self._moments[1]

    def fingerprint(self) -> str:
        """SHA-256 over samples and labels: two sets with the same content have the same fingerprint."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.x.dtype} {tuple(self.x.shape)} {self.label is not None}".encode())
        for chunk in self.x.split(CHUNK):
            digest.update(chunk.contiguous().numpy().tobytes())
        if self.label is not None:
            digest.update(self.label.contiguous().numpy().tobytes())
        return digest.hexdigest()
