"""The Walsh-Hadamard transform: the Fourier transform of the group (Z/2)^m."""

import torch
from torch import Tensor

RADIX = 16


def hadamard_matrix(size: int, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """Sylvester's matrix, `H[i, j] = (-1)^popcount(i & j)`, `[size, size]`; `size` is a power of two."""
    _check_power("size", size)
    made = torch.ones(1, 1, dtype=dtype, device=device)
    while len(made) < size:
        made = torch.cat([torch.cat([made, made], 1), torch.cat([made, -made], 1)])
    return made


def hadamard_transform(x: Tensor, *, normalized: bool = False) -> Tensor:
    """`H x` along the last axis, in O(n log n); the rows of H are the characters of (Z/2)^m, in Sylvester's order.

    H is symmetric and `H H = n`; with `normalized=True` it is divided by sqrt(n), which makes it orthogonal and its own
    inverse. The butterflies are taken four at a time, as products with the 16 x 16 matrix: a quarter of the passes over
    memory. Differentiable and batched over all other axes.

    Raises ValueError for a length that is not a power of two and for numbers that are not floating or complex.
    """
    if x.dim() < 1:
        raise ValueError("x: a single number; it needs an axis to transform")
    if not (x.is_floating_point() or x.is_complex()):
        raise ValueError(f"x: of {x.dtype}; floating or complex numbers are needed")
    size = x.shape[-1]
    _check_power("x", size)
    shape, right = x.shape, 1
    while right < size:
        step = min(RADIX, size // right)
        matrix = hadamard_matrix(step, dtype=x.dtype, device=x.device)
        blocks = x.reshape(*shape[:-1], -1, step, right)
        x = (blocks[..., 0] @ matrix if right == 1 else matrix @ blocks).reshape(shape)
        right *= step
    return x / size**0.5 if normalized else x


def _check_power(argument: str, size: int) -> None:
    if size < 1 or size & (size - 1):
        raise ValueError(f"{argument}: length {size}; a power of two is needed")
