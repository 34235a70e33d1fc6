"""Whether the embedding still tells samples apart, looked at after every epoch."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from erlangen.objectives.collapse import embedding_monitors, named_collapse

WATCHED = 256
CHUNK = 64
_log = logging.getLogger(__name__)


def watched_samples(data: Any) -> Tensor | None:
    """Up to 256 samples spread over the data; None where there are fewer than two."""
    count = min(WATCHED, len(data))
    return data.tensors(torch.arange(count) * len(data) // count)[0] if count >= 2 else None


@torch.no_grad()
def watch(encoder: nn.Module, objective: Any, samples: Tensor, row: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """What an epoch's row gains: `monitor/...` of the embedding and, where there is one, `collapse` in words.

    The encoder runs in evaluation mode, but for batch norm, which takes the batch's statistics as it does where the loss
    looks: in the first epochs the running ones lag so far behind that a deep network seems constant. They are put back
    afterwards and nothing is drawn, so that the training goes on as if nobody had looked. Held-out metrics are computed
    with the running statistics; they count as signs of collapse only once those have followed.
    """
    training = {module: module.training for module in encoder.modules()}
    norms = [m for m in encoder.modules() if isinstance(m, _BatchNorm)]
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers(recurse=False)]
    encoder.eval()
    for norm in norms:
        norm.train()
    try:
        parts = [part for part in samples.split(CHUNK) if len(part) > 1]
        embedding = torch.cat([encoder(part.to(device)).flatten(1) for part in parts]).cpu()
    finally:
        for module, mode in training.items():
            module.training = mode
        for buffer, value in kept:
            buffer.copy_(value)
    if not bool(torch.isfinite(embedding).all()):
        return {"collapse": "not finite: embeddings of training samples hold NaN or infinity"}
    monitors = embedding_monitors(embedding)
    values: dict[str, float] = {}
    for part in (
        ("val/", "train/") if _settled(norms) else ("train/",)
    ):  # terms as the optimizer saw them, metrics held out
        values |= {k[len(part) :]: float(v) for k, v in row.items() if k.startswith(part)}
    words = named_collapse(objective, values, monitors, dim=embedding.shape[1], samples=len(embedding))
    found: dict[str, Any] = {f"monitor/{name}": value for name, value in monitors.items()}
    return found if words is None else {**found, "collapse": words}


def _settled(norms: list[_BatchNorm]) -> bool:
    """Whether running statistics hold less than a twentieth of what they were initialised with."""
    counted = [(n.momentum, n.num_batches_tracked) for n in norms if n.num_batches_tracked is not None]
    return all(momentum is None or (1 - momentum) ** int(count) <= 0.05 for momentum, count in counted)


def tell(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """A warning in the log when an epoch shows a kind of collapse that the one before did not."""

    def kind(of: Mapping[str, Any] | None) -> str:
        return str((of or {}).get("collapse", "")).split(":")[0]

    if kind(row) and kind(row) != kind(before):
        _log.warning("epoch %d: %s", row["epoch"] + 1, row["collapse"])
