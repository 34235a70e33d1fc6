"""Does the model know held-out samples as well as those it was fitted on?"""

import dataclasses
import math

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
from erlangen.stats.resample import normal_quantile

LARGE_GAP = 0.1
ROWS = 1024


@register("generalization", summary="accuracy on held-out samples beside that on the samples it was fitted on")
class Generalization(Probe):
    """The accuracy on the samples of the fit minus that on held-out ones.

    Answers are the classifier's; without one, the model's own if it puts out one number a class and names the classes
    of its training samples better than chance; else the vote of the 20 nearest training embeddings, a training sample
    itself left out. Interval: Newcombe's score interval for the difference of two proportions (1998, method 10).
    """

    name = "generalization"

    def needs(self, ctx: Context) -> Needs:
        return Needs((1 << 26) + 8 * 2 * ROWS * sum(ctx.dimensions.values()), labels=True, training=True)

    def finish(self, ctx: Context) -> list[Finding]:
        if ctx.training is None:
            raise NotApplicable(
                "which samples the model was fitted on is not known: give them as training=(x, labels), or a data set "
                "with a train and a test part"
            )
        known = ctx.training[1] >= 0
        seen, seen_label = ctx.training_rows[EMBEDDING][known], ctx.training[1][known]
        rows = ctx.collected.labelled
        new, new_label = ctx.collected.embedding[rows], ctx.collected.label[rows]
        if len(seen_label) < 20 or len(new_label) < 20 or len(new_label.unique()) < 2:
            raise NotApplicable("needs at least 20 labelled samples of the fit and 20 held-out ones of two classes")
        answers, how = _answers(ctx, seen, seen_label, new)
        right_seen, right_new = answers[0] == seen_label, answers[1] == new_label
        before, after = _share(right_seen), _share(right_new)
        gap = before - after
        low, high = newcombe(right_seen, right_new, level=ctx.level)
        ends = [clopper_pearson(int(r.sum()), len(r), level=ctx.level) for r in (right_seen, right_new)]
        finding = Finding(
            self.name,
            "generalization.gap",
            gap,
            layer=EMBEDDING,
            ci=Interval(low, high, ctx.level, "newcombe", len(right_new)),
            reference=Reference(0.0, kind="theory", source="a model that knows nothing of its samples in particular"),
            meaning=f"{how} names the class of {percent(before)} of the samples it was fitted on and of {percent(after)} "
            "of held-out ones.",
            assumptions=("the samples given as training are those of the fit, the audited ones were held out",),
            figure=FigureSpec(
                "bars",
                "Fitted and held out",
                "",
                "accuracy",
                [
                    {
                        "name": "accuracy",
                        "x": ["samples of the fit", "held-out samples"],
                        "y": [before, after],
                        "low": [e[0] for e in ends],
                        "high": [e[1] for e in ends],
                    }
                ],
            ),
            citation="Newcombe 1998, Statistics in Medicine 17, 873-890",
            details={"fitted": before, "held_out": after, "n_fitted": len(right_seen), "how": how},
        )
        largest = int(torch.bincount(new_label).max())
        chance = clopper_pearson(largest, len(new_label), level=ctx.level)[1]
        if max(low for low, _ in ends) <= chance:
            rule = "info: neither is named better than by always answering the largest class"
            return [dataclasses.replace(finding, rule=rule)]
        because = f"a gap of {percent(LARGE_GAP)}: a convention, no theory sets it"
        return [judge(finding, LARGE_GAP, good="below", because=because)]


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _answers(ctx: Context, seen: Tensor, seen_label: Tensor, new: Tensor) -> tuple[tuple[Tensor, Tensor], str]:
    by_classifier = ctx.classify(seen), ctx.classify(new)
    if by_classifier[0] is not None and by_classifier[1] is not None:
        return (by_classifier[0], by_classifier[1]), "The classifier"
    if seen.shape[1] == ctx.num_classes:
        own = seen.argmax(1)
        largest = float(torch.bincount(seen_label).max()) / len(seen_label)
        if clopper_pearson(int((own == seen_label).sum()), len(own), level=0.999)[0] > largest:
            return (own, new.argmax(1)), "The model"
    own_rows = torch.arange(len(seen))
    votes = knn_classify(seen, seen, seen_label, ctx.num_classes, exclude=own_rows)
    return (votes, knn_classify(new, seen, seen_label, ctx.num_classes)), "The vote of the nearest samples of the fit"


def newcombe(first: Tensor, second: Tensor, *, level: float) -> tuple[float, float]:
    """The score interval of the difference of two independent shares (Newcombe 1998, method 10)."""
    z = normal_quantile(0.5 + level / 2)
    (p, a, b), (q, c, d) = (_wilson(r, z) for r in (first, second))
    low = p - q - math.sqrt((p - a) ** 2 + (d - q) ** 2)
    high = p - q + math.sqrt((b - p) ** 2 + (q - c) ** 2)
    return low, high


def _wilson(right: Tensor, z: float) -> tuple[float, float, float]:
    n, p = len(right), _share(right)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, centre - half, centre + half
