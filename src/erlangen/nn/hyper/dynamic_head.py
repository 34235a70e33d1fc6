"""A classifier whose classes are given at run time as vectors: the weights of each are made from its vector."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class DynamicHead(nn.Module):
    """`logits = kappa x^T G(V)`, the weight of word v being `G(v) = W2 ReLU(BN(W1 v / |v|))` at unit length.

    The words may change from call to call: nothing belongs to a place in the vocabulary, so that permuting the words
    permutes the logits (batch norm is over the words). With `x` as it comes, not normalised.

    Source: S. Gidaris, A. Bursuc, G. Puy, N. Komodakis, M. Cord, P. Perez, OBoW: Online Bag-of-Visual-Words Generation
    for Self-Supervised Learning, 2021, arXiv:2012.11552; kappa = 8 for ResNet-50 and 5 for ResNet-18, not learned.

    Arguments:
        in_features: of x.
        word_dim: numbers in a word.
        kappa: the inverse temperature.
        hidden_dim: of the generator; twice `in_features` if left out.
    """

    def __init__(self, in_features: int, word_dim: int, *, kappa: float = 8.0, hidden_dim: int | None = None) -> None:
        super().__init__()
        hidden = 2 * in_features if hidden_dim is None else hidden_dim
        for name, value in (("in_features", in_features), ("word_dim", word_dim), ("hidden_dim", hidden)):
            if value < 1:
                raise ValueError(f"{name}: got {value}; at least 1 is needed")
        if not 0 < kappa < float("inf"):
            raise ValueError(f"kappa: got {kappa}; it must be positive")
        self.in_features, self.word_dim, self.kappa = in_features, word_dim, kappa
        self.generator = nn.Sequential(
            nn.Linear(word_dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, in_features)
        )

    def weights(self, words: Float[Tensor, "words word_dim"]) -> Float[Tensor, "words in_features"]:
        """The unit weight vector of each word.

        Raises:
            ValueError: words of another length, or in training fewer than two.
        """
        if words.ndim != 2 or words.shape[1] != self.word_dim:
            raise ValueError(f"words: shape {list(words.shape)}; expected [words, {self.word_dim}]")
        if self.training and len(words) < 2:
            raise ValueError(f"words: {len(words)}; batch norm over the words needs at least 2 in training")
        return F.normalize(self.generator(F.normalize(words, dim=1)), dim=1)

    def forward(
        self, x: Float[Tensor, "batch in_features"], words: Float[Tensor, "words word_dim"]
    ) -> Float[Tensor, "batch words"]:
        """`x: [batch, in_features]`, `words: [words, word_dim]` -> logits `[batch, words]`."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x: {x.shape[-1]} features, {self.in_features} are expected")
        return self.kappa * (x @ self.weights(words).mT)

    def extra_repr(self) -> str:
        return f"{self.in_features}, word_dim={self.word_dim}, kappa={self.kappa:g}"
