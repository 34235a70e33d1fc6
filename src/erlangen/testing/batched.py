"""Run a model on many inputs in one call, where it provably treats the entries of a batch one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves
from erlangen.testing.runner import Runner, relative_error

LARGEST = 2**20  # numbers in one call: beyond it the arithmetic costs more than the calls, and memory is at stake
AGREES = {torch.float64: 1e-12, torch.float32: 1e-5}


def outputs_in_one_call(
    runner: Runner, base: tuple[Any, ...], out: Any, moved: list[tuple[Any, ...]], *, seed: int | None
) -> list[Any] | None:
    """The outputs on every entry of `moved`, or None where they have to be asked for one at a time.

    The inputs are concatenated along their first axis with the plain input as first and last block. If the model
    mixes batch entries, is random or keeps statistics, those two blocks do not repeat `out`, the output on the plain
    input alone, and nothing is returned.
    """
    if len(moved) < 2 or not _suits(runner, base, out):
        return None
    blocks = [base, *moved, base]
    if any(b[k].shape != base[k].shape for b in moved for k in range(len(base))):
        return None
    if sum(t.numel() for t in base) * len(blocks) > LARGEST:
        return None
    try:
        together = runner(tuple(torch.cat(parts) for parts in zip(*blocks, strict=True)), seed=seed)
        split = _split(together, out, len(base[0]), len(blocks))
    except Exception:  # a model made for one batch size, or whose output has no batch axis
        return None
    limit = AGREES[runner.dtype]
    alone = leaves.stacked(out)
    if any(relative_error(leaves.stacked(split[i]), alone) > limit for i in (0, -1)):
        return None
    return split[1:-1]


def _suits(runner: Runner, base: tuple[Any, ...], out: Any) -> bool:
    if runner.keyword or runner.numpy or runner.reset is not None:
        return False
    if any(m.training and m._buffers for root in runner.modules for m in root.modules()):
        return False  # running statistics
    given = [*base, *(out if isinstance(out, (tuple, list)) else [out])]
    if not base or not all(isinstance(t, Tensor) and t.dim() for t in given):
        return False
    return len({len(t) for t in given}) == 1 and len(given[0]) > 0


def _split(together: Any, out: Any, size: int, count: int) -> list[Any]:
    if isinstance(together, Tensor):
        if together.shape != (size * count, *out.shape[1:]):
            raise ValueError(f"output: {tuple(together.shape)} for {count} batches of {tuple(out.shape)}")
        return list(together.split(size))
    parts = [_split(t, o, size, count) for t, o in zip(together, out, strict=True)]
    return [type(out)(block) for block in zip(*parts, strict=True)]
