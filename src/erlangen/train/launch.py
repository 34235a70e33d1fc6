"""Starting Lightning quietly: its trainer, without its log lines, folders and bars."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def process_rank() -> int:
    """This process's global rank, as torchrun or Lightning's launcher set it; 0 when nobody did."""
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    node, local = int(os.environ.get("NODE_RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    per_node = max(1, int(os.environ.get("WORLD_SIZE", "1")) // max(1, int(os.environ.get("NUM_NODES", "1"))))
    return node * per_node + local


def check_devices(devices: Any, nodes: int) -> None:
    """`ValueError` for impossible counts, a warning for more processes than processor cores."""
    import torch

    if isinstance(nodes, bool) or nodes < 1:
        raise ValueError(f"nodes: must be at least 1, got {nodes!r}")
    if isinstance(devices, int) and devices != -1 and devices < 1:
        raise ValueError(f"devices: must be at least 1 (or -1 for all), got {devices}")
    if not isinstance(devices, int) or torch.cuda.is_available():
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if devices > cores:
        warnings.warn(
            f"devices: {devices} processes share {cores} processor core(s) and will be slower than {cores}",
            stacklevel=3,
        )


@contextmanager
def silent_lightning() -> Iterator[None]:
    """Lightning's own log lines and advice off, the user's warnings as they are."""
    names = ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*(does not have many workers|lightning|isinstance\(treespec).*")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def build_trainer(*, epochs: int, devices: Any, nodes: int, strategy: str, precision: str, callback: Any) -> Any:
    """A `lightning.Trainer` that does nothing of its own accord: no logger, no checkpoints, no summary, no bar."""
    import lightning.pytorch as pl

    return pl.Trainer(
        max_epochs=epochs,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        precision=precision,  # type: ignore[arg-type]
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
