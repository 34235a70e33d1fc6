"""All that is known of a data set without a model, in one call."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erlangen.audit.dataset.copies import Duplicates, duplicates
from erlangen.audit.dataset.dimension import IntrinsicDimension, intrinsic_dimension
from erlangen.audit.dataset.sharpness import LabelSharpness, label_sharpness
from erlangen.audit.inputs import open_source


@dataclass(frozen=True)
class DatasetReport:
    """Duplicates, dimension by two methods and label sharpness (None without labels)."""

    name: str
    duplicates: Duplicates
    twonn: IntrinsicDimension
    mle: IntrinsicDimension
    sharpness: LabelSharpness | None

    @property
    def predicted_rate(self) -> float:
        """`1/d`: the exponent of the bound on how the loss falls with the number of samples."""
        return 1 / self.mle.value

    def __str__(self) -> str:
        lines = [self.name, f"  {self.duplicates}", f"  {self.twonn}", f"  {self.mle}"]
        if self.sharpness is not None:
            lines.append(f"  {self.sharpness}")
        fourfold = 4**self.predicted_rate
        lines.append(f"  the bound on the loss falls by a factor of {fourfold:.2f} for four times as many samples")
        return "\n".join(lines)


def dataset_report(dataset: Any, *, samples: int = 5000, seed: int = 0, calibrate: bool = True) -> DatasetReport:
    """Duplicates, intrinsic dimension and label sharpness of anything that `audit` takes as data.

    Raises ValueError as these do, and for a data set with fewer than 200 samples.
    """
    source = open_source(dataset, samples=samples, seed=seed)
    parts = list(source.batches)
    x, y = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
    if len(x) < 200:
        raise ValueError(f"dataset: {len(x)} samples; at least 200 are needed to speak of a dimension")
    labelled: Tensor | None = y if bool((y >= 0).all()) else None
    return DatasetReport(
        source.name,
        duplicates(x, labelled),
        intrinsic_dimension(x, "twonn", calibrate=calibrate, seed=seed),
        intrinsic_dimension(x, "mle", calibrate=calibrate, seed=seed),
        label_sharpness(x, labelled, samples=1000, seed=seed) if labelled is not None else None,
    )
