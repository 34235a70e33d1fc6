"""Guidance: layers of a network that is hard to train follow those of a frozen one, trained or not."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.nn.images import PlainCNN
from erlangen.nn.mlp import MLP
from erlangen.nn.tap import Tap, resolve_layers
from erlangen.objectives import functional
from erlangen.objectives.distributed import ReductionKind, gather_batch, local_weight
from erlangen.objectives.frozen_encoder import described, freeze, frozen
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.supervised import CrossEntropy
from erlangen.objectives.terms import LossTerms
from erlangen.stats.similarity import unbiased_hsic

_log = logging.getLogger(__name__)


def centred_gram(x: Float[Tensor, "samples *features"]) -> Float[Tensor, "samples samples"] | None:
    """`X X^T` of the centred rows in float64, scaled to trace 1, or None where the rows do not differ.

    Rows count as equal when what differs is rounding: less than 8 epsilon of their size.
    """
    flat = x.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    centred = flat - flat.mean(0)
    size = centred.detach().norm()
    if not bool(size > 8 * torch.finfo(flat.dtype).eps * flat.detach().norm()):
        return None
    scaled = centred / size  # the similarity is free of scale, and squares of small activations would vanish
    return (scaled @ scaled.T).double()


@at_least_single
def alignment(
    x: Float[Tensor, "samples *features1"], y: Float[Tensor, "samples *features2"], *, unbiased: bool = True
) -> Float[Tensor, ""]:
    """Linear CKA of two representations of a batch as a loss may use it: it differentiates and has no NaN.

    `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))` of the n x n matrices `K = X X^T`, `L = Y Y^T` of the centred rows; no
    p x p matrix is made. The biased form is near 1 for unrelated wide features of few samples (0.985 at n = 32,
    p = 2048), so that the unbiased one is the default. A representation that is the same for all samples has
    similarity 0, without a gradient.

    Raises:
        ValueError: batches of different size, or fewer than 4 samples (2 for the biased form).
    """
    least = 4 if unbiased else 2
    if len(x) != len(y):
        raise ValueError(f"y: {len(y)} samples for {len(x)} in x; both must represent the same batch")
    if len(x) < least:
        raise ValueError(f"x: {len(x)} samples; at least {least} are needed")
    if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
        return (x.sum() + y.sum()).double() * torch.nan
    k, l = centred_gram(x), centred_gram(y)
    if k is None or l is None:
        return torch.zeros((), dtype=torch.float64, device=x.device)
    if unbiased:
        kl, kk, ll = unbiased_hsic(k, l), unbiased_hsic(k, k), unbiased_hsic(l, l)
        if not bool((kk > 1e-14) & (ll > 1e-14)):
            return torch.zeros((), dtype=torch.float64, device=x.device)
    else:
        kl, kk, ll = (k * l).sum(), k.square().sum(), l.square().sum()
    return kl / (kk * ll).sqrt()


def even_match(target: Sequence[str], guide: Sequence[str]) -> list[tuple[str, str]]:
    """As many pairs as the shorter list has names, evenly spread over the longer one, last with last."""
    if not target or not guide:
        raise ValueError(f"layer_map: {len(target)} and {len(guide)} layers to match; both need at least one")
    count = min(len(target), len(guide))
    return [
        (target[round((i + 1) * len(target) / count) - 1], guide[round((i + 1) * len(guide) / count) - 1])
        for i in range(count)
    ]


def use_batch_statistics(module: nn.Module) -> nn.Module:
    """Let batch norms take the statistics of each batch: the running ones of an untrained network mean nothing."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None
    return module


@objectives.register(
    "guidance",
    summary="cross-entropy while the layers follow those of a frozen guide, untrained if need be",
    paper="arXiv:2410.20035",
)
class Guidance(CrossEntropy):
    """`cross-entropy + weight sum_l (1 - CKA(encoder_l, guide_l))` over matched layers, on the same batch.

    The guide lends its architecture's bias: also an untrained one helps. V. Subramaniam et al., "Training the
    Untrainable: Introducing Inductive Bias via Representational Alignment", 2024, arXiv:2410.20035. In evaluation the
    guide is not asked, and the loss is the cross-entropy alone.

    Over several processes the similarity is that of the whole batch, where the guide has no batch norm of its own.

    Arguments:
        layer_map: pairs (layer of the encoder, layer of the guide); `None` matches the blocks of both evenly.
        guide: a frozen module that takes the same raw samples (from a shell, the folder of a run); `None` is an
            untrained convolutional network for images and an untrained perceptron for vectors.
        weight: of the guidance.
        until_step: optimizer steps after which guidance ends; `None` goes on to the end.
        unbiased: whether the similarity is the unbiased CKA.
        features: the most activations of a layer that enter, drawn once; `None` takes all. The error of the similarity
            is of order 1 / sqrt(features).
        untrained: whether batch norms of a given guide take the statistics of the batch.

    Raises:
        ValueError: a layer that does not exist (the known ones are listed), or a weight below 0.
    """

    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GLOBAL_STATS
    healthy: ClassVar[dict[str, str]] = {
        "cross_entropy": "starts near log(classes) and falls towards 0",
        "misalignment": "starts near the number of matched layers and falls; staying there means that nothing follows",
    }

    def __init__(
        self,
        layer_map: Sequence[Sequence[str]] | None = None,
        *,
        guide: nn.Module | Mapping[str, Any] | None = None,
        weight: float | int = 1.0,
        until_step: int | None = None,
        unbiased: bool = True,
        features: int | None = 4096,
        untrained: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(label_smoothing)
        if not weight >= 0:
            raise ValueError(f"weight: {weight}; at least 0 is needed")
        for name, value in (("until_step", until_step), ("features", features)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value}; at least 1, or None")
        self.layer_map = None if layer_map is None else [(str(a), str(b)) for a, b in layer_map]
        self.weight, self.until_step, self.unbiased, self.features = weight, until_step, unbiased, features
        self.init_arguments["guide"] = None if guide is None else described(guide)
        self.guide = None if guide is None else frozen(guide)
        self.pairs: list[tuple[str, str]] = []
        self._told = False
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        if self.guide is not None:
            self._freeze(self.guide, untrained)

    steps: Tensor

    @staticmethod
    def _freeze(guide: nn.Module, untrained: bool) -> None:
        freeze(guide)
        if untrained:
            use_batch_statistics(guide)

    def train(self, mode: bool = True) -> "Guidance":
        """The guide stays in evaluation mode."""
        super().train(mode)
        if self.guide is not None:
            self.guide.eval()
        return self

    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        """Make the guide if none was given, and match the layers."""
        if self.guide is None:
            made = PlainCNN(16, in_channels=sample.shape[1]) if sample.ndim == 4 else MLP(in_features=sample[0].numel())
            self.guide = made.to(sample.device, sample.dtype)
            self._freeze(self.guide, untrained=True)
        if self.layer_map is None:
            self.pairs = even_match(resolve_layers(encoder), resolve_layers(self.guide))
            return
        known = dict(encoder.named_modules())
        prefix = "model." if self.layer_map[0][0] not in known and f"model.{self.layer_map[0][0]}" in known else ""
        self.pairs = [(prefix + a, b) for a, b in self.layer_map]
        for model, side in ((encoder, 0), (self.guide, 1)):
            for pair in self.pairs:
                resolve_layers(model, pair[side])

    def misalignment(self, theirs: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        """`1 - CKA` for each matched layer of the encoder, given its activations."""
        if self.guide is None or not self.pairs:
            raise RuntimeError("objective: call setup(...) and attach(...) before the first batch")
        with torch.no_grad(), Tap(self.guide, layers=[b for _, b in self.pairs], pool=None) as tap:
            self.guide(x)
        found = {}
        for mine, its in self.pairs:
            whole = [
                gather_batch(self._some(a.flatten(1)), self.distributed_kind)
                for a in (theirs[mine], tap.activations[its])
            ]
            similarity = alignment(whole[0], whole[1], unbiased=self.unbiased)
            if not self._told and not similarity.requires_grad and torch.is_grad_enabled():
                self._told = True
                _log.warning("layer %s or guide layer %s is the same for all samples: similarity 0", mine, its)
            found[mine] = 1 - similarity
        return found

    def _some(self, x: Tensor) -> Tensor:
        count = x.shape[1]
        if self.features is None or count <= self.features:
            return x
        generator = torch.Generator().manual_seed(count)
        return x[:, torch.randperm(count, generator=generator)[: self.features].to(x.device)]

    @property
    def guiding(self) -> bool:
        """Whether guidance is still on."""
        return self.until_step is None or int(self.steps) < self.until_step

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if not self.training or not self.guiding:
            return super().forward(encoder, batch)
        if batch.label is None:
            raise ValueError("label: the batch has none; cross-entropy needs labels")
        with Tap(encoder, layers=[a for a, _ in self.pairs], pool=None, detach=False) as tap:
            embedding = encoder(batch.x)
        own = functional.cross_entropy(self._logits(embedding), batch.label, label_smoothing=self.label_smoothing)
        errors = self.misalignment(tap.activations, batch.x)
        total = torch.stack(list(errors.values())).sum()
        total = total if embedding.dtype == torch.float64 else total.float()
        return LossTerms(
            {
                "cross_entropy": own["cross_entropy"] * local_weight(batch.x),
                "misalignment": (total, self.weight),
            }
        )

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The share of right answers, and the similarity of each matched layer where the batch is large enough."""
        found = super().metrics(encoder, batch)
        if len(batch) < 4 or not self.pairs:
            return found
        with Tap(encoder, layers=[a for a, _ in self.pairs], pool=None) as tap:
            encoder(batch.x)
        return found | {f"cka/{name}": 1 - e for name, e in self.misalignment(tap.activations, batch.x).items()}

    def after_step(self, encoder: nn.Module, *, step: int, total_steps: int) -> None:
        """Count the steps."""
        self.steps.fill_(step)
