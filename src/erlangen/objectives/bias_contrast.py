"""Debiasing: views of one sample with different biases agree, and all of them have its class."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.objectives import functional
from erlangen.objectives.distributed import ReductionKind, local_weight
from erlangen.objectives.ntxent import NTXent
from erlangen.objectives.supervised import CrossEntropy
from erlangen.objectives.terms import LossTerms


@objectives.register(
    "bias_contrast",
    summary="a sample and its view with another bias attract each other, and a classifier sees both",
    paper="arXiv:2112.01021",
)
class BiasContrast(CrossEntropy):
    """`ce_weight (CE(x) + CE(x2)) / 2 + NT-Xent(z, z2)` where x2 is x with another bias.

    What makes x2 is a view. Unless one is given, `fit` first learns a translator between the classes of the data, which
    moves the easy attribute that goes with a class (`train.BiasTranslator`); `data.biased_digits.Recolor` moves the bias
    of coloured digits exactly. Y. Jung, H. Shim, J. Yang, E. Yang, "Fighting Fire with Fire: Contrastive Debiasing
    without Bias-free Data via Generative Bias-transformation", 2023, arXiv:2112.01021.

    Arguments:
        temperature, width, project: of the contrast, as for `nt_xent`.
        ce_weight: of the classifier.
        contrast_weight: of the contrast.
    """

    views: ClassVar[Literal["single", "pair"]] = "pair"
    distributed_kind: ClassVar[ReductionKind] = ReductionKind.GATHER_NEGATIVES
    healthy: ClassVar[dict[str, str]] = {
        "cross_entropy": "starts near log(classes) and falls; at 0 at once it has found a shortcut",
        **NTXent.healthy,
    }

    def __init__(
        self,
        temperature: float = 0.5,
        ce_weight: float | int = 1.0,
        *,
        contrast_weight: float | int = 1.0,
        width: int = 128,
        project: bool = True,
    ) -> None:
        super().__init__()
        if not (ce_weight >= 0 and contrast_weight >= 0):
            raise ValueError(f"ce_weight, contrast_weight: {ce_weight}, {contrast_weight}; weights are at least 0")
        self.ce_weight, self.contrast_weight = ce_weight, contrast_weight
        self.contrast = NTXent(temperature, width=width, project=project)

    def suited_views(self, dataset: Any) -> Any:
        """Translations to other classes, by a translator that is learned from the data first."""
        return "other_bias" if dataset.kind == "image" else None

    def setup(self, *, embedding_dim: int, num_classes: int | None = None) -> None:
        """Create the classifier and the projector."""
        super().setup(embedding_dim=embedding_dim, num_classes=num_classes)
        self.contrast.setup(embedding_dim=embedding_dim)

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        if batch.x2 is None or batch.label is None:
            raise ValueError("batch: it has no second view x2 or no labels; bias_contrast needs both")
        if self.contrast.projector is None:
            raise RuntimeError("objective: call setup(...) before the first batch")
        z, z2 = encoder(batch.x), encoder(batch.x2)
        both = functional.cross_entropy(
            self._logits(torch.cat([z, z2])), batch.label.repeat(2), label_smoothing=self.label_smoothing
        )
        contrast = self.contrast.loss(self.contrast.projector(z), self.contrast.projector(z2))
        own = LossTerms({"cross_entropy": (both["cross_entropy"] * local_weight(batch.x), self.ce_weight)})
        return own + contrast * self.contrast_weight

    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The share of right answers, and the cosine of partners and of strangers."""
        return {**super().metrics(encoder, batch), **self.contrast.metrics(encoder, batch)}

    def alarm(self, values: Mapping[str, float]) -> str | None:
        """The contrast's own sign of collapse."""
        return self.contrast.alarm(values)
