"""The check that two sets of embeddings belong to the same samples."""

import torch
from torch import Tensor


def check_finite(name: str, x: Tensor) -> None:
    """ValueError for NaN or infinite values, by the argument's name."""
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {x.numel()} values are NaN or infinite")


def check_pairs(source: Tensor, target: Tensor, names: tuple[str, str]) -> None:
    """Matrices with the same number of rows, at least one, all finite; else a ValueError that names the one at fault."""
    for name, x in zip(names, (source, target), strict=True):
        if x.ndim != 2 or not x.is_floating_point():
            raise ValueError(f"{name}: {x.dtype} {tuple(x.shape)}; expected floating [samples, dim]")
    if len(source) != len(target):
        raise ValueError(f"{names[1]}: {len(target)} rows for {len(source)} of {names[0]}; the same samples are needed")
    if len(source) == 0:
        raise ValueError(f"{names[0]}: no rows; give at least one pair")
    check_finite(names[0], source)
    check_finite(names[1], target)
