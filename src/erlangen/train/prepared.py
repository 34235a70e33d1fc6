"""An encoder together with the normalisation it was fitted behind."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn


class PreparedEncoder(nn.Module):
    """`(x - mean) / std`, then the encoder: raw samples in, embeddings out.

    `mean` and `std` are per channel (images `[batch, channels, height, width]`) or per feature (vectors
    `[batch, features]`); a constant per channel commutes with every action on the pixels, so the encoder's symmetries
    stay what they are. A zero `std` counts as one. `prefixes` are the lengths of those prefixes of the embedding that
    its objective made embeddings in their own right.
    """

    mean: Tensor
    std: Tensor
    prefixes: tuple[int, ...] | None = None

    def __init__(self, model: nn.Module, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        self.model = model
        mean = torch.zeros(1) if mean is None else torch.as_tensor(mean, dtype=torch.float32).reshape(-1)
        std = torch.ones(1) if std is None else torch.as_tensor(std, dtype=torch.float32).reshape(-1)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", torch.where(std > 0, std, torch.ones_like(std)))

    @property
    def embedding_dim(self) -> int:
        return int(self.model.embedding_dim)  # type: ignore[arg-type]

    @property
    def symmetries(self) -> list[Any]:
        return list(getattr(self.model, "symmetries", []))

    @property
    def layer_names(self) -> list[str]:
        """The wrapped encoder's layers worth looking at, as names inside this module."""
        return [f"model.{name}" for name in getattr(self.model, "layer_names", [])]

    def normalise(self, x: Tensor) -> Tensor:
        """The encoder's own input: the same signal, standardised."""
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - self.mean.reshape(shape)) / self.std.reshape(shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.normalise(x))


def model_id(module: nn.Module) -> str:
    """A name for what a module computes: 16 hex digits of the SHA-256 over its parameters and buffers.

    Two embeddings may be compared only if their models have the same id.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
