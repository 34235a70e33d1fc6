"""Bags of visual words: which words of a running vocabulary an image's feature map holds.

S. Gidaris, A. Bursuc, G. Puy, N. Komodakis, M. Cord, P. Perez, "OBoW: Online Bag-of-Visual-Words Generation for
Self-Supervised Learning", 2021, arXiv:2012.11552.
"""

from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from erlangen.objectives.distributed import ReductionKind, gather_batch, world_size
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.queue import FeatureQueue
from erlangen.objectives.terms import LossTerms

CHUNK = 1 << 22  # entries of a matrix of positions and words that are held at a time


@at_least_single
def word_prediction(logits: Float[Tensor, "batch words"], target: Float[Tensor, "batch words"]) -> LossTerms:
    """The cross-entropy of soft targets, -mean_i sum_k y_ik log softmax(logits_i)_k; below it only by the entropy of y."""
    if logits.shape != target.shape:
        raise ValueError(f"target: shape {tuple(target.shape)}, logits have {tuple(logits.shape)}; they must agree")
    return LossTerms({"words": F.cross_entropy(logits, target)})


def bag_of_words(
    features: Float[Tensor, "batch dim positions"], words: Float[Tensor, "words dim"], sharpness: float | Tensor
) -> tuple[Float[Tensor, "batch words"], Float[Tensor, ""]]:
    """Bags of words and the mean over the positions of the smallest squared distance to a word.

    Word k is in a position as far as softmax_k(-sharpness |u - v_k|^2) says, in an image as far as it is in that of its
    positions that holds it most, and the bag is scaled to sum to one. `|u|^2` cancels in the softmax: there is one
    matrix product, over as many images at a time as a few million products allow.
    """
    batch, dim, positions = features.shape
    bags = features.new_empty(batch, len(words))
    nearest = features.new_zeros(())
    lengths = words.square().sum(1)
    step = max(1, CHUNK // (positions * len(words)))
    for start in range(0, batch, step):
        u = features[start : start + step].mT.reshape(-1, dim)
        near = torch.addmm(lengths, u, words.mT, beta=-1.0, alpha=2.0)  # |u|^2 less the squared distance
        largest = near.amax(1)
        nearest = nearest + (u.square().sum(1) - largest).sum()
        near.sub_(largest[:, None]).mul_(sharpness).exp_()
        near.div_(near.sum(1, keepdim=True))
        bags[start : start + step] = near.view(-1, positions, len(words)).amax(1)
    return bags / bags.sum(1, keepdim=True), nearest / (batch * positions)


class BoWTargets(nn.Module):
    """Teacher feature maps `[batch, dim, height, width]` -> bags of words `[batch, num_words]` over a running vocabulary.

    The words are a queue: in training every image adds one local feature, the mean of a random 3 x 3 window inside the
    map, after the bags were made, and the oldest leave. Any batch size fits. The sharpness is `inv_delta / m` with m a
    running mean of the smallest squared distances (starting at 0.5, momentum 0.99) as it was before this batch.

    Over several processes the words and m are those of the whole batch, the same on all of them.

    Arguments:
        num_words: of the vocabulary.
        dim: channels of the maps.
        inv_delta: 15 for ResNet-50, 10 for ResNet-18.
        border: pixels of the map that are left out on every side.
        update: "local_average", or "none" for a vocabulary that stays as it is.
        momentum: of m.
        level: the layer's name, for messages.
        generator: for the first vocabulary, standard normal entries clamped at 0.
    """

    mean_distance: Tensor

    def __init__(
        self,
        num_words: int,
        dim: int,
        *,
        inv_delta: float = 15.0,
        border: int = 1,
        update: Literal["local_average", "none"] = "local_average",
        momentum: float = 0.99,
        level: str = "features",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_words < 2:
            raise ValueError(f"num_words: {num_words}; at least 2 are needed")
        if not inv_delta > 0 or border < 0 or not 0 <= momentum <= 1:
            raise ValueError(
                f"inv_delta, border, momentum: {inv_delta}, {border}, {momentum}; allowed: above 0, at least 0, 0 to 1"
            )
        if update not in ("local_average", "none"):
            raise ValueError(f"update: {update!r}; allowed: 'local_average', 'none'")
        self.inv_delta, self.border, self.update, self.momentum, self.level = inv_delta, border, update, momentum, level
        self.queue = FeatureQueue(num_words, dim, init="normal", generator=generator)
        self.register_buffer("mean_distance", torch.tensor(0.5))

    @property
    def words(self) -> Float[Tensor, "words dim"]:
        """The vocabulary as it is now, a copy, in places that words keep until they leave."""
        return self.queue.vectors.clone()

    @torch.no_grad()
    def forward(self, features: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch words"]:
        """The bags; in training mode the vocabulary and m move on afterwards.

        Raises:
            ValueError: a map of less than 3 x 3 pixels inside its border, more images than words in training, or
                features that are not finite (nothing has changed then).
        """
        inside = self._inside(features)
        if self.training and len(features) * world_size() > self.queue.size and self.update != "none":
            raise ValueError(
                f"num_words: {self.queue.size} for batches of {len(features)}; give more words than images"
            )
        with torch.autocast(features.device.type, enabled=False):
            inside = inside.to(self.queue.vectors.dtype)
            sharpness = self.inv_delta / self.mean_distance
            bags, nearest = bag_of_words(inside.flatten(2), self.queue.vectors, sharpness)
            if self.training:
                self._learn(inside, nearest)
        return bags

    def _inside(self, features: Tensor) -> Tensor:
        border = self.border
        inside = features[..., border : features.shape[-2] - border, border : features.shape[-1] - border]
        if min(inside.shape[-2:]) < 3 or min(features.shape[-2:]) < 3 + 2 * border:
            raise ValueError(
                f"{self.level}: a map of {features.shape[-2]} x {features.shape[-1]} with border={border} leaves less "
                "than the 3 x 3 that a word is made of; use larger images, an earlier layer or border=0"
            )
        if not bool(torch.isfinite(features).all()):
            raise ValueError(
                f"{self.level}: the teacher's features hold NaN or infinity; the vocabulary keeps its words"
            )
        return inside

    def _learn(self, inside: Tensor, nearest: Tensor) -> None:
        averaged = F.avg_pool2d(inside, 3, stride=1).flatten(2)
        place = torch.randint(averaged.shape[2], (len(inside),), device=inside.device)
        new = averaged[torch.arange(len(inside), device=inside.device), :, place]
        if world_size() > 1:
            new = gather_batch(new, ReductionKind.GATHER_NEGATIVES)
            total = nearest * len(inside)
            dist.all_reduce(total)
            nearest = total / len(new)
        self.mean_distance.lerp_(nearest.to(self.mean_distance).clamp_min(1e-12), 1 - self.momentum)
        if self.update == "local_average":
            self.queue.push(new)

    def extra_repr(self) -> str:
        return f"inv_delta={self.inv_delta:g}, border={self.border}, update={self.update!r}, level={self.level!r}"


def perplexity(bags: Float[Tensor, "batch words"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """exp(entropy) of the bags, its mean over the images, and of their mean: how many words an image and a batch use."""

    def entropy(p: Tensor) -> Tensor:
        return torch.special.entr(p).sum(-1)

    return entropy(bags).exp().mean(), entropy(bags.mean(0)).exp()
