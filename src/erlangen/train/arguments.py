"""The arguments of `fit`, checked and turned into what the loop runs on."""

from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from erlangen.train.randomness import derived_seed


def make_directory(directory: Path) -> None:
    """Create the run directory."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"out: {str(directory)!r} is a file; give a directory") from None


def component(given: Any, argument: str) -> Any:
    """A module as it is, or the one that is registered under a name."""
    if not isinstance(given, str):
        if not isinstance(given, nn.Module):
            raise TypeError(f"{argument}: expected a module or a registered name, got {type(given).__name__}")
        return given
    import erlangen.nn
    import erlangen.objectives

    return erlangen.nn.encoders.build(given) if argument == "encoder" else erlangen.objectives.build(given)


def dataset_of(data: Any, seed: int) -> Any:
    """An `ArrayDataset` from whatever the data room loads."""
    from erlangen.data import ArrayDataset, load

    return data if isinstance(data, ArrayDataset) else load(data, seed=seed)


def hold_out(train: Any, fraction: float, seed: int) -> tuple[Any, Any | None]:
    """(what is fitted, what is held out), drawn with `seed`."""
    count = round(len(train) * fraction)
    if count == 0:
        return train, None
    if count >= len(train):
        raise ValueError(f"val_fraction: {fraction} of {len(train)} samples leaves none to fit")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derived_seed(seed, "validation")))
    return train.subset(order[count:].sort().values), train.subset(order[:count].sort().values)


def in_words(views: Any) -> Any:
    """What the configuration says of the views."""
    if views is None:
        return None
    if isinstance(views, FunctionType | MethodType | BuiltinFunctionType):  # whose repr is another in every process
        return f"{views.__module__}.{views.__qualname__}"
    return repr(views) if type(views).__repr__ is not object.__repr__ else type(views).__qualname__


def check_labels(objective: Any, dataset: Any) -> None:
    """`ValueError` where the objective needs labels and the data have none, or one class."""
    if not getattr(objective, "needs_labels", False):
        return
    name = getattr(type(objective), "registered_name", type(objective).__name__)
    if not dataset.num_classes:
        raise ValueError(f"data: {dataset.name!r} has no labels and the objective {name!r} needs them; try 'vicreg'")
    if dataset.num_classes < 2:
        raise ValueError(f"data: {dataset.name!r} has one class and the objective {name!r} needs two; try 'vicreg'")


def check_seed(seed: Any) -> None:
    """`ValueError` for what no generator takes as a seed."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed: must be a whole number of at most 63 bits, got {seed!r}")


def check_single_samples(step_size: int, samples: int, encoder: nn.Module) -> None:
    """`ValueError` for steps of one sample where a layer normalises rows over the batch: one row has no variance."""
    layers = (name for name, layer in encoder.named_modules() if isinstance(layer, nn.BatchNorm1d))
    name = next(layers, None)
    if step_size == 1 and name is not None:
        cause = "data: 1 sample to fit" if samples == 1 else "batch_size: 1"
        raise ValueError(f"{cause}; the batch normalisation in {name!r} needs at least 2 samples in a step")


def check_numbers(counts: dict[str, int | None], **reals: float | int) -> None:
    """`ValueError` for a count below one or a real number out of its range."""
    for name, value in counts.items():
        optional = name in ("save_every_steps", "patience")
        if value is None and optional:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: must be a whole number of at least 1, got {value!r}")
    check_seed(reals["seed"])
    if not 0 < reals["lr"] < float("inf"):
        raise ValueError(f"lr: must be positive and finite, got {reals['lr']}")
    if not 0 <= reals["weight_decay"] < float("inf"):
        raise ValueError(f"weight_decay: must not be negative, got {reals['weight_decay']}")
    if not 0 <= reals["val_fraction"] < 1:
        raise ValueError(f"val_fraction: must be in [0, 1), got {reals['val_fraction']}")
