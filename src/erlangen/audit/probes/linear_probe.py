"""What a linear classifier can read from the embedding and from every layer, with a shuffled-label control."""

import math

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.knn import short
from erlangen.audit.verdict import judge
from erlangen.audit.words import percent
from erlangen.stats import clopper_pearson
from erlangen.stats.linear_probe import fit_logistic, fit_ridge_classes

FOLDS = 5
MOST_TRAINING_ROWS = 4000


def folds(n: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """(train, test) rows: five folds of a small sample, one half against the other of a large one."""
    order = torch.randperm(n, generator=generator)
    if n > 2000:
        return [(order[: min(n // 2, MOST_TRAINING_ROWS)], order[n // 2 :])]
    return [(order[torch.arange(n) % FOLDS != k], order[torch.arange(n) % FOLDS == k]) for k in range(FOLDS)]


@register("linear_probe", summary="accuracy of a linear classifier on each layer, with a shuffled-label control")
class LinearProbeAccuracy(Probe):
    """Held-out accuracy of multinomial logistic regression on the embedding, and of ridge regression on every layer.

    The control fits the same classifier to shuffled labels; what is above it is in the representation, not in the
    capacity of the classifier (Hewitt and Liang, 2019, arXiv:1909.03368).
    """

    name = "linear_probe"

    def needs(self, ctx: Context) -> Needs:
        return Needs(
            8 * 6 * min(ctx.rows, MOST_TRAINING_ROWS) * max(ctx.dimensions.values(), default=0), labels=True, twin=True
        )

    def finish(self, ctx: Context) -> list[Finding]:
        if not ctx.collected.rows:
            raise NotApplicable("there is no model, so there is nothing to read classes from")
        rows = ctx.collected.labelled
        label = ctx.collected.label[rows]
        if len(rows) < 20 or len(label.unique()) < 2:
            raise NotApplicable("needs at least 20 labelled samples of at least two classes")
        parts = folds(len(rows), ctx.generator())
        shuffled = label[torch.randperm(len(label), generator=ctx.generator())]
        findings = []
        for layer, values in ctx.collected.rows.items():
            x = values[rows]
            kind = "logistic" if layer == EMBEDDING else "ridge"
            right = self._right(x, label, label, parts, ctx.num_classes, kind)
            control = self._right(x, shuffled, label, parts, ctx.num_classes, kind)
            findings.append(self._finding(ctx, layer, right, control, kind, self._untrained(ctx, layer)))
        return findings

    def _untrained(self, ctx: Context, layer: str) -> float:
        """The accuracy on the same layer of the reference model; NaN where there is none."""
        x, places = ctx.collected.twin.get(layer), ctx.collected.twin_rows
        if x is None or places is None:
            return math.nan
        label = ctx.collected.label[places]
        x, label = x[label >= 0], label[label >= 0]
        if len(label) < 20 or len(label.unique()) < 2:
            return math.nan
        parts = folds(len(label), ctx.generator())
        return float(self._right(x, label, label, parts[:2], ctx.num_classes, "ridge").double().mean())

    def _right(
        self, x: Tensor, taught: Tensor, true: Tensor, parts: list[tuple[Tensor, Tensor]], classes: int, kind: str
    ) -> Tensor:
        right = []
        for train, test in parts:
            if kind == "logistic":
                probe = fit_logistic(x[train], taught[train], classes, dtype=torch.float32, max_iterations=100)
            else:
                probe = fit_ridge_classes(x[train], taught[train], classes, penalty=1.0)
            right.append(probe.predict(x[test]) == true[test])
        return torch.cat(right)

    def _finding(
        self, ctx: Context, layer: str, right: Tensor, control: Tensor, kind: str, untrained: float
    ) -> Finding:
        n = len(right)
        low, high = clopper_pearson(int(right.sum()), n, level=ctx.level)
        null_low, null_high = clopper_pearson(int(control.sum()), n, level=ctx.level)
        value, null = float(right.double().mean()), float(control.double().mean())
        finding = Finding(
            "linear_probe",
            "linear_probe.accuracy",
            value,
            layer=layer,
            ci=Interval(low, high, ctx.level, "clopper-pearson", n),
            reference=Reference(null, null_low, null_high, "null", "the same classifier taught shuffled labels"),
            meaning=f"A linear classifier reads the class with {percent(value)} accuracy ({percent(null)} if taught "
            "shuffled labels).",
            assumptions=(f"{kind} regression on standardised features, tested on rows it did not see",),
            figure=FigureSpec(
                "bars",
                f"Linear probe on {layer}",
                "",
                "accuracy",
                [
                    {
                        "name": "accuracy",
                        "x": ["true labels", "shuffled labels"],
                        "y": [value, null],
                        "low": [low, null_low],
                        "high": [high, null_high],
                    }
                ],
            )
            if layer == EMBEDDING
            else None,
            citation="Hewitt and Liang 2019, arXiv:1909.03368",
            details={"control": null, "selectivity": value - null, "twin": untrained, "per_sample": short(right)},
        )
        return judge(finding, null_high, good="above", because="the shuffled-label control, upper end")
