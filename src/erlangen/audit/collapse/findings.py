"""Neural collapse of a model's layers or of given features, as findings."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.audit.collapse.measure import TARGETS, Collapse, measure_collapse, nearest_mean_agreement
from erlangen.audit.collapse.moments import CollapseMoments
from erlangen.audit.finding import FigureSpec, Finding, Interval
from erlangen.audit.preserve import left_as_it_was
from erlangen.nn.tap import Tap, resolve_layers
from erlangen.stats import Reservoir, clopper_pearson

CITATION = "Papyan, Han and Donoho 2020, arXiv:2008.08186; Dang et al. 2023, arXiv:2301.00437"
SHAPES = {
    "etf": "a simplex (all classes alike, means about their mean)",
    "of": "an orthogonal frame (all classes alike, means about zero)",
    "gof": "a general orthogonal frame (lengths set by class sizes)",
    "seli": "the SELI geometry (angles set by class sizes)",
}
SAMPLE = 2000


def neural_collapse(
    features: Tensor | nn.Module,
    data: Any,
    *,
    classifier: nn.Linear | None = None,
    layers: Any = "auto",
    targets: Sequence[str] = TARGETS,
    lam_w: float | Sequence[float] | None = None,
    lam_h: float | None = None,
    depth: int = 1,
    level: float = 0.95,
    num_classes: int | None = None,
) -> list[Finding]:
    """NC1 to NC4 of given features, or of the layers of a model in one pass over the data.

    Arguments:
        features: `[samples, dim]` with `data` their labels; or a model with `data` batches of `(x, label)`.
        classifier: the linear map behind the features. For a model its own last linear layer is found and used with the
            features that go into it, and the other layers get NC1 and CDNV only; so does a model whose head is not linear.
        targets: geometries to compare with; see `measure_collapse` for them and for `lam_w`, `lam_h`, `depth`.

    Memory is that of the class statistics, whatever the number of samples. The model is left as it was.
    """
    if isinstance(features, Tensor):
        label = torch.as_tensor(data)
        classes = num_classes or int(label.max()) + 1
        moments = CollapseMoments(classes, features.shape[1])
        for rows, own in zip(features.split(1024), label.split(1024), strict=True):
            moments.update(rows, own)
        collapse = measure_collapse(
            moments, weight=_weight(classifier), targets=targets, lam_w=lam_w, lam_h=lam_h, depth=depth, level=level
        )
        return layer_findings(
            "", collapse, level=level, agreement=_agreement(features[:SAMPLE], moments, classifier), names=[]
        )
    options = {"targets": targets, "lam_w": lam_w, "lam_h": lam_h, "depth": depth, "level": level}
    return _of_model(features, data, layers, classifier, num_classes, options)


def _of_model(
    model: nn.Module, data: Any, layers: Any, classifier: nn.Linear | None, classes: int | None, options: dict[str, Any]
) -> list[Finding]:
    moments: dict[str, CollapseMoments] = {}
    head_name, head_module = last_linear(model)
    head = "input of " + head_name if classifier is None and head_module is not None else ""
    batches: Iterable[Any] = list(data) if classes is None else data
    kept = Reservoir(SAMPLE, seed=0)
    seen = 0
    captured: dict[str, Tensor] = {}
    hooks = []
    if head and head_module is not None:
        hooks = [head_module.register_forward_pre_hook(lambda module, args: captured.update({head: args[0]}))]
    try:
        with left_as_it_was(model, seed=0), torch.no_grad():
            names = [n for n in resolve_layers(model, layers) if n != head_name]
            classes = classes or 1 + max(int(torch.as_tensor(batch[1]).max()) for batch in batches)
            device = next((p.device for p in model.parameters()), torch.device("cpu"))
            for x, label in batches:
                with Tap(model, names) as tap:
                    model(torch.as_tensor(x).to(device))
                rows = {n: v.flatten(1) for n, v in {**tap.activations, **captured}.items() if v.is_floating_point()}
                for name, value in rows.items():
                    if name not in moments:
                        moments[name] = CollapseMoments(classes, value.shape[1])
                    moments[name].update(value, torch.as_tensor(label))
                if head:
                    kept.update(torch.arange(seen, seen + len(x)), rows=rows[head].cpu())
                seen += len(x)
    finally:
        for hook in hooks:
            hook.remove()
    found: list[Finding] = []
    for name, own in moments.items():
        linear = head_module if name == head else classifier if name == list(moments)[-1] else None
        if linear is not None and tuple(linear.weight.shape) != tuple(own.means.shape[1:]):
            linear = None
        settings = options if linear is not None else {**options, "targets": ()}
        collapse = measure_collapse(own, weight=_weight(linear), **settings)
        sample = kept.compute()["rows"] if name == head else None
        agreement = _agreement(sample, own, linear) if sample is not None else None
        found += layer_findings(name, collapse, level=options["level"], agreement=agreement, names=[])
    return found


def last_linear(model: nn.Module) -> tuple[str, nn.Linear | None]:
    """The last linear layer in the model's order; an empty name where the last module with weights is another one."""
    last: tuple[str, nn.Module | None] = ("", None)
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            last = (name, module)
    return (last[0], last[1]) if isinstance(last[1], nn.Linear) else ("", None)


def _weight(classifier: nn.Linear | None) -> Tensor | None:
    return None if classifier is None else classifier.weight.detach()


def _agreement(rows: Tensor, moments: CollapseMoments, classifier: nn.Linear | None) -> Tensor | None:
    if classifier is None:
        return None
    with torch.inference_mode():
        logits = classifier(rows.to(classifier.weight)).cpu()
    return nearest_mean_agreement(rows.cpu(), moments.compute().means, logits)


def layer_findings(
    layer: str, collapse: Collapse, *, level: float, agreement: Tensor | None, names: Sequence[str]
) -> list[Finding]:
    """The findings of one layer: NC1 and CDNV always, NC2 and NC3 of the nearest geometry, NC4 with a classifier."""
    n = int(collapse.counts.sum())
    notes = tuple(collapse.notes)

    def finding(metric: str, key: str, meaning: str, **more: Any) -> Finding:
        low, high = collapse.intervals.get(key, (math.nan, math.nan))
        return Finding(
            "collapse",
            f"collapse.{metric}",
            collapse.values[key],
            layer=layer,
            ci=Interval(low, high, level, "jackknife", n) if math.isfinite(low) else None,
            meaning=meaning,
            citation=CITATION,
            **{"rule": "info: how far a layer should collapse depends on the task", "warnings": notes, **more},
        )

    value = collapse.values["nc1"]
    told = (
        "All class means coincide: there is no variation between classes to compare with."
        if math.isnan(value)
        else f"Scatter within classes is {plain(value)} times that between their means (0: every class is one point)."
    )
    found = [finding("nc1", "nc1", told)]
    if math.isnan(value):
        return found
    found.append(_closest_pair(collapse, finding, names))
    targets = [key[4:] for key in collapse.values if key.startswith("nc2.") and math.isfinite(collapse.values[key])]
    if targets:
        found.append(_geometry(collapse, finding, targets, names))
    if "nc3_angle" in collapse.values and targets:
        nearest = min(targets, key=lambda t: collapse.values.get(f"nc3.{t}", math.inf))
        angle = collapse.values["nc3_angle"]
        found.append(
            finding(
                "nc3",
                f"nc3.{nearest}",
                f"Logits of the class means are {collapse.values[f'nc3.{nearest}']:.2g} from those of {SHAPES[nearest]}; the "
                f"classifier and the class means span directions at most {angle:.0f} degrees apart.",
                details={k: v for k, v in collapse.values.items() if k.startswith("nc3")},
            )
        )
    if agreement is not None and len(agreement):
        low, high = clopper_pearson(int(agreement.sum()), len(agreement), level=level)
        share = float(agreement.double().mean())
        found.append(
            Finding(
                "collapse",
                "collapse.nc4",
                share,
                layer=layer,
                ci=Interval(low, high, level, "clopper-pearson", len(agreement)),
                meaning=f"The classifier chooses the class with the nearest mean for {100 * share:.0f} % of the inputs.",
                rule="info: one minus the share of inputs that need more than their nearest class mean",
                citation=CITATION,
            )
        )
    return found


def _closest_pair(collapse: Collapse, finding: Any, names: Sequence[str]) -> Finding:
    matrix = collapse.cdnv
    flat = int(torch.nan_to_num(matrix, nan=-math.inf).argmax())
    i, j = divmod(flat, len(matrix))
    labels = [names[k] if k < len(names) else str(k) for k in collapse.classes]
    return finding(
        "cdnv",
        "cdnv_worst",
        f"The two classes that are least apart are {labels[i]} and {labels[j]}: their mean variance is "
        f"{plain(collapse.values['cdnv_worst'])} of the squared distance between their centres "
        f"({plain(collapse.values['cdnv'])} on average over pairs).",
        details={"pair": [labels[i], labels[j]], "mean": collapse.values["cdnv"], "matrix": matrix.tolist()},
    )


def _geometry(collapse: Collapse, finding: Any, targets: list[str], names: Sequence[str]) -> Finding:
    nearest = min(targets, key=lambda t: collapse.values[f"nc2.{t}"])
    counts = collapse.counts[collapse.classes]
    order = counts.argsort(descending=True, stable=True)
    labels = [names[k] if k < len(names) else str(k) for k in collapse.classes]
    series = [_scaled("class means", collapse.mean_norms, labels, counts, order)]
    if collapse.weight_norms is not None:
        series.append(_scaled("classifier", collapse.weight_norms, labels, counts, order))
    frame = collapse.frames.get("gof")
    if frame is not None:
        series.append(_scaled("means, predicted (GOF)", frame.mean_gram.diagonal().sqrt(), labels, counts, order))
        lengths = frame.weight_gram.diagonal().sqrt()
        series.append(_scaled("classifier, predicted (GOF)", lengths, labels, counts, order))
    return finding(
        "nc2",
        f"nc2.{nearest}",
        f"Of {len(targets)} ideal geometries the class means are nearest to {SHAPES[nearest]}: distance "
        f"{collapse.values[f'nc2.{nearest}']:.2g} (0: exactly it, 1.4: nothing in common).",
        details={k: v for k, v in collapse.values.items() if k.startswith("nc2")}
        | {
            "nearest": nearest,
            "predicted_to_vanish": [labels[int(k)] for k in frame.collapsed.nonzero().squeeze(1)] if frame else [],
        },
        figure=FigureSpec(
            "curve", "Length of class means and classifiers, larger classes first", "class", "length / mean", series
        ),
    )


def plain(value: float) -> str:
    """Two digits of a ratio that may be tiny or huge: `0.29`, `850`, `10^4.6`."""
    if 0 < value < 1e-4 or value >= 1e5:
        return f"10^{math.log10(value):.1f}" if math.isfinite(value) else "infinitely many"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _scaled(name: str, lengths: Tensor, labels: list[str], counts: Tensor, order: Tensor) -> dict[str, Any]:
    relative = lengths / lengths.mean()
    ticks = [f"{labels[int(k)]} ({int(counts[k])})" for k in order]
    return {"name": name, "x": ticks, "y": relative[order].tolist()}
