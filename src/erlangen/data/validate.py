"""Turn what a user has into clean tensors, or say in one line what is wrong with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

CHANNEL_COUNTS = (1, 3, 4)


def as_tensor(x: Any, argument: str = "x") -> Tensor:
    """A tensor of real numbers on the CPU, sharing memory where possible."""
    if isinstance(x, Tensor):
        tensor = x.detach().cpu()
    else:
        array = np.asarray(x)
        if array.dtype == object:
            raise TypeError(f"{argument}: an array of python objects; give numbers of one shape")
        if array.dtype.kind not in "buif":
            raise TypeError(f"{argument}: an array of {array.dtype}; give integers or floats")
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:
            if array.size and int(array.max()) >= 2**63:
                raise ValueError(f"{argument}: {int(array.max())} is beyond the integers of 64 bits with a sign")
            array = array.astype(np.int64)
        array = np.ascontiguousarray(array)
        if array.dtype.byteorder == ">" or not array.flags.writeable:
            array = array.astype(array.dtype.newbyteorder("="))
        tensor = torch.from_numpy(array)
    if tensor.is_complex():
        raise TypeError(f"{argument}: complex numbers; give their real and imaginary parts as channels")
    return tensor


def stored_samples(x: Tensor) -> Tensor:
    """Samples as they are kept: uint8 for byte images, else float32; every value finite."""
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"x: shape {tuple(x.shape)}; give at least one sample, samples first")
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        return x.to(torch.float32)
    bad = ~torch.isfinite(x).flatten(1).all(1)
    if bad.any():
        first = int(bad.nonzero()[0, 0])
        raise ValueError(
            f"x: NaN or infinite values in {int(bad.sum())} of {len(x)} samples (first: sample {first}); "
            "remove or repair them before loading"
        )
    stored = x.to(torch.float32)
    if x.dtype == torch.float64 and not bool(torch.isfinite(stored).all()):
        raise ValueError(
            f"x: {float(x.abs().max()):.3g} is beyond float32 (3.4e38), in which samples are kept; rescale them"
        )
    return stored


def channels_first(x: Tensor, argument: str = "x") -> Tensor:
    """Images as [batch, channels, height, width], from that, [batch, height, width] or channels last."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim != 4:
        raise ValueError(f"{argument}: images of shape {tuple(x.shape)}; give (N, H, W), (N, C, H, W) or (N, H, W, C)")
    first, last = x.shape[1] in CHANNEL_COUNTS, x.shape[3] in CHANNEL_COUNTS
    if first and last:  # the two equal sides are height and width
        first = not x.shape[1] == x.shape[2] != x.shape[3]
    if last and not first:
        return x.permute(0, 3, 1, 2).contiguous()
    return x


def class_numbers(
    label: Any, samples: int, class_names: Sequence[str] | None = None, num_classes: int | None = None
) -> tuple[Tensor | None, list[str] | None]:
    """Labels as int64 class numbers (-1: unlabelled) with the names of the classes; text becomes numbers, sorted."""
    names = None if class_names is None else [str(name) for name in class_names]
    if label is None:
        return None, names
    if not isinstance(label, Tensor):
        array = np.asarray(label)
        if array.dtype.kind in "USO" and all(isinstance(entry, str | bytes) for entry in array.ravel().tolist()):
            text = [e.decode() if isinstance(e, bytes) else e for e in array.ravel().tolist()]
            names = sorted(set(text)) if names is None else names
            position = {name: number for number, name in enumerate(names)}
            stray = sorted(set(text) - set(position))
            if stray:
                raise ValueError(f"label: {stray[0]!r} is not one of class_names ({', '.join(names)})")
            label = np.asarray([position[entry] for entry in text], dtype=np.int64)
    numbers = as_tensor(label, "label")
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.shape != (samples,):
        raise ValueError(f"label: shape {tuple(numbers.shape)} for {samples} samples; give one class number a sample")
    if numbers.is_floating_point() and not bool((numbers == numbers.round()).all()):
        raise TypeError("label: fractions or NaN; class numbers are integers 0 .. classes - 1 (-1: unlabelled)")
    numbers = numbers.to(torch.int64)
    low, high = int(numbers.min()), int(numbers.max())
    limit, bound = samples, "the number of samples; give class_names or num_classes for more"
    if names is not None:
        limit, bound = len(names), "the number of class_names"
    elif num_classes is not None:
        limit, bound = num_classes, "num_classes"
    if low < -1 or high >= limit:
        wrong = low if low < -1 else high
        raise ValueError(
            f"label: {wrong} is out of range; class numbers run from 0 to below {limit} ({bound}), -1 is unlabelled"
        )
    return numbers, names


def count_classes(label: Tensor | None, class_names: Sequence[str] | None, given: int | None) -> int | None:
    """The number of classes: of the names, as given, or one more than the highest label; `None` without labels."""
    if class_names is not None and given not in (None, len(class_names)):
        raise ValueError(f"num_classes: {given} with {len(class_names)} class_names; leave num_classes out")
    if label is None:
        return None
    if class_names is not None:
        return len(class_names)
    return given or (int(label.max()) + 1 or None)
