"""How many different features each layer has, by its weights."""

import dataclasses

from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import in_its_precision
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.redundancy import BETAS, feature_complexity
from erlangen.nn.parameter_symmetry.coupling_graph import CouplingGraph

CITATION = "Chen, Zhou and Yan 2024, ICLR 2024 (network feature complexity)"
PLACE = 2  # in the counts of `feature_complexity`: width first, then one for each tolerance
BETA = BETAS[PLACE - 1]


@register("feature_complexity", summary="how many different features each layer has, by its weights alone")
class FeatureComplexity(Probe):
    """The share of a layer's units that are left when units with like weights merge, beside the untrained twin's.

    Units that compute exactly the same are a warning: they can be taken out without any change of the function.
    Otherwise there is no threshold that holds for every task, and the finding is `info`.
    """

    name = "feature_complexity"

    def needs(self, ctx: Context) -> Needs:
        parameters = sum(p.numel() for p in ctx.model.parameters())
        widest = max((max(p.shape) for p in ctx.model.parameters() if p.dim() > 1), default=0)
        return Needs(3 * 8 * parameters + 4 * 8 * widest**2, cheaper="leaving out 'feature_complexity'")

    def finish(self, ctx: Context) -> list[Finding]:
        example = in_its_precision(ctx.model, ctx.collected.inputs[:2].to(ctx.device))
        graph = CouplingGraph.from_model(ctx.model, example, seed=ctx.seed)
        found = feature_complexity(ctx.model, example, beta=BETAS, graph=graph)
        if not found:
            why = "; ".join(sorted({f.reason for f in graph.fixed}))
            raise NotApplicable(f"no layer has units that can be merged: {why or 'the model has no hidden layers'}")
        twin = self._of_the_twin(ctx, example, graph)
        names = list(found)
        series = [{"name": "this model", "x": names, "y": [found[n][PLACE] / found[n][0] for n in names]}]
        if twin:
            known = [n for n in names if n in twin]
            series.append({"name": ctx.twin_name, "x": known, "y": [twin[n][PLACE] / twin[n][0] for n in known]})
        title = f"Different features of each layer (units with like weights merged, tolerance {BETA})"
        figure = FigureSpec("bars", title, "layer", "share of the units that is left", series)
        findings = [self._finding(ctx, name, counts, twin.get(name)) for name, counts in found.items()]
        return [dataclasses.replace(findings[0], figure=figure), *findings[1:]]

    def _of_the_twin(self, ctx: Context, example: Tensor, graph: CouplingGraph) -> dict[str, list[int]]:
        """The same of the twin; a reference model that the user gave has units, and a graph, of its own."""
        if ctx.twin is None:
            return {}
        try:
            own = graph if ctx.twin_kind == "untrained" else None
            return feature_complexity(ctx.twin, in_its_precision(ctx.twin, example), beta=BETAS, graph=own)
        except ValueError:
            return {}

    def _finding(self, ctx: Context, name: str, counts: list[int], twin: list[int] | None) -> Finding:
        width, equal, value = counts[0], counts[0] - counts[1], counts[PLACE] / counts[0]
        meaning = f"{counts[PLACE]} of {width} units differ by their weights (at tolerance {BETA})"
        if twin is not None:
            meaning += f", {twin[PLACE]} of {twin[0]} in {ctx.twin_name}"
        if equal:
            meaning += f"; {equal} compute exactly what another does"
        return Finding(
            self.name,
            "feature_complexity.share",
            value,
            layer=name,
            ci=Interval(value, value, ctx.level, "none (deterministic)", width),
            reference=Reference(twin[PLACE] / twin[0], kind=ctx.twin_kind, source=ctx.twin_name)
            if twin is not None
            else Reference(1.0, kind="theory", source="all units different"),
            verdict="warn" if equal else "info",
            meaning=meaning + ".",
            rule="warn if units are exactly equal: they can be merged without changing the function; else info",
            assumptions=("units are compared by their weights, not by what they do on the data",),
            citation=CITATION,
            details={"width": width, "betas": list(BETAS), "counts": counts[1:], "exactly_equal": equal},
        )
