"""Whether neighbours in the embedding share a class."""

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.verdict import judge
from erlangen.audit.words import percent
from erlangen.stats import clopper_pearson, knn_classify

MOST_KEPT = 2000


def short(right: Tensor) -> list[float]:
    """Right or wrong for each sample, for comparisons; nothing where they would weigh the report down."""
    return right.double().tolist() if len(right) <= MOST_KEPT else []


def _by_class(ctx: Context, label: Tensor, right: Tensor, chance: float) -> FigureSpec:
    """The accuracy of each class, worst first, of at most 20 classes."""
    counts = torch.bincount(label, minlength=ctx.num_classes)
    share = torch.bincount(label, weights=right.double(), minlength=ctx.num_classes) / counts
    order = [c for c in share.argsort().tolist() if counts[c]][:20]
    ends = [clopper_pearson(int(right[label == c].sum()), int(counts[c]), level=ctx.level) for c in order]
    names = [ctx.class_name(c) for c in order]
    bars = {"name": "named by neighbours", "x": names, "y": [float(share[c]) for c in order]}
    bars |= {"low": [e[0] for e in ends], "high": [e[1] for e in ends]}
    title = "Share of each class that its nearest neighbours name"
    return FigureSpec("bars", title, "class", "accuracy", [bars], [{"name": "largest class", "value": chance}])


@register("knn", summary="leave-one-out accuracy of the nearest neighbours of an embedding")
class NearestNeighbours(Probe):
    """Leave-one-out accuracy of 20 cosine neighbours, against the share of the largest class."""

    name = "knn"

    def __init__(self, k: int = 20) -> None:
        self.k = k

    def needs(self, ctx: Context) -> Needs:
        return Needs((1 << 26) + 8 * ctx.rows * ctx.dimensions.get(EMBEDDING, 0), labels=True)

    def finish(self, ctx: Context) -> list[Finding]:
        rows = ctx.collected.labelled
        label = ctx.collected.label[rows]
        if len(rows) < 4 or len(label.unique()) < 2:
            raise NotApplicable("needs labelled samples of at least two classes")
        x = ctx.collected.embedding[rows]
        predicted = knn_classify(x, x, label, ctx.num_classes, k=self.k, exclude=torch.arange(len(x)))
        right = predicted == label
        low, high = clopper_pearson(int(right.sum()), len(right), level=ctx.level)
        counts = torch.bincount(label)
        chance = float(counts.max() / counts.sum())
        chance_low, chance_high = clopper_pearson(int(counts.max()), len(label), level=ctx.level)
        value = float(right.double().mean())
        finding = Finding(
            "knn",
            "knn.accuracy",
            value,
            layer=EMBEDDING,
            ci=Interval(low, high, ctx.level, "clopper-pearson", len(right)),
            reference=Reference(chance, chance_low, chance_high, "null", "always answering the largest class"),
            meaning=f"{self.k} nearest neighbours name the class of {percent(value)} of the inputs.",
            assumptions=("cosine neighbours among the audited samples, each without itself",),
            citation="Wu et al. 2018, arXiv:1805.01978",
            figure=_by_class(ctx, label, right, chance),
            details={"per_sample": short(right)},
        )
        return [judge(finding, chance_high, good="above", because="the share of the largest class, upper end")]
