"""Run a model on many inputs in one call: along its batch axis, or by vmap where it has none."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from erlangen.testing import leaves
from erlangen.testing.runner import Runner, relative_error

EVENT_DIMS = {"points": 2, "vectors": 2, "rows": 2, "scalars": 2, "sequence": 2, "mask": 1, "image": 3, "rotation": 2}
LARGEST = 2**21  # numbers in one call: beyond it the arithmetic costs more than the calls, and memory is at stake
SLOW = {"batch": 0.05, "vmap": 0.02}  # seconds; beyond it single calls cost the same, and can be stopped in time
AGREES = {torch.float64: 1e-12, torch.float32: 1e-5}


def outputs_in_one_call(
    runner: Runner,
    base: tuple[Any, ...],
    out: Any,
    moved: list[tuple[Any, ...]],
    *,
    seed: int | None,
    has_batch: bool = True,
) -> list[Any] | None:
    """The outputs on every entry of `moved`, or None where they have to be asked for one at a time.

    The inputs are put in one batch with the plain input as first and last block. If the model mixes batch entries, is
    random or keeps statistics, those two blocks do not repeat `out`, the output on the plain input alone, and nothing
    is returned. `has_batch` says that the first axis is a batch, as far as the types can tell. What does not work once
    for a model is not tried again.
    """
    if len(moved) < 2 or not _suits(runner, base, out):
        return None
    blocks = [base, *moved, base]
    if any(b[k].shape != base[k].shape for b in moved for k in range(len(base))):
        return None
    if sum(t.numel() for t in base) * len(blocks) > LARGEST:
        return None
    for how, run in (("batch", _along_the_batch), ("vmap", _by_vmap)):
        if how == "batch" and not has_batch:
            continue
        if how in runner.refused or runner.seconds_per_call > SLOW[how]:
            continue
        try:
            split = run(runner, base, out, blocks, seed)
        except Exception:  # a model made for one batch size, whose output has no batch axis, or that vmap cannot take
            split = None
        if split is not None and _repeats(runner, split, out):
            return split[1:-1]
        runner.refused.add(how)
    return None


def has_batch_axis(input_type: Any, args: tuple[Any, ...]) -> bool:
    """Whether every argument has an axis in front of the ones that its type speaks of; unknown types are trusted."""
    kinds = input_type if isinstance(input_type, tuple) else (input_type,)
    pairs = zip(kinds, args, strict=False)
    return all(
        k not in EVENT_DIMS or x.dim() > EVENT_DIMS[k] for k, x in pairs if isinstance(k, str) and isinstance(x, Tensor)
    )


def _suits(runner: Runner, base: tuple[Any, ...], out: Any) -> bool:
    if runner.keyword or runner.numpy or runner.reset is not None or runner.lift:
        return False
    if any(m.training and (m._buffers or "Dropout" in type(m).__name__) for r in runner.modules for m in r.modules()):
        return False  # running statistics, or randomness
    given = [*base, *(out if isinstance(out, (tuple, list)) else [out])]
    return bool(base) and all(isinstance(t, Tensor) and t.layout is torch.strided for t in given)


def _repeats(runner: Runner, split: list[Any], out: Any) -> bool:
    """Whether the first and the last block are what the plain input alone gives."""
    alone = leaves.stacked(out)
    return all(relative_error(leaves.stacked(split[i]), alone) <= AGREES[runner.dtype] for i in (0, -1))


def _along_the_batch(
    runner: Runner, base: tuple[Any, ...], out: Any, blocks: list[tuple[Any, ...]], seed: int | None
) -> list[Any] | None:
    given = [*base, *(out if isinstance(out, (tuple, list)) else [out])]
    if not all(t.dim() for t in given) or len({len(t) for t in given}) != 1 or not len(given[0]):
        return None
    together = runner(tuple(torch.cat(parts) for parts in zip(*blocks, strict=True)), seed=seed, of_one=False)
    return _split(together, out, len(base[0]), len(blocks))


def _split(together: Any, out: Any, size: int, count: int) -> list[Any]:
    if isinstance(together, Tensor):
        if together.shape != (size * count, *out.shape[1:]):
            raise ValueError(f"output: {tuple(together.shape)} for {count} batches of {tuple(out.shape)}")
        return list(together.split(size))
    parts = [_split(t, o, size, count) for t, o in zip(together, out, strict=True)]
    return [type(out)(block) for block in zip(*parts, strict=True)]


def _by_vmap(
    runner: Runner, base: tuple[Any, ...], out: Any, blocks: list[tuple[Any, ...]], seed: int | None
) -> list[Any] | None:
    stacked = tuple(torch.stack(parts) for parts in zip(*blocks, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        together = runner(stacked, seed=seed, of_one=False, vectorised=True)
    if isinstance(together, Tensor):
        return list(together.unbind(0)) if together.shape[1:] == out.shape else None
    return [type(out)(block) for block in zip(*(t.unbind(0) for t in together), strict=True)]
