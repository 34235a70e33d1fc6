"""Models of half precision, seen in single precision."""

import copy

import torch
from torch import Tensor, nn

from erlangen.audit.collect import in_its_precision

HALF = (torch.float16, torch.bfloat16)


def at_least_single(model: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """The model and inputs in its precision; a float32 copy of a model that holds any half-precision weights.

    Ranks, derivatives and equalities of weights are about the function, not about the 8 or 11 bits it is stored in.
    """
    if any(t.dtype in HALF for t in [*model.parameters(), *model.buffers()]):
        model = copy.deepcopy(model).float()
    return model, in_its_precision(model, x)
