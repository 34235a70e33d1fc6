"""Learning binary codes whose Hamming distance ranks by class."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.hash_head import HashHead
from erlangen.objectives.distributed import ReductionKind, gather_batch
from erlangen.objectives.objective import Objective
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.terms import LossTerms
from erlangen.objectives.vicreg_terms import covariance_loss, variance_loss


@at_least_single
def code_distance(a: Float[Tensor, "n bits"], b: Float[Tensor, "m bits"]) -> Float[Tensor, "n m"]:
    """`|a - b|^2 / (4 bits)`: for codes of -1 and 1 the share of bits in which they differ."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return squares.clamp(min=0) / (4 * a.shape[1])


@at_least_single
def triplet_ranking(
    anchor: Float[Tensor, "n bits"],
    other: Float[Tensor, "m bits"],
    anchor_label: Int[Tensor, " n"],
    other_label: Int[Tensor, " m"],
    *,
    margin: float = 0.25,
    same: bool = False,
) -> Float[Tensor, ""]:
    """Mean over all triplets of `max(0, margin + D(anchor, positive) - D(anchor, negative))`.

    D is the share of differing bits, so that the margin does not depend on their number. Samples with label -1 are in no
    triplet; without any triplet the loss is 0. It takes `n m^2` numbers of memory.

    Arguments:
        same: anchors and others are one batch, in which no sample is its own positive.
    """
    distance = code_distance(anchor, other)
    positive = (anchor_label[:, None] == other_label) & (anchor_label >= 0)[:, None]
    negative = (anchor_label[:, None] != other_label) & (anchor_label >= 0)[:, None] & (other_label >= 0)
    if same:
        positive = positive & ~torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
    excess = (margin + distance[:, :, None] - distance[:, None, :]).clamp(min=0)
    wanted = positive[:, :, None] & negative[:, None, :]
    return (excess * wanted).sum() / wanted.sum().clamp(min=1)


@at_least_single
def quantization_loss(h: Float[Tensor, "batch bits"]) -> Float[Tensor, ""]:
    """Mean of `(|h| - 1)^2`: what rounding to -1 and 1 would change."""
    return (h.abs() - 1).square().mean()


@objectives.register(
    "deep_hash",
    summary="binary codes: classes ranked by Hamming distance, every bit decided, balanced and of its own",
    paper="arXiv:1804.08275",
)
class DeepHash(Objective):
    """Triplet ranking of relaxed codes, plus terms that make every bit decided, balanced and unlike the others.

    total = triplet + quantization mean (|h| - 1)^2 + balance (variance + covariance), the last two being VICReg's terms
    on h. After Z. Qiu, Y. Pan, T. Yao, T. Mei, "Deep Semantic Hashing with Generative Adversarial Networks", 2017,
    arXiv:1804.08275, with two differences: distances are divided by the number of bits, and the synthetic samples of
    the triplets (real, synthetic of its class, synthetic of another) are mixtures of two real samples of one class
    instead of a generator's images. Samples without a label (-1) count in all terms but the triplets.

    Arguments:
        bits: of the code.
        margin: by how large a share of the bits a negative must be farther than a positive.
        quantization, balance: weights.
        mixing: whether triplets with synthetic samples are added; they cost another pass of the encoder in training.
    """

    needs_labels: ClassVar[bool] = True
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GATHER_NEGATIVES
    healthy: ClassVar[dict[str, str]] = {
        "triplet": "starts near the margin and falls towards 0; staying at the margin means equal codes",
        "quantization": "falls towards 0, and stays above it while bits are undecided",
        "variance": "falls; near 1 all samples have one code",
        "covariance": "falls; a large one means that bits repeat each other",
        "mixed_triplet": "as triplet, for mixtures of two samples of a class",
    }

    def __init__(
        self,
        bits: int = 32,
        margin: float = 0.25,
        *,
        quantization: float | int = 0.1,
        balance: float | int = 0.1,
        mixing: bool = False,
    ) -> None:
        super().__init__()
        if bits < 1:
            raise ValueError(f"bits: {bits}; at least 1 is needed")
        if not 0 < margin <= 1:
            raise ValueError(f"margin: {margin}; a share of the bits, above 0 and at most 1")
        if not (quantization >= 0 and balance >= 0):
            raise ValueError(f"quantization, balance: {quantization}, {balance}; weights are at least 0")
        self.bits, self.margin, self.mixing = bits, margin, mixing
        self.quantization, self.balance = quantization, balance
        self.head: HashHead | None = None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the head. Raises ValueError without two classes: there is no negative."""
        if num_classes is None or num_classes < 2:
            raise ValueError(f"objective: 'deep_hash' needs two classes or more and the data have {num_classes}")
        if not self._same_sizes(embedding_dim=embedding_dim, num_classes=num_classes):
            self.head = HashHead(embedding_dim, self.bits)

    def _ready(self) -> HashHead:
        if self.head is None:
            raise RuntimeError("objective: call setup(embedding_dim=..., num_classes=...) before the first batch")
        return self.head

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.label is None:
            raise ValueError("label: the batch has none; give class numbers, -1 where a sample has none")
        head, kind = self._ready(), self.distributed_kind
        h, label = gather_batch(head(encoder(batch.x)), kind), gather_batch(batch.label, kind)
        terms: dict[str, Tensor | tuple[Tensor, float | int]] = {
            "triplet": triplet_ranking(h, h, label, label, margin=self.margin, same=True),
            "quantization": (quantization_loss(h), self.quantization),
            "variance": (variance_loss(h), self.balance),
            "covariance": (covariance_loss(h), self.balance),
        }
        if self.mixing and self.training:
            mixed = gather_batch(head(encoder(mix_within_classes(batch.x, batch.label))), kind)
            terms["mixed_triplet"] = triplet_ranking(h, mixed, label, label, margin=self.margin)
        return LossTerms(terms)

    def codes(self, embedding: Tensor) -> Tensor:
        """The bits of embeddings, `[batch, bits]`, for a `BinaryIndex`."""
        return self._ready().codes(embedding)

    @torch.no_grad()
    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """How far bits are from balance (0 to 1), and how far numbers are from -1 or 1."""
        h = self._ready()(encoder(batch.x))
        return {"bit_imbalance": h.sign().mean(0).abs().mean(), "undecided": (1 - h.abs()).mean()}


def mix_within_classes(
    x: Float[Tensor, "batch ..."], label: Int[Tensor, " batch"], generator: torch.Generator | None = None
) -> Float[Tensor, "batch ..."]:
    """Each sample mixed with a random one of its class, `t x_i + (1 - t) x_j` with t uniform in 0.5 .. 1.

    A sample without a label (-1), or alone in its class, is mixed with itself.
    """
    weight = torch.rand(len(x), len(x), generator=generator).to(x.device)
    allowed = (label[:, None] == label) & (label >= 0)[:, None]
    own = torch.eye(len(x), dtype=torch.bool, device=x.device)
    partner = torch.where(allowed & ~own, weight, -1.0).masked_fill(own, -0.5).argmax(1)
    share = (0.5 + 0.5 * torch.rand(len(x), generator=generator)).to(x).view(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * x[partner]
