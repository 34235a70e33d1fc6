"""An audit by several processes: what each of them gathered becomes what one would have gathered."""

from typing import Any

import torch
from torch import distributed


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
