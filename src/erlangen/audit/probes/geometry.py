"""Does a layer follow its inputs or its classes, and how freely can its classes be regrouped?"""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.geometry import (
    Generalization,
    balanced_dichotomies,
    ccgp,
    condition_means,
    input_alignment,
    parallelism_score,
    shattering_dimension,
    target_alignment,
)
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.audit.verdict import judge
from erlangen.stats import bootstrap_bca, subsample_ci

ALIGNED_ROWS = 600
ROWS = 3000
DICHOTOMIES = 40
MOST_CLASSES = 14  # so many, and the best pairing for parallelism is found by trying all
SHUFFLES = 39
CITATION = "Alleman, Lindsey and Fusi 2024, arXiv:2401.13558; Bernardi et al. 2020"


@register(
    "geometry",
    summary="alignment of layers with inputs and classes; parallelism, CCGP and shattering of dichotomies",
    paper="arXiv:2401.13558",
)
class Geometry(Probe):
    """Alignment with inputs and with classes, and what linear classifiers of groups of classes can do.

    Arguments:
        dichotomies: named groupings, 0 or 1 for every class, for example `{"parity": [0, 1, 0, 1, ...]}`, half of the
            classes each; without them 40 random ones.
    """

    name = "geometry"

    def __init__(self, dichotomies: Mapping[str, Sequence[int]] | None = None) -> None:
        self.dichotomies = dict(dichotomies or {})

    def needs(self, ctx: Context) -> Needs:
        widest = max(ctx.dimensions.values(), default=0)
        rows = min(ctx.rows, ROWS)
        aligned = 8 * (6 * ALIGNED_ROWS**2 + ALIGNED_ROWS * torch.Size(ctx.input_shape).numel())
        return Needs(
            8 * (6 * widest**2 + rows * (3 * widest + DICHOTOMIES)) + aligned,
            labels=True,
            cheaper="layers=... with narrower layers",
        )

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected
        layers = held.layers
        labelled = held.labelled
        label = held.label[labelled]
        classes = label.unique() if len(label) else label
        if len(classes) < 2 or len(label) < 20:
            raise NotApplicable("needs at least 20 labelled samples of at least two classes")
        known = (held.label[held.input_rows] >= 0).nonzero().squeeze(1)[:ALIGNED_ROWS]
        twin = ctx.run(held.inputs[known], twin=True) if ctx.twin is not None and len(known) >= 8 else {}
        found: list[Finding] = []
        for layer, rows in layers.items():
            if is_constant(rows):
                reason = f"undefined: all inputs give the same {layer}"
                found.append(
                    Finding(
                        "geometry",
                        "geometry.not_applicable",
                        float("nan"),
                        layer,
                        verdict="not_applicable",
                        meaning=reason,
                    )
                )
                continue
            if len(known) >= 8:
                near = held.input_rows[known]
                found += self._alignments(ctx, layer, rows[near], held.inputs[known], held.label[near], twin.get(layer))
            found += self._groupings(ctx, layer, rows[labelled][:ROWS], label[:ROWS])
        return found

    def _alignments(
        self, ctx: Context, layer: str, rows: Tensor, inputs: Tensor, label: Tensor, twin: Tensor | None
    ) -> list[Finding]:
        found = []
        classes = one_hot(label).double()
        whiches = [("target", classes, target_alignment, "classes"), ("input", inputs, input_alignment, "inputs")]
        for which, other, measure, word in whiches:
            if which == "target" and int((torch.bincount(label) >= 2).sum()) < 2:
                continue
            if is_constant(other.flatten(1)):
                continue

            def aligned(keep: Tensor, other: Tensor = other, z: Tensor = rows) -> float:
                if is_constant(z[keep]) or is_constant(other[keep].flatten(1)):
                    return 0.0  # of one class, or where all inputs give the same, there is nothing to be aligned
                return measure(z[keep], other[keep], debiased=True)  # noqa: B023

            everything = torch.arange(len(rows))
            value = aligned(everything)
            low, high = subsample_ci(aligned, len(rows), level=ctx.level, resamples=20, generator=ctx.generator())
            reference = None
            if twin is not None and not is_constant(twin):
                reference = Reference(aligned(everything, z=twin), kind=ctx.twin_kind, source=ctx.twin_name)
            compared = f" ({reference.value:.2f} for {ctx.twin_name})" if reference else ""
            finding = Finding(
                "geometry",
                f"geometry.{which}_alignment",
                value,
                layer=layer,
                ci=Interval(low, high, ctx.level, "subsample", len(rows)),
                reference=reference,
                meaning=f"Alignment with the {word} is {value:.2f}{compared}; 1: the same geometry, 0: unrelated.",
                rule="info: what a layer should follow depends on the task",
                citation=CITATION,
                details={"samples": len(rows)},
            )
            if which == "target":
                null = [
                    aligned(everything, other[torch.randperm(len(rows), generator=g)])
                    for g in [ctx.generator()]
                    for _ in range(SHUFFLES)
                ]
                finding = judge(
                    finding, max(null), good="above", because=f"the highest of {SHUFFLES} shufflings of the labels"
                )
            found.append(finding)
        return found

    def _groupings(self, ctx: Context, layer: str, rows: Tensor, label: Tensor) -> list[Finding]:
        count = torch.bincount(label, minlength=ctx.num_classes)
        kept = (count >= 2).nonzero().squeeze(1)
        notes = [f"{ctx.class_name(int(k))} has fewer than two samples" for k in (count < 2).nonzero().squeeze(1)]
        named = self._named(ctx, kept)
        if not named and len(kept) > MOST_CLASSES:
            notes = [f"the {MOST_CLASSES} classes with most samples were looked at, of {len(count)}"]
            kept = count.argsort(descending=True, stable=True)[:MOST_CLASSES].sort().values
        if not named and len(kept) % 2:
            notes.append(f"{ctx.class_name(int(kept[-1]))} left out: halves need an even number of classes")
            kept = kept[:-1]
        if len(kept) < 4:
            return []
        inside = torch.isin(label, kept)
        rows, condition = rows[inside], torch.searchsorted(kept, label[inside])
        if named:
            sides, names = torch.tensor(list(named.values())), list(named)
        else:
            sides = balanced_dichotomies(len(kept), most=DICHOTOMIES, generator=ctx.generator())
            names = [", ".join(ctx.class_name(int(k)) for k in kept[side]) for side in sides]
        if is_constant(rows):
            return []
        shatter = shattering_dimension(rows, condition, labels=sides)
        across = ccgp(rows, sides, condition)
        means = condition_means(rows, condition)
        gaps = torch.pdist(means - means.mean(0))
        apart = bool(gaps.min() > 1e-9 * gaps.max())
        if not apart:
            notes.append(
                "parallelism left out: two classes have the same mean, so no direction leads from one to the other"
            )
        kind = "the named groupings" if named else f"{len(sides)} random groupings"
        found = [
            self._accuracy(
                ctx, layer, "shattering", shatter, names, notes,
                f"A linear classifier learns {kind} of the classes in halves with accuracy ",
            ),
            self._accuracy(
                ctx, layer, "ccgp", across, names, notes,
                f"Taught {kind} on some classes, it is right about classes it was not taught with accuracy ",
            ),
        ]  # fmt: skip
        if not apart:
            return found
        parallel = parallelism_score(means, sides)
        best = int(parallel.argmax())
        found.append(
            Finding(
                "geometry",
                "geometry.parallelism",
                float(parallel.mean()),
                layer=layer,
                reference=Reference(0.0, kind="theory", source="classes in unrelated places"),
                meaning=f"Directions that tell {kind} apart have mean cosine {float(parallel.mean()):.2f}; most parallel "
                f"({float(parallel[best]):.2f}): {names[best]}.",
                rule="info: no interval for a maximum over pairings",
                citation=CITATION,
                warnings=tuple(notes),
                details={"groupings": names, "scores": parallel.tolist()},
                figure=self._figure(names, shatter, across, parallel) if layer == EMBEDDING else None,
            )
        )
        return found

    def _named(self, ctx: Context, kept: Tensor) -> dict[str, list[bool]]:
        named = {}
        for name, sides in self.dichotomies.items():
            if len(sides) != ctx.num_classes:
                raise ValueError(
                    f"dichotomies: {name!r} speaks of {len(sides)} classes where there are {ctx.num_classes}"
                )
            named[name] = [bool(sides[int(k)]) for k in kept]
        return named

    def _accuracy(
        self,
        ctx: Context,
        layer: str,
        metric: str,
        found: Generalization,
        names: list[str],
        notes: list[str],
        told: str,
    ) -> Finding:
        value = float(found.accuracy.mean())
        per_row = found.per_row[torch.isfinite(found.per_row)]
        low, high = bootstrap_bca(per_row, level=ctx.level, generator=ctx.generator())
        shift = value - float(per_row.mean())  # the value weighs all classes the same, the rows do not
        finding = Finding(
            "geometry",
            f"geometry.{metric}",
            value,
            layer=layer,
            ci=Interval(low + shift, high + shift, ctx.level, "bootstrap-bca", len(per_row)),
            reference=Reference(0.5, kind="null", source="guessing"),
            meaning=f"{told}{value:.2f} (guessing: 0.50).",
            rule="info: regrouping classes at random need not carry over to other classes",
            warnings=tuple(notes),
            citation=CITATION,
            details={"groupings": names, "accuracy": found.accuracy.tolist()},
        )
        if metric == "shattering" or self.dichotomies:
            return judge(finding, 0.5, good="above", because="guessing")
        return dataclasses.replace(finding, direction="higher")

    def _figure(
        self, names: list[str], shatter: Generalization, across: Generalization, parallel: Tensor
    ) -> FigureSpec:
        order = shatter.accuracy.argsort(descending=True)[:12].tolist()
        ticks = [names[i] for i in order]
        series = [
            {"name": "all classes taught", "x": ticks, "y": shatter.accuracy[order].tolist()},
            {"name": "classes not taught (CCGP)", "x": ticks, "y": across.accuracy[order].tolist()},
            {"name": "parallelism", "x": ticks, "y": parallel[order].tolist()},
        ]
        guess = [{"name": "guessing", "value": 0.5}]
        return FigureSpec("bars", "Groupings of the classes", "one half", "accuracy or cosine", series, guess)
