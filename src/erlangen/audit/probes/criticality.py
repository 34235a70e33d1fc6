"""Whether signals and gradients keep their size through the depth of a network."""

import math

import torch
from torch import nn

from erlangen.audit.budget import Needs
from erlangen.audit.collect import as_embedding
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.precision import at_least_single
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.tangent_kernel import empirical_ntk
from erlangen.audit.theory.profile import TRAINABLE, Profile, profile
from erlangen.audit.theory.tuning import criticality
from erlangen.audit.theory.vertex import optimal_aspect_ratio, vertex_slope
from erlangen.audit.verdict import judge
from erlangen.stats.resample import normal_quantile

ROWS = 64
TANGENT_ROWS = 24
TANGENT_BYTES = 1 << 26
ROUNDING = 1e-7  # eigenvalues below this part of the largest are rounding
CITATION = "Roberts, Yaida and Hanin 2022, arXiv:2106.10165"
DEPTH = "Schoenholz et al. 2017, arXiv:1611.01232"


@register(
    "criticality",
    summary="growth of signals and gradients through depth, depth over width, tangent kernel",
    paper="arXiv:2106.10165",
)
class CriticalityProbe(Probe):
    """The growth of gradients from the last layer to the first, and of signals the other way, as the network stands.

    Gradients are judged: networks were trainable up to about six times the depth over which gradients change by a
    factor e, so `|ln growth|` above 6 fails. Depth over width and the condition of the tangent kernel are `info`.
    """

    name = "criticality"

    def needs(self, ctx: Context) -> Needs:
        rows, size = min(ctx.rows, ROWS), torch.Size(ctx.input_shape).numel()
        return Needs(8 * rows * (size + 4 * sum(ctx.dimensions.values())) + TANGENT_BYTES)

    def finish(self, ctx: Context) -> list[Finding]:
        model, x = at_least_single(ctx.model, ctx.collected.inputs[:ROWS].to(ctx.device))
        reference = at_least_single(ctx.twin, x)[0] if ctx.twin is not None else None
        try:
            found = profile(model, x, generator=ctx.generator())
        except ValueError as reason:
            raise NotApplicable(str(reason)) from reason
        if not bool(torch.isfinite(found.signal).all() and torch.isfinite(found.gradient).all()):
            raise NotApplicable("signals or gradients of the model are not finite on these inputs")
        twin = _profile_of_reference(reference, x, ctx)
        findings = [self._gradients(ctx, found, twin), self._signals(ctx, found, twin)]
        findings += [*self._susceptibility(ctx, found), *self._shape(found)]
        tangent = self._tangent(ctx, model, reference, x)
        return [*findings, tangent] if tangent is not None else findings

    def _gradients(self, ctx: Context, found: Profile, twin: Profile | None) -> Finding:
        if not bool((found.gradient[[0, -1]].mean(1) > 0).all()):
            return self._none_arrive(found)
        # from the last layer to the first: the other way round than signals
        value, low, high = (-v for v in found.growth(found.gradient, level=ctx.level, generator=ctx.generator()))
        low, high = min(low, high), max(low, high)
        size = max(abs(low), abs(high)) if low * high > 0 else max(abs(low), abs(high), abs(value))
        inner = min(abs(low), abs(high)) if low * high > 0 else 0.0
        words = "vanish" if value < 0 else "explode"
        meaning = f"From the last layer to the first, gradients change by a factor {_factor(value / 2)} in length: " + (
            f"they {words}." if abs(value) > TRAINABLE else "they arrive."
        )
        finding = Finding(
            "criticality",
            "criticality.gradient_growth",
            abs(value),
            ci=Interval(inner, size, ctx.level, "bootstrap-bca", found.gradient.shape[1]),
            reference=Reference(0.0, 0.0, TRAINABLE, "theory", "a critical network"),
            meaning=meaning,
            assumptions=("one random direction of the output for each input",),
            citation=DEPTH,
            figure=_layers(found, "gradient", "Squared gradients by layer", twin, ctx.twin_name),
            details={"log_growth": value, "twin": _growth(twin, ctx, "gradient")},
        )
        return judge(finding, TRAINABLE, good="below", because="six times the depth over which gradients change by e")

    def _none_arrive(self, found: Profile) -> Finding:
        """Gradients that are zero at an end of the network for every input."""
        ends = [name for name, g in ((found.names[i], found.gradient[i]) for i in (0, -1)) if not bool(g.any())]
        return Finding(
            "criticality",
            "criticality.gradient_growth",
            math.nan,
            reference=Reference(0.0, 0.0, TRAINABLE, "theory", "a critical network"),
            verdict="fail",
            meaning=f"No gradient arrives at {' and '.join(repr(e) for e in ends)}: it is zero for every input.",
            rule="fail where gradients are zero for every input",
            citation=DEPTH,
        )

    def _signals(self, ctx: Context, found: Profile, twin: Profile | None) -> Finding:
        value, low, high = found.growth(found.signal, level=ctx.level, generator=ctx.generator())
        theory = found.predicted
        expected = float((theory[-1] / theory[0]).log()) if bool((theory > 0).all()) else math.nan
        return Finding(
            "criticality",
            "criticality.signal_growth",
            value,
            ci=Interval(low, high, ctx.level, "bootstrap-bca", found.signal.shape[1]),
            reference=Reference(expected, kind="theory", source="Gaussian layers with these weights' variances"),
            direction="closer",
            meaning=f"From the first layer to the last, pre-activations change by a factor {_factor(value / 2)} in size.",
            rule="info: gradients decide",
            citation=CITATION,
            figure=_layers(found, "signal", "Mean square of pre-activations by layer", twin, ctx.twin_name),
            details={"twin": _growth(twin, ctx, "signal")},
        )

    def _susceptibility(self, ctx: Context, found: Profile) -> list[Finding]:
        """The factor that gradients get in one layer, where it is furthest from 1."""
        known = torch.isfinite(found.chi) & (found.chi > 0)
        if not bool(known.any()):
            return []
        place = int(torch.where(known, found.chi.clamp(min=1e-300).log().abs(), -1.0).argmax())
        value, entries = float(found.chi[place]), found.weights[place].weight.numel()
        # a variance estimated from that many Gaussian weights
        reach = math.exp(normal_quantile(0.5 + ctx.level / 2) * math.sqrt(2 / entries))
        stages = sorted({w.before.name for w in found.weights if w.before is not None})
        tuned = [_tuning(name, found) for name in stages]
        names = [n for n, c in zip(found.names, found.chi, strict=True) if math.isfinite(float(c))]
        finding = Finding(
            "criticality",
            "criticality.chi",
            value,
            ci=Interval(value / reach, value * reach, ctx.level, "normal", entries),
            reference=Reference(1.0, kind="theory", source="criticality"),
            direction="closer",
            meaning=f"{found.names[place]!r} changes squared gradients most of all layers, by a factor {value:.3g}; fresh "
            f"weights keep them with " + "; ".join(tuned) + ".",
            rule="info: a product over all layers is judged, not one",
            assumptions=("a norm or a skip changes what a layer's own factor means",),
            citation=CITATION,
            figure=FigureSpec(
                "curve",
                "Factor that a layer gives squared gradients",
                "layer",
                "",
                [{"name": "this model", "x": names, "y": [float(c) for c in found.chi if math.isfinite(float(c))]}],
                lines=[{"name": "critical", "value": 1.0}],
            ),
        )
        return [finding]

    def _shape(self, found: Profile) -> list[Finding]:
        stages = {w.before.name: w.before for w in found.weights if w.before is not None}
        if len(stages) != 1:
            return []
        stage = next(iter(stages.values()))
        if not criticality(stage).exists:
            return []
        value, nu = found.aspect_ratio, vertex_slope(stage)
        outputs = found.weights[-1].fan_out
        return [
            Finding(
                "criticality",
                "criticality.depth_over_width",
                value,
                ci=Interval(value, value),
                reference=Reference(optimal_aspect_ratio(stage, outputs), kind="theory", source="most information"),
                meaning=f"Depth over width is {value:.3g}: from one initialisation to the next the scale of the last "
                f"layer varies by about {100 * math.sqrt(nu * value):.0f} %.",
                rule="info: the best ratio is the maximum of a truncated series",
                assumptions=("no skips, critical tuning, leading order in 1/width",),
                citation=CITATION,
                details={"vertex_slope": nu, "activation": stage.name},
            )
        ]

    def _condition(self, ctx: Context, model: nn.Module, x: torch.Tensor) -> float:
        """Of the tangent kernel along one random direction of the output, the same for model and twin."""
        with torch.no_grad():
            width = as_embedding(model(x[:1])).shape[1]
        direction = torch.randn(width, 1, generator=ctx.generator()).to(x)
        return _condition(
            empirical_ntk(_Directed(model, direction / direction.norm()), x.clone(), nbytes=TANGENT_BYTES)
        )

    def _tangent(self, ctx: Context, model: nn.Module, twin: nn.Module | None, x: torch.Tensor) -> Finding | None:
        few, values = x[:TANGENT_ROWS], []
        for network in (model, twin):
            try:
                with torch.inference_mode(False):
                    values.append(math.nan if network is None else self._condition(ctx, network, few))
            except (ValueError, RuntimeError, NotImplementedError):
                values.append(math.nan)
        value, other = values
        if math.isnan(value):
            return None
        reference = None if math.isnan(other) else Reference(other, kind=ctx.twin_kind, source=ctx.twin_name)
        return Finding(
            "criticality",
            "criticality.tangent_condition",
            value,
            ci=Interval(value, value),
            reference=reference,
            direction="lower",
            meaning=f"The slowest direction of training among {len(few)} inputs is "
            f"{'at least ' if value >= -math.log10(ROUNDING) else ''}10^{value:.1f} times slower than the fastest.",
            rule="info: it grows with the number of inputs",
            assumptions=("one random direction of the output; gradient descent with one rate, near this point",),
            citation=CITATION,
        )


class _Directed(nn.Module):
    """A model seen along one direction of its output."""

    def __init__(self, model: nn.Module, direction: torch.Tensor) -> None:
        super().__init__()
        self.model, self.direction = model, direction

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return as_embedding(self.model(x)) @ self.direction


def _factor(logarithm: float) -> str:
    return f"{math.exp(logarithm):.3g}" if abs(logarithm) < 7 else f"10^{logarithm / math.log(10):.1f}"


def _profile_of_reference(reference: nn.Module | None, x: torch.Tensor, ctx: Context) -> Profile | None:
    """None as well where the reference model has no depth to speak of."""
    try:
        return profile(reference, x, generator=ctx.generator()) if reference is not None else None
    except ValueError:
        return None


def _growth(twin: Profile | None, ctx: Context, which: str) -> float | None:
    if twin is None:
        return None
    return twin.growth(getattr(twin, which), level=ctx.level, generator=ctx.generator())[0]


def _tuning(name: str, found: Profile) -> str:
    stage = next(w.before for w in found.weights if w.before is not None and w.before.name == name)
    tuned = criticality(stage)
    if not tuned.exists:
        return f"no variance after {name} ({tuned.notes})"
    return f"variance {tuned.C_W:.4g} / fan-in after {name} (biases {tuned.C_b:.3g}; {tuned.universality_class})"


def _layers(found: Profile, which: str, title: str, twin: Profile | None, twin_name: str) -> FigureSpec:
    series = [{"name": "this model", "x": found.names, "y": getattr(found, which).mean(1).tolist()}]
    if which == "signal":
        series.append({"name": "theory, the baseline", "x": found.names, "y": found.predicted.tolist()})
    elif twin is not None and twin.names == found.names:
        series.append({"name": twin_name, "x": twin.names, "y": getattr(twin, which).mean(1).tolist()})
    return FigureSpec("curve", title, "layer", "", series)


def _condition(kernel: torch.Tensor) -> float:
    """The decimal logarithm of largest over smallest eigenvalue, the smallest taken to be at least `ROUNDING`."""
    values = torch.linalg.eigvalsh(kernel.double().cpu())
    if not float(values[-1]) > 0:
        raise ValueError("kernel: it is zero")
    return math.log10(float(values[-1] / values[0].clamp(min=ROUNDING * float(values[-1]))))
