"""Which unit, and which scale, every element of a tensor belongs to."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Labels:
    """Two integer tensors of the shape of the labelled one: the unit, and the scale segment, of every element.

    Elements of unit 0 are fixed, elements of segment 0 must not be rescaled. Axes on which nothing depends have stride
    0, so that labels cost no memory there.
    """

    unit: Tensor
    scale: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.unit.shape


def collapse(*labels: Tensor) -> list[np.ndarray]:
    """The labels as arrays, with every axis on which none of them depends (stride 0) cut down to one entry."""
    shape = labels[0].shape
    cut = tuple(slice(0, 1) if all(t.stride(d) == 0 for t in labels) else slice(None) for d in range(len(shape)))
    return [t[cut].numpy() for t in labels]


def varying(label: np.ndarray) -> list[int]:
    """The axes along which the labels change."""
    return [d for d in range(label.ndim) if label.shape[d] > 1 and not (label == label.take([0], axis=d)).all()]


def along(label: Tensor, axis: int) -> Tensor | None:
    """The labels as a function of one axis, `[size]`; None where they depend on another one too."""
    axis %= label.ndim
    short = collapse(label)[0]
    if any(d != axis for d in varying(short)):
        return None
    line = short[tuple(slice(None) if d == axis else 0 for d in range(label.ndim))]
    return torch.from_numpy(np.broadcast_to(line, (label.shape[axis],)).copy())


def spread(line: Tensor, shape: torch.Size, axis: int) -> Tensor:
    """`line` as labels of a tensor of `shape`, along `axis`."""
    view = [1] * len(shape)
    view[axis % len(shape)] = len(line)
    return line.view(view).expand(shape)
