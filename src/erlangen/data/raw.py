"""What a reader found, before it becomes a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Raw:
    """Samples, labels and what a file says about them.

    Arguments:
        x: samples first, an array or a tensor.
        label: numbers or text, one a sample, or `None`.
        class_names: names of the class numbers.
        splits: "train" and "test" to positions, where the source has them.
        skipped: unreadable files that were left out on request.
    """

    x: Any
    label: Any = None
    class_names: Sequence[str] | None = None
    splits: dict[str, Any] | None = None
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def from_parts(
        cls, train_x: Any, train_y: Any, test_x: Any, test_y: Any, *, class_names: Sequence[str] | None = None
    ) -> "Raw":
        """One source from its train and test parts, train first."""
        if train_x.shape[1:] != test_x.shape[1:]:
            raise ValueError(f"x: train samples of shape {train_x.shape[1:]}, test samples of {test_x.shape[1:]}")
        if (train_y is None) != (test_y is None):
            raise ValueError("label: given for one of train and test only; give both or none")
        for part, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
            if y is not None and len(x) != len(y):
                raise ValueError(f"label: {len(y)} {part} labels for {len(x)} {part} samples; they must agree")
        n = len(train_x)
        splits = {"train": torch.arange(n), "test": torch.arange(n, n + len(test_x))}
        label = None if train_y is None else np.concatenate([np.asarray(train_y), np.asarray(test_y)])
        return cls(np.concatenate([train_x, test_x]), label, class_names, splits)

    def named(self, class_names: Sequence[str]) -> "Raw":
        """The same with names for the classes."""
        return replace(self, class_names=class_names)
