"""How many parameters do nothing on these data, and whether the network falls apart into modules."""

import dataclasses

from torch import Tensor, nn

from erlangen.audit.budget import Needs
from erlangen.audit.degeneracy.communities import Modularity, modularity
from erlangen.audit.degeneracy.free_directions import LayerDegeneracy, degeneracy_report
from erlangen.audit.degeneracy.interaction_basis import InteractionBasis
from erlangen.audit.degeneracy.sections import OUTPUT, Sections
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.precision import at_least_single
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.words import percent

CITATION = "Bushnaq et al. 2024, arXiv:2405.10927"
SAMPLES, IMAGES, COMBINATIONS = 256, 64, 8
WIDEST, CUTS = 128, 3
CHUNK = 64 * 2**20


@register("degeneracy", summary="parameters that do nothing on the data, and modules that hardly interact")
class Degeneracy(Probe):
    """Free directions of every linear and convolutional layer, with their causes, and modularity of the interactions.

    The share of free directions has no threshold that holds everywhere; it is `inconclusive` where there were fewer
    than four samples for each input, which alone would limit the rank. A layer that no output depends on fails.
    """

    name = "degeneracy"

    def needs(self, ctx: Context) -> Needs:
        widths = [(p.shape[0], p[0].numel() + 1) for p in ctx.model.parameters() if p.dim() > 1]
        return Needs(CHUNK + 16 * sum(a * a + b * b for a, b in widths), cheaper="leaving out 'degeneracy'")

    def finish(self, ctx: Context) -> list[Finding]:
        x = ctx.collected.inputs
        model, x = at_least_single(ctx.model, x[: SAMPLES if x.dim() < 4 else IMAGES].to(ctx.device))
        try:
            found = degeneracy_report(model, x, probes=COMBINATIONS, nbytes=CHUNK, seed=ctx.seed)
        except ValueError as reason:
            raise NotApplicable(str(reason)) from None
        twin = {}
        if ctx.twin is not None:
            twin = degeneracy_report(
                at_least_single(ctx.twin, x)[0], x, probes=COMBINATIONS, nbytes=CHUNK, seed=ctx.seed
            )
        findings = [self._layer(ctx, layer, twin.get(name)) for name, layer in found.items()]
        names = list(found)
        series = [
            {"name": cause, "x": names, "y": [getattr(found[n], field) / found[n].parameters for n in names]}
            for cause, field in (("inputs depend on each other", "by_inputs"), ("gradients do", "by_gradients"))
        ]
        figure = FigureSpec("bars", "Parameters that do nothing on these data", "layer", "share of parameters", series)
        findings[0] = dataclasses.replace(findings[0], figure=figure)
        return [*findings, self._modules(ctx, model, x)]

    def _layer(self, ctx: Context, layer: LayerDegeneracy, twin: LayerDegeneracy | None) -> Finding:
        share = layer.free / layer.parameters
        counted = f"At least {percent(share)}" if layer.free else "None"
        meaning = (
            f"{counted} of the {layer.parameters:,} directions in its weights can be seen to change nothing on these "
            f"data: its inputs span {layer.input_rank} of {layer.inputs} dimensions, its outputs matter in "
            f"{layer.gradient_rank} of {layer.outputs}."
        )
        if layer.synchronised:
            meaning += f" {sum(layer.synchronised)} units switch on and off together with another."
        warnings = () if layer.relu else ("no ReLU follows, so units that switch together were not looked for",)
        if layer.dead:
            meaning = f"No output depends on this layer: all {layer.parameters:,} parameters do nothing on these data."
        verdict = "fail" if layer.dead else "info" if layer.enough else "inconclusive"
        return Finding(
            self.name,
            "degeneracy.free_share",
            share,
            layer=layer.layer,
            ci=Interval(share, share, ctx.level, "none (deterministic)", layer.samples),
            reference=Reference(twin.free / twin.parameters, kind=ctx.twin_kind, source=ctx.twin_name)
            if twin is not None
            else None,
            verdict=verdict,  # type: ignore[arg-type]
            meaning=meaning,
            rule="fail if no output depends on the layer; inconclusive with fewer than 4 samples for each of its "
            "inputs, since the rank cannot exceed what they span; else info",
            needs_samples=None if layer.enough else 4 * layer.inputs,
            assumptions=(
                "to second order in the change of one layer at a time",
                "what moves the outputs less than a thousandth as much as the most counts as nothing",
            ),
            warnings=warnings,
            citation=CITATION,
            details={
                "input_rank": layer.input_rank,
                "gradient_rank": layer.gradient_rank,
                "by_inputs": layer.by_inputs,
                "by_gradients": layer.by_gradients,
                "synchronised": layer.synchronised,
                "by_relu": layer.free_by_relu,
            },
        )

    def _modules(self, ctx: Context, model: nn.Module, x: Tensor) -> Finding:
        empty = Finding(self.name, "degeneracy.modularity", float("nan"), verdict="not_applicable", citation=CITATION)
        try:
            held = Sections(model, ctx.layers).activations(x[:2]) if ctx.layers else {}
            layers = [n for n, value in held.items() if n != OUTPUT and value[0].numel() <= WIDEST][-CUTS:]
            if not layers or held[OUTPUT][0].numel() > WIDEST:
                why = f"no layer with at most {WIDEST} numbers a sample in front of an output with as few"
                return dataclasses.replace(empty, meaning=why)
            basis = InteractionBasis(layers, nbytes=CHUNK)
            basis.fit(model, x)
            found = modularity(basis.edges(), null=20, seed=ctx.seed)
        except ValueError as reason:
            return dataclasses.replace(empty, meaning=str(reason))
        null = sorted(found.null)
        names = basis.sections.names
        ranks = ", ".join(f"{n}: {basis.bases[n].rank}" for n in names)
        return Finding(
            self.name,
            "degeneracy.modularity",
            found.q,
            reference=Reference(
                sum(null) / len(null), null[0], null[-1], "null", "interactions dealt anew, degrees as they are"
            ),
            meaning=f"The features of {names[0]} to the output fall into {len(found.communities)} groups with "
            f"modularity {found.q:.2f} ({sum(null) / len(null):.2f} by chance; {ranks} features).",
            rule="info: how modular a network should be depends on its task",
            p_value=found.p_value,
            assumptions=(f"interactions below {found.eps:.1e} left out", f"{basis.samples} samples"),
            figure=_picture(found, names),
            citation=CITATION,
            details={"groups": [len(c) for c in found.communities], "null": null},
        )


def _picture(found: Modularity, names: list[str]) -> FigureSpec:
    """How many features of each group every cut has."""
    groups = found.communities[:8]
    return FigureSpec(
        "matrix",
        "Features of each group at every cut",
        "group",
        "layer",
        rows=names,
        columns=[str(k + 1) for k in range(len(groups))],
        values=[[float(sum(node[0] == name for node in g)) for g in groups] for name in names],
        vmin=0.0,
    )
