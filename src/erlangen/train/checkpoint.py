"""The state of a fit between two steps, on disk.

A checkpoint is one safetensors file (weights, optimizer, best weights so far) that `state.json` points to. The new
tensor file is complete on disk before the single rename of `state.json` makes it the current one, so weights, optimizer
and step belong together whatever moment the process dies at.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erlangen.train.configuration import FORMAT_VERSION
from erlangen.train.files import read_json, read_tensors, write_json, write_tensors


@dataclass
class Progress:
    """Where a fit stands: everything but tensors."""

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_epoch: int | None = None
    stopped: str | None = None
    seconds: float = 0.0


@dataclass
class Checkpoint:
    """Progress, weights, optimizer state and, with early stopping, the best weights."""

    progress: Progress
    weights: dict[str, Tensor]
    optimizer: dict[str, Any] | None = None
    best_weights: dict[str, Tensor] | None = None


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Make `checkpoint` the current one of `directory`, then drop the one before."""
    tensors = {f"weights/{name}": value for name, value in checkpoint.weights.items()}
    tensors |= {f"best/{name}": value for name, value in (checkpoint.best_weights or {}).items()}
    plain: dict[str, Any] = {}
    groups: list[dict[str, Any]] = []
    if checkpoint.optimizer is not None:
        groups = [dict(group) for group in checkpoint.optimizer["param_groups"]]
        for index, state in checkpoint.optimizer["state"].items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{index}/{key}"] = value
                else:
                    plain[f"{index}/{key}"] = value
    name = f"state-{checkpoint.progress.step:010d}.safetensors"
    pointer = {
        "format_version": FORMAT_VERSION,
        "file": name,
        "progress": vars(checkpoint.progress),
        "optimizer": {"param_groups": groups, "plain": plain} if checkpoint.optimizer is not None else None,
        "has_best": checkpoint.best_weights is not None,
    }
    write_tensors(directory / name, tensors, {"step": str(checkpoint.progress.step)})
    try:
        write_json(directory / "state.json", pointer)
    except BaseException:
        if current_file(directory) != name:
            (directory / name).unlink(missing_ok=True)
        raise
    clean(directory, keep=name)


def current_file(directory: Path) -> str | None:
    """The tensor file that `state.json` points to."""
    path = directory / "state.json"
    return str(read_json(path).get("file")) if path.exists() else None


def has_begun(directory: Path) -> bool:
    """Whether a run's directory holds more than its configuration and initial weights."""
    first = "state-0000000000.safetensors"
    own = {"config.json", "run.lock", "state.json", first}
    if any(path.name not in own and not path.name.startswith(".") for path in directory.iterdir()):
        return True
    return current_file(directory) not in (None, first)


def clean(directory: Path, keep: str | None = None) -> None:
    """Remove tensor files that are not current and temporary files of killed writers."""
    for path in [*directory.glob("state-*.safetensors"), *directory.glob(".*.tmp")]:
        if path.name != keep:
            path.unlink(missing_ok=True)


def read_checkpoint(directory: Path) -> Checkpoint | None:
    """The current checkpoint of `directory`, None where there is none, `ValueError` where it cannot be read."""
    path = directory / "state.json"
    if not path.exists():
        return None
    pointer = read_json(path)
    if pointer.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: checkpoint format {pointer.get('format_version')!r}, this version reads {FORMAT_VERSION}"
        )
    name = str(pointer.get("file"))
    if Path(name).name != name or not name.startswith("state-"):
        raise ValueError(f"{path}: points outside the run directory ({name!r})")
    tensors = read_tensors(directory / name)
    try:
        progress = Progress(**pointer["progress"])
        optimizer = _optimizer_state(pointer["optimizer"], tensors) if pointer["optimizer"] is not None else None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint of a fit ({type(error).__name__}: {error})") from None
    return Checkpoint(
        progress=progress,
        weights=_under("weights/", tensors),
        optimizer=optimizer,
        best_weights=_under("best/", tensors) if pointer.get("has_best") else None,
    )


def _optimizer_state(plain: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    groups = [{k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in plain["param_groups"]]
    state: dict[Any, dict[str, Any]] = {}
    for path, value in [*_under("optimizer/", tensors).items(), *plain["plain"].items()]:
        index, key = path.rsplit("/", 1)
        state.setdefault(int(index) if index.isdigit() else index, {})[key] = value
    return {"state": state, "param_groups": groups}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def cpu_copy(state: dict[str, Any]) -> dict[str, Tensor]:
    """A detached copy of a state dictionary in main memory."""
    return {
        name: value.detach().to("cpu", copy=True) for name, value in state.items() if isinstance(value, torch.Tensor)
    }
