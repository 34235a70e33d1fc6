"""Neural collapse of every layer, with the classifier's own geometry where there is a linear one."""

import dataclasses
import math

import torch
from torch import Tensor, nn

from erlangen.audit.budget import Needs
from erlangen.audit.collapse.findings import SAMPLE, layer_findings, plain
from erlangen.audit.collapse.measure import (
    RELATIVE_CUTOFF,
    TARGETS,
    measure_collapse,
    nearest_mean_agreement,
    within_between_ratio,
)
from erlangen.audit.collapse.moments import moments_bytes, reduced_moments
from erlangen.audit.collect import EMBEDDING, in_its_precision
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
        widest = max(ctx.dimensions.values(), default=0)
        classes = max(ctx.num_classes, 2)
        kept = min(widest, 11 * classes + 1)
        rows = 8 * ctx.rows * (3 * widest + 2 * kept)
        null = 8 * min(widest**2 + SHUFFLES * classes * widest, 2 * SHUFFLES * classes * widest)
        return Needs(
            moments_bytes(classes, kept) + rows + null,
            labels=True,
            twin=True,
            cheaper="layers=... with narrower layers",
        )

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected
        layers = held.layers
        label = held.label[held.labelled]
        if len(label) == 0 or int((torch.bincount(label) >= 2).sum()) < 2:
            raise NotApplicable("needs labels of at least two classes with two samples each")
        heads = dict(_heads(ctx))
        found: list[Finding] = []
        for layer, values in layers.items():
            rows, head = values[held.labelled], heads.get(layer)
            weight = head.weight.detach() if head is not None else None
            classes = ctx.num_classes if head is None else head.out_features
            moments, basis = reduced_moments(rows, label, classes, weight=weight)
            own = weight.double().cpu() if weight is not None else None
            collapse = measure_collapse(
                moments,
                weight=own @ basis if own is not None and basis is not None else own,
                targets=TARGETS if head is not None else (),
                level=ctx.level,
            )
            agreement = None
            if head is not None:
                means = moments.compute().means
                sample = rows[:SAMPLE]
                with torch.inference_mode():
                    logits = _applied(head, sample, ctx)
                agreement = nearest_mean_agreement(sample, means if basis is None else means @ basis.T, logits)
            names = [ctx.class_name(k) for k in range(classes)]
            findings = layer_findings(layer, collapse, level=ctx.level, agreement=agreement, names=names)
            findings[0] = self._judged(findings[0], rows, label, ctx, layer)
            found += findings
        return found

    def _judged(self, finding: Finding, rows: Tensor, label: Tensor, ctx: Context, layer: str) -> Finding:
        if math.isnan(finding.value):
            return dataclasses.replace(finding, verdict="fail", rule="fail if all class means coincide")
        null = shuffled_ratios(rows, label, generator=ctx.generator())
        lowest = float(null.min())
        reference = Reference(float(null.mean()), lowest, float(null.max()), "null", "the same rows, labels shuffled")
        twin, places = ctx.collected.twin.get(layer), ctx.collected.twin_rows
        if twin is not None and places is not None:
            known = ctx.collected.label[places] >= 0
            value = _ratio(twin[known], ctx.collected.label[places][known])
            reference = Reference(value, kind=ctx.twin_kind, source=ctx.twin_name)
        words = finding.meaning.rstrip(".") + f"; with shuffled labels it would be {plain(float(null.mean()))}."
        finding = dataclasses.replace(finding, reference=reference, meaning=words)
        because = f"the lowest of {len(null)} shufflings of the labels"
        return judge(finding, lowest, good="below", because=because)


def shuffled_ratios(
    rows: Tensor, label: Tensor, *, draws: int = SHUFFLES, generator: torch.Generator | None = None
) -> Tensor:
    """NC1 with the labels shuffled, `[draws]`: what is not between the shuffled classes is within them."""
    label = label.unique(return_inverse=True)[1]
    x = rows.double() - rows.double().mean(0)
    counts = torch.bincount(label)
    means = torch.zeros(draws, len(counts), x.shape[1], dtype=x.dtype)
    for draw in means:
        draw.index_add_(0, label[torch.randperm(len(label), generator=generator)], x)
    means /= counts.unsqueeze(1)
    _, sigma, vt = torch.linalg.svd(means - means.mean(1, keepdim=True), full_matrices=False)
    share = (counts / counts.sum()).to(x)
    narrow = x.shape[1] < draws * len(counts)
    if narrow:
        total = ((vt @ (x.T @ x / len(x))) * vt).sum(2)
    else:
        total = torch.stack([(x @ v.T).square().mean(0) for v in vt])
    within = total - ((vt @ means.transpose(1, 2)).square() * share).sum(2)
    kept = sigma > RELATIVE_CUTOFF**0.5 * sigma[:, :1]
    return torch.where(kept, within / sigma.square(), 0.0).sum(1)


def _ratio(rows: Tensor, label: Tensor) -> float:
    classes, label = label.unique(return_inverse=True)
    if len(classes) < 2:
        return math.nan
    statistics = reduced_moments(rows, label, len(classes), folds=2)[0].compute()
    return within_between_ratio(statistics.means, statistics.scatter / len(rows))[0]


def _applied(head: nn.Linear, rows: Tensor, ctx: Context) -> Tensor:
    return head(in_its_precision(head, rows.to(ctx.device))).float().cpu()


def _heads(ctx: Context) -> list[tuple[str, nn.Linear]]:
    """Layers with the linear map from them to the classes: the user's classifier, or one inside the model.

    A head may know of more classes than the samples have.
    """
    found = []
    given, held = ctx.classifier, ctx.collected.rows
    if EMBEDDING not in held:
        return []
    out = held[EMBEDDING][:64]
    if isinstance(given, nn.Linear) and given.in_features == out.shape[1] and given.out_features >= ctx.num_classes:
        found.append((EMBEDDING, given))
    for module in ctx.model.modules():
        if not isinstance(module, nn.Linear) or not ctx.num_classes <= module.out_features == out.shape[1]:
            continue
        for layer, rows in held.items():
            if layer != EMBEDDING and rows.shape[1] == module.in_features:
                with torch.inference_mode():
                    logits = _applied(module, rows[:64], ctx)
                slack = max(1e-3, 4 * torch.finfo(module.weight.dtype).eps)
                if torch.allclose(logits, out, rtol=slack, atol=slack / 10 * float(out.abs().max())):
                    found.append((layer, module))
    return found
