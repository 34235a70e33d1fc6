"""Noticing that an embedding has collapsed, and saying how.

Scale-free numbers of a batch of embeddings, and the sentence that names what is wrong with them, if anything is.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.stats.spectrum import effective_rank

LEAST_SPREAD = 0.01
LEAST_RANK = 1.5
MOST_VARIANCE_LOSS = 0.9
HEALTHY = {
    "embedding_std": "stays away from 0",
    "relative_spread": f"stays above {LEAST_SPREAD}; below it all samples have one embedding",
    "effective_rank": f"stays above {LEAST_RANK}; near 1 the embedding is a line",
}


@torch.no_grad()
def embedding_monitors(embedding: Float[Tensor, "batch dim"]) -> dict[str, float]:
    """Three numbers of a batch of embeddings.

    `embedding_std`: the mean over the dimensions of the standard deviation over the batch. `relative_spread`: the share
    of the root mean square length that is not the mean, sqrt(sum_j Var(z_j) / mean_i |z_i|^2), between 0 and 1 and free
    of scale; 0 where every embedding is 0. `effective_rank`: the exponential of the entropy of the singular values of
    the centred batch, 0 where it has none.

    Raises:
        ValueError: fewer than two samples.
    """
    if len(embedding) < 2:
        raise ValueError(f"embedding: a batch of {len(embedding)}; at least 2 samples are needed")
    z = embedding.flatten(1).double()
    centred = z - z.mean(0)
    size, spread = z.square().sum(1).mean(), centred.square().sum(1).mean()
    relative = (spread / size).sqrt() if bool(size > 0) else size
    rank = effective_rank(z) if bool(spread > 0) else spread
    return {
        "embedding_std": float(z.std(0).mean()),
        "relative_spread": float(relative),
        "effective_rank": float(rank),
    }


def named_collapse(
    objective: Any, values: Mapping[str, float], monitors: Mapping[str, float], *, dim: int, samples: int
) -> str | None:
    """The sentence that names a collapse, or None.

    A complete collapse is an embedding that hardly depends on the sample; a dimensional one is an embedding on a line,
    which is not looked for where labels are the target: two classes may well lie on one. An objective that knows signs
    of its own states them in `alarm(values)`; a hinge on the standard deviation (`variance`) near its largest value is
    known here.

    Arguments:
        objective: what is trained.
        values: its terms and metrics, by name.
        monitors: of `embedding_monitors`.
        dim: numbers in the embedding.
        samples: how many samples the monitors are of.
    """
    spread, rank = monitors["relative_spread"], monitors["effective_rank"]
    if spread < LEAST_SPREAD:
        return f"complete collapse: all samples have nearly one embedding (relative spread {spread:.2g})"
    if not getattr(objective, "needs_labels", False) and rank < LEAST_RANK and min(dim, samples - 1) >= 4:
        return f"dimensional collapse: the embedding uses {rank:.2f} of {dim} dimensions"
    gamma = getattr(objective, "gamma", None)
    if isinstance(gamma, float | int) and values.get("variance", 0.0) > MOST_VARIANCE_LOSS * gamma:
        share = values["variance"] / gamma
        return f"collapse: the variance term is at {share:.0%} of its largest value, what the loss sees has no spread"
    alarm = getattr(objective, "alarm", None)
    return alarm(values) if alarm is not None else None
