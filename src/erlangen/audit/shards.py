"""An audit by several processes: what each of them gathered becomes what one would have gathered."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def shard() -> tuple[int, int]:
    """(rank, processes) of the process group; (0, 1) without one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def largest(value: int) -> int:
    """The largest of the processes' numbers."""
    if shard()[1] == 1:
        return value
    return max(gather(value))


def gather(value: Any) -> list[Any]:
    """Every process's value, in the order of their ranks, in every process."""
    processes = shard()[1]
    if processes == 1:
        return [value]
    found: list[Any] = [None] * processes
    if distributed.get_backend() == "nccl" and torch.cuda.is_available():
        torch.cuda.set_device(shard()[0] % torch.cuda.device_count())
    distributed.all_gather_object(found, value)
    return found


def together(act: Callable[[], T]) -> T:
    """What `act` returns here; an exception in one process is raised in all of them, so that none waits for ever."""
    trouble: Exception | None = None
    try:
        value = act()
    except Exception as error:
        trouble = error
    for rank, other in enumerate(gather(None if trouble is None else str(trouble))):
        if trouble is None and other is not None:
            raise ValueError(f"process {rank}: {other}")
    if trouble is not None:
        raise trouble
    return value
