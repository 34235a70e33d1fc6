"""How much of a layer's variance each known feature explains: a warning for whoever reads variance as importance."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.features import LEARNED, FeatureVariance, readable, variance_explained
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.audit.verdict import judge
from erlangen.stats import clopper_pearson, subsample_ci

ROWS = 3000
MOST_LEVELS, PARTS = 20, 8
CITATION = "Lampinen, Chan and Hermann 2024, arXiv:2405.05847"


@register(
    "feature_bias",
    summary="the share of a layer's variance that each known feature explains, beside how well it can be read",
    paper="arXiv:2405.05847",
)
class FeatureBias(Probe):
    """Variance explained by each feature, and how far that is from equal among features that are read equally well.

    Arguments:
        features: by name, one value for every sample of the audited data, in its order. Without them the class is
            compared with the simplest feature of an input, whether its mean is above the median. Of numbers with more
            than 20 different values the eighths are taken.
    """

    name = "feature_bias"

    def __init__(self, features: Mapping[str, Tensor] | None = None) -> None:
        self.features = {name: torch.as_tensor(value) for name, value in (features or {}).items()}

    def needs(self, ctx: Context) -> Needs:
        widest = max(ctx.dimensions.values(), default=0)
        rows = min(ctx.rows, ROWS)
        return Needs(8 * (rows * (5 * widest + 64) + 2 * widest**2), cheaper="layers=... with narrower layers")

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected
        layers = held.layers
        if self.features:
            longest = int(held.index.max())
            for name, value in self.features.items():
                if len(value) <= longest:
                    raise NotApplicable(
                        f"feature {name!r} has {len(value)} values; sample {longest} of the data needs one"
                    )
            rows = torch.arange(len(held))[:ROWS]
            features = {name: value[held.index[rows]] for name, value in self.features.items()}
        else:
            rows, features = self._simplest(ctx)
        cut = [name for name, value in features.items() if _is_measured(value)]
        features = {name: _parts(value) if name in cut else value for name, value in features.items()}
        features = {name: value for name, value in features.items() if len(value.unique()) > 1}
        if not features:
            raise NotApplicable("no feature that varies: give features={name: values}, or labelled samples")
        found: list[Finding] = []
        for layer, values in layers.items():
            if not is_constant(values[rows]):
                found += self._layer(ctx, layer, values[rows], features)
        if not found:
            raise NotApplicable("undefined: no layer varies with the input")
        told = {
            f"feature_bias.variance.{name}": (f"{name} was cut into {PARTS} parts of as many rows",) for name in cut
        }
        return [replace(f, warnings=(*f.warnings, *told.get(f.metric, ()))) for f in found]

    def _simplest(self, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        held = ctx.collected
        known = held.label[held.input_rows] >= 0
        rows = held.input_rows[known]
        if len(rows) < 20:
            raise NotApplicable("no features were given, and fewer than 20 labelled samples are there to compare with")
        mean = held.inputs[known].flatten(1).mean(1)
        features = {"class": held.label[rows]}
        features["mean of the input above its median"] = (mean > mean.median()).long()
        return rows, features

    def _layer(self, ctx: Context, layer: str, h: Tensor, features: dict[str, Tensor]) -> list[Finding]:
        result = variance_explained(h, features)
        right = {name: readable(h, value) for name, value in features.items()}
        low_high = self._intervals(ctx, h, features)
        found = [self._finding(ctx, layer, name, result, right[name], low_high[name], len(h)) for name in features]
        learned = [name for name in features if float(right[name].double().mean()) >= LEARNED]
        figure = self._figure(layer, result, right, low_high) if layer == EMBEDDING else None
        if len(learned) >= 2 or layer == EMBEDDING:  # where there is nothing to compare, saying so once is enough
            found.append(self._bias(ctx, layer, h, features, learned, figure))
        return found

    def _intervals(self, ctx: Context, h: Tensor, features: dict[str, Tensor]) -> dict[str, tuple[float, float]]:
        intervals = {}
        for name, value in features.items():

            def share(keep: Tensor, name: str = name, value: Tensor = value) -> float:
                if len(value[keep].unique()) < 2:
                    return 0.0
                return variance_explained(h[keep], {name: value[keep]}, partial=False).explained[name]

            intervals[name] = subsample_ci(share, len(h), level=ctx.level, resamples=20, generator=ctx.generator())
        return intervals

    def _finding(
        self,
        ctx: Context,
        layer: str,
        name: str,
        result: FeatureVariance,
        right: Tensor,
        ends: tuple[float, float],
        n: int,
    ) -> Finding:
        read = float(right.double().mean())
        other = [pair for pair in result.aliased if name in pair]
        value = result.explained[name]
        told = f"{name} explains {100 * max(value, 0.0):.0f} % of the variance and is read with {100 * read:.0f} % accuracy."
        if other:
            told = (
                f"{name} cannot be told from {next(o for o in other[0] if o != name)}: only what they explain together."
            )
            value, ends = result.joint, (float("nan"), float("nan"))
        finding = Finding(
            "feature_bias",
            f"feature_bias.variance.{name}",
            value,
            layer=layer,
            ci=Interval(*ends, ctx.level, "subsample", n) if not other else None,
            reference=Reference(
                0.0, kind="null", source="a feature unrelated to the layer, after correction for chance"
            ),
            meaning=told,
            assumptions=("variance is not importance: features that are learned equally well may differ in it",),
            citation=CITATION,
            details={
                "raw": result.raw[name],
                "partial": result.partial.get(name),
                "joint": result.joint,
                "units": result.units[name],
                "read": read,
            },
        )
        judged = finding if other else judge(finding, 0.0, good="above", because="a feature unrelated to the layer")
        if judged.verdict != "pass":  # to leave a feature out is no fault
            return replace(finding, rule="info: no more than an unrelated feature would explain, which is no fault")
        return judged

    def _bias(
        self,
        ctx: Context,
        layer: str,
        h: Tensor,
        features: dict[str, Tensor],
        learned: list[str],
        figure: FigureSpec | None,
    ) -> Finding:
        empty = Finding(
            "feature_bias", "feature_bias.ratio", float("nan"), layer=layer, figure=figure, citation=CITATION
        )
        if len(learned) < 2:
            reason = (
                f"Not comparable: {len(learned)} of {len(features)} features can be read with {LEARNED:.0%} accuracy."
            )
            return replace(
                empty, verdict="not_applicable", meaning=reason, rule="features are compared where both are read"
            )

        def ratio(keep: Tensor) -> float:
            shares = variance_explained(h[keep], {k: features[k][keep] for k in learned}, partial=False).explained
            largest, least = max(shares.values()), min(shares.values())
            return largest / max(least, 1e-3)

        whole = variance_explained(h, {k: features[k] for k in learned}, partial=False).explained
        if any(value != value for value in whole.values()):
            reason = "Not comparable: some of the features are functions of each other."
            return replace(empty, verdict="not_applicable", meaning=reason)
        value = ratio(torch.arange(len(h)))
        low, high = subsample_ci(ratio, len(h), level=ctx.level, resamples=20, generator=ctx.generator())
        most, least = max(whole, key=lambda k: whole[k]), min(whole, key=lambda k: whole[k])
        return replace(
            empty,
            value=value,
            ci=Interval(low, high, ctx.level, "subsample", len(h)),
            reference=Reference(
                1.0, kind="theory", source="features that are computed equally well, represented equally"
            ),
            direction="closer",
            meaning=f"{most} explains {value:.1f} times the variance that {least} does, though both can be read: "
            "similarity measures and principal components see mostly the first.",
            rule="info: a warning to whoever compares variances, not a fault of the model",
        )

    def _figure(
        self, layer: str, result: FeatureVariance, right: dict[str, Tensor], ends: dict[str, tuple[float, float]]
    ) -> FigureSpec:
        names = list(result.raw)
        read = {name: clopper_pearson(int(r.sum()), len(r)) for name, r in right.items()}
        series = [
            {
                "name": "share of variance",
                "x": names,
                "y": [result.explained[k] for k in names],
                "low": [ends[k][0] for k in names],
                "high": [ends[k][1] for k in names],
            },
            {
                "name": "accuracy of reading it",
                "x": names,
                "y": [float(right[k].double().mean()) for k in names],
                "low": [read[k][0] for k in names],
                "high": [read[k][1] for k in names],
            },
        ]
        return FigureSpec(
            "bars", f"What is represented in the {layer}, and what can be read", "feature", "share", series
        )


def _is_measured(value: Tensor) -> bool:
    return value.is_floating_point() and len(value.unique()) > MOST_LEVELS


def _parts(value: Tensor) -> Tensor:
    """The numbers as levels 0 .. 7 of as many rows each."""
    edges = torch.quantile(value.double(), torch.arange(1, PARTS, dtype=torch.float64) / PARTS)
    return torch.bucketize(value.double(), edges)
