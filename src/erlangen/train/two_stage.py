"""Fine-tuning in two stages: every encoder by itself, and only then side by side."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from erlangen.train.fitting import fit
from erlangen.train.prepared import PreparedEncoder
from erlangen.train.runs import Run


def two_stage_finetune(encoders: Sequence[nn.Module], data: Any, *, seed: int = 0, **options: Any) -> list[Run]:
    """Fine-tune copies of `encoders` on `data`, each by itself; put what comes back side by side in a `ConcatEncoder`.

    Fine-tuning the concatenation at once is worse: the parts then learn together what one of them would have. J. Zhang,
    L. Bottou, "Learning useful representations for shifting tasks and distributions", 2023, arXiv:2212.07346.

    Arguments:
        encoders: fitted ones; the normalisation that a run put before them is replaced by that of `data`.
        options: as for `fit`. Encoder number i is fitted with `seed + i`.

    Raises:
        ValueError: no encoder given.
    """
    if len(encoders) == 0:
        raise ValueError("encoders: none given; give at least one")
    bare = [encoder.model if isinstance(encoder, PreparedEncoder) else encoder for encoder in encoders]
    return [
        fit(copy.deepcopy(encoder).requires_grad_(True), data, seed=seed + number, **options)
        for number, encoder in enumerate(bare)
    ]
