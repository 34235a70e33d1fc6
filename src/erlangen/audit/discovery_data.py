"""Anything loadable as inputs and targets that a symmetry can be looked for in."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

Task = Literal["auto", "classification", "regression", "inputs"]
SIDE = 32


@dataclass(frozen=True)
class Samples:
    """Inputs with what is to be predicted from them.

    Attributes:
        x: images `[N, C, H, W]`, points or vectors `[N, k, n]`, or plain features `[N, F]`, float32.
        y: class numbers `[N]`, or targets `[N, d]` in float32, or None.
        type: of the inputs, as a `Symmetry` names it: "image", "points", "vectors", an irreps string, an `Action`.
        task: what is predicted; "inputs" where there is nothing to predict.
        classes: how many classes there are, 0 for none.
        name: what the report calls the data.
    """

    x: Tensor
    y: Tensor | None
    type: Any
    task: Literal["classification", "regression", "inputs"]
    classes: int
    name: str

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Samples:
        """The samples at `index`."""
        return replace(self, x=self.x[index], y=None if self.y is None else self.y[index])


def read_samples(
    data: Any,
    *,
    task: Task = "auto",
    input: Any = None,
    label_column: str | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> Samples:
    """Inputs and targets from a name, a path, a pair (x, y), x alone, or a data set; at most `samples` of them.

    Raises:
        ValueError: too few samples, targets that do not fit, NaN, an input type that does not fit the shape.
    """
    x, y, name = _pair(data, label_column)
    x = _inputs(x, input)
    if len(x) < 60:
        raise ValueError(f"data: {len(x)} samples are too few to tell a symmetry; at least 60 are needed")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("data: the inputs contain NaN or infinite values")
    if bool((x == x[:1]).all()):
        raise ValueError(f"data: all {len(x)} inputs are equal; there is nothing that a symmetry could move")
    if y is not None and len(y) != len(x):
        raise ValueError(f"data: {len(y)} targets for {len(x)} samples; they must agree")
    y, kind, classes = _targets(y, task)
    if y is not None and kind == "classification":
        kept = (y >= 0).nonzero()[:, 0]
        x, y = x[kept], y[kept]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(x), generator=generator)[:samples]
    x = x[chosen]
    made = Samples(x, None if y is None else y[chosen], input or _type_of(x), kind, classes, name)
    return replace(made, x=_shrunk(made.x)) if made.type == "image" else made


def _pair(data: Any, label_column: str | None) -> tuple[Tensor, Any, str]:
    from erlangen.data import ArrayDataset, load
    from erlangen.data.archive import open_npz
    from erlangen.data.tables import read_arrow, read_csv
    from erlangen.data.validate import as_tensor

    if isinstance(data, (tuple, list)) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        return _float(as_tensor(data[0])), as_tensor(data[1], "y"), "data"
    if isinstance(data, torch.Tensor) or type(data).__module__ == "numpy":
        return _float(as_tensor(data)), None, "data"
    if isinstance(data, (str, os.PathLike)):
        path = Path(os.fspath(data)).expanduser()
        readers = {".npz": open_npz, ".csv": read_csv, ".gz": read_csv, ".parquet": read_arrow, ".arrow": read_arrow}
        if path.is_file() and path.suffix in readers:
            raw = readers[path.suffix](path, label_column=label_column)
            return _float(as_tensor(raw.x)), raw.label, path.stem
    found = data if isinstance(data, ArrayDataset) else load(data, label_column=label_column)
    x, label = found.tensors()
    return x, None if found.label is None else label, found.name


def _float(x: Tensor) -> Tensor:
    return x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x.to(torch.float32)


def _inputs(x: Tensor, given: Any) -> Tensor:
    from erlangen.data.validate import channels_first

    if x.ndim < 2:
        raise ValueError(f"data: inputs of shape {tuple(x.shape)}; give samples first and at least one feature")
    if given == "image" or (given is None and (x.ndim == 4 or (x.ndim == 3 and x.shape[-1] > 4))):
        return channels_first(x)
    return x


def _type_of(x: Tensor) -> str:
    return {4: "image", 3: "points"}.get(x.ndim, "vectors")


def _targets(y: Any, task: Task) -> tuple[Tensor | None, Literal["classification", "regression", "inputs"], int]:
    if task not in ("auto", "classification", "regression", "inputs"):
        raise ValueError(f"task: {task!r}; allowed: 'auto', 'classification', 'regression', 'inputs'")
    if task == "inputs" or y is None:
        if task in ("classification", "regression"):
            raise ValueError(
                f"task: {task!r} needs targets, and the data have none; name their column, or task='inputs'"
            )
        return None, "inputs", 0
    if not isinstance(y, torch.Tensor):
        import numpy as np

        array = np.asarray(y)
        if array.dtype.kind in "USO":
            y = torch.from_numpy(np.unique(array.astype(str), return_inverse=True)[1])
        else:
            y = torch.from_numpy(np.ascontiguousarray(array))
    if y.is_floating_point() and not bool(torch.isfinite(y).all()):
        raise ValueError("data: the targets contain NaN or infinite values")
    whole = y.ndim == 1 and (not y.is_floating_point() or bool((y == y.round()).all()))
    few = whole and len(torch.unique(y)) <= max(20, len(y) // 20)
    if task == "auto":
        task = "classification" if few else "regression"
    if task == "classification":
        if not whole:
            raise ValueError(
                "task: 'classification' needs one class number a sample; these targets suggest 'regression'"
            )
        negative = y < 0
        values, numbers = torch.unique(y[~negative], return_inverse=True)
        if len(values) < 2:
            raise ValueError("data: all samples have the same class; task='inputs' looks at the inputs alone")
        out = torch.full((len(y),), -1, dtype=torch.int64)
        out[~negative] = numbers
        return out, "classification", len(values)
    target = y.to(torch.float32).reshape(len(y), -1)
    if float(target.var(0).sum()) == 0.0:
        raise ValueError("data: all samples have the same target; task='inputs' looks at the inputs alone")
    return target, "regression", 0


def _shrunk(x: Tensor) -> Tensor:
    """Images at most 32 pixels wide, by averaging."""
    side = min(x.shape[-2:])
    if side <= SIDE:
        return x
    scale = SIDE / side
    size = (max(round(x.shape[-2] * scale), 1), max(round(x.shape[-1] * scale), 1))
    return torch.cat([torch.nn.functional.interpolate(part, size, mode="area") for part in x.split(512)])
