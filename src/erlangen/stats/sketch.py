"""Very wide rows made narrower by a fixed random map that keeps inner products on average."""

import torch
from jaxtyping import Float
from torch import Tensor


def count_sketch(x: Float[Tensor, "rows dim"], width: int, *, seed: int = 0) -> Float[Tensor, "rows width"]:
    """Every column is added, with a random sign, to one of `width` columns.

    The map depends on the number of columns, `width` and `seed` alone, so that batches and shards agree; it keeps inner
    products on average, with variance at most `2 |x|^2 |y|^2 / width`. Rows that are no wider than `width` come back
    as they are.

    Source: Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2002.
    """
    if width < 1:
        raise ValueError(f"width: {width}; must be at least 1")
    dim = x.shape[1]
    if dim <= width:
        return x
    generator = torch.Generator().manual_seed(seed)
    bucket = torch.randint(width, (dim,), generator=generator).to(x.device)
    sign = (2 * torch.randint(2, (dim,), generator=generator) - 1).to(x)
    return torch.zeros(len(x), width, dtype=x.dtype, device=x.device).index_add_(1, bucket, x * sign)
