"""Neural collapse of every layer, with the classifier's own geometry where there is a linear one."""

import dataclasses
import math

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Needs
from erlangen.audit.collapse.findings import SAMPLE, layer_findings
from erlangen.audit.collapse.measure import (
    RELATIVE_CUTOFF,
    TARGETS,
    Collapse,
    measure_collapse,
    nearest_mean_agreement,
    within_between_ratio,
)
from erlangen.audit.collapse.moments import CollapseMoments, moments_bytes
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import Finding, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.verdict import judge

SHUFFLES = 39  # the smallest of 39 draws is the 2.5 % quantile, exactly


@register(
    "collapse",
    summary="neural collapse: scatter within classes, and the geometry of class means and classifier",
    paper="arXiv:2301.00437",
)
class NeuralCollapse(Probe):
    """NC1 and class distances of every layer; NC2 to NC4 where the classifier behind a layer is linear.

    NC1 is judged against the same rows with shuffled labels: a layer passes where its classes are tighter than that.
    How far a layer should collapse depends on the task, so that everything else is `info`.
    """

    name = "collapse"

    def needs(self, ctx: Context) -> Needs:
        widest = max(ctx.dimensions.values())
        rows = 8 * 2 * ctx.rows * widest
        return Needs(
            moments_bytes(max(ctx.num_classes, 2), widest) + rows,
            labels=True,
            cheaper="layers=... with narrower layers",
        )

    def finish(self, ctx: Context) -> list[Finding]:
        labelled = ctx.collected.labelled
        label = ctx.collected.label[labelled]
        if len(label) == 0 or int((torch.bincount(label) >= 2).sum()) < 2:
            raise NotApplicable("needs labels of at least two classes with two samples each")
        heads = dict(_heads(ctx))
        twin = ctx.run(ctx.collected.inputs, twin=True) if ctx.twin is not None else {}
        twin_label = ctx.collected.label[ctx.collected.input_rows]
        found: list[Finding] = []
        for layer, held in ctx.collected.rows.items():
            rows = held[labelled]
            moments = CollapseMoments(ctx.num_classes, rows.shape[1])
            for part, own in zip(rows.split(1024), label.split(1024), strict=True):
                moments.update(part, own)
            head = heads.get(layer)
            weight = head.weight.detach() if head is not None else None
            targets = TARGETS if head is not None else ()
            collapse = measure_collapse(moments, weight=weight, targets=targets, level=ctx.level)
            sample = rows[:SAMPLE]
            agreement = None
            if head is not None:
                with torch.inference_mode():
                    logits = head(sample.to(ctx.device)).cpu()
                agreement = nearest_mean_agreement(sample, moments.compute().means, logits)
            findings = layer_findings(
                layer,
                collapse,
                level=ctx.level,
                agreement=agreement,
                names=[ctx.class_name(k) for k in range(ctx.num_classes)],
            )
            findings[0] = self._judged(findings[0], collapse, rows, label, ctx, twin.get(layer), twin_label)
            found += findings
        return found

    def _judged(
        self,
        finding: Finding,
        collapse: Collapse,
        rows: Tensor,
        label: Tensor,
        ctx: Context,
        twin: Tensor | None,
        twin_label: Tensor,
    ) -> Finding:
        if math.isnan(finding.value):
            return dataclasses.replace(finding, verdict="fail", rule="fail if all class means coincide")
        null = shuffled_ratios(rows, label, generator=ctx.generator())
        lowest = float(null.min())
        reference = Reference(float(null.mean()), lowest, float(null.max()), "null", "the same rows, labels shuffled")
        if twin is not None:
            known = twin_label >= 0
            value = _ratio(twin[known], twin_label[known])
            reference = Reference(value, kind="untrained", source=ctx.twin_name)
        words = finding.meaning.rstrip(".") + f"; with shuffled labels it would be {float(null.mean()):.2g}."
        finding = dataclasses.replace(finding, reference=reference, meaning=words)
        because = f"the lowest of {len(null)} shufflings of the labels"
        return judge(finding, lowest, good="below", because=because)


def shuffled_ratios(
    rows: Tensor, label: Tensor, *, draws: int = SHUFFLES, generator: torch.Generator | None = None
) -> Tensor:
    """NC1 with the labels shuffled, `[draws]`; the total scatter is computed once."""
    label = label.unique(return_inverse=True)[1]
    x = rows.double() - rows.double().mean(0)
    counts = torch.bincount(label)
    total = x.T @ x / len(x)
    means = torch.zeros(draws, len(counts), x.shape[1], dtype=x.dtype)
    for draw in means:
        draw.index_add_(0, label[torch.randperm(len(label), generator=generator)], x)
    means /= counts.unsqueeze(1)
    _, sigma, vt = torch.linalg.svd(means - means.mean(1, keepdim=True), full_matrices=False)
    share = (counts / counts.sum()).to(x)
    within = ((vt @ total) * vt).sum(2) - ((vt @ means.transpose(1, 2)).square() * share).sum(2)
    kept = sigma > RELATIVE_CUTOFF**0.5 * sigma[:, :1]
    return torch.where(kept, within / sigma.square(), 0.0).sum(1)


def _ratio(rows: Tensor, label: Tensor) -> float:
    classes, label = label.unique(return_inverse=True)
    if len(classes) < 2:
        return math.nan
    moments = CollapseMoments(len(classes), rows.shape[1]).update(rows, label)
    statistics = moments.compute()
    return within_between_ratio(statistics.means, statistics.scatter / len(rows))[0]


def _heads(ctx: Context) -> list[tuple[str, nn.Linear]]:
    """Layers with the linear map from them to the classes: the user's classifier, or one inside the model."""
    found = []
    if isinstance(ctx.classifier, nn.Linear) and ctx.classifier.in_features == ctx.collected.embedding.shape[1]:
        found.append((EMBEDDING, ctx.classifier))
    out = ctx.collected.embedding[:64]
    for module in ctx.model.modules():
        if not isinstance(module, nn.Linear) or module.out_features != ctx.num_classes:
            continue
        if out.shape[1] != module.out_features:
            continue
        for layer, rows in ctx.collected.rows.items():
            if layer != EMBEDDING and rows.shape[1] == module.in_features:
                with torch.inference_mode():
                    logits = module(rows[:64].to(ctx.device)).cpu()
                if torch.allclose(logits, out, rtol=1e-3, atol=1e-4 * float(out.abs().max())):
                    found.append((layer, module))
    return found
