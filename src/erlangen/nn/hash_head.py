"""The head that turns an embedding into bits."""

from jaxtyping import Bool, Float
from torch import Tensor, nn


class HashHead(nn.Module):
    """`h = tanh(W z + b)`, one number between -1 and 1 for each bit: `[batch, embedding_dim] -> [batch, bits]`.

    Source of the task: Z. Qiu, Y. Pan, T. Yao, T. Mei, "Deep Semantic Hashing with Generative Adversarial Networks",
    2017, arXiv:1804.08275, whose head ends in a sigmoid; tanh is the same map with codes around 0.

    Raises:
        ValueError: fewer than one bit.
    """

    def __init__(self, embedding_dim: int, bits: int) -> None:
        super().__init__()
        if bits < 1:
            raise ValueError(f"bits: {bits}; at least 1 is needed")
        self.embedding_dim, self.bits = embedding_dim, bits
        self.linear = nn.Linear(embedding_dim, bits)

    def forward(self, embedding: Float[Tensor, "batch embedding"]) -> Float[Tensor, "batch bits"]:
        return self.linear(embedding).tanh()

    def codes(self, embedding: Float[Tensor, "batch embedding"]) -> Bool[Tensor, "batch bits"]:
        """The bits themselves, `h > 0`: what `BinaryIndex` takes."""
        return self.linear(embedding) > 0
