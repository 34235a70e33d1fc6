"""Equal inputs with different labels."""

from erlangen.audit.budget import Needs
from erlangen.audit.finding import Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.duplicates import ROWS, measured
from erlangen.audit.raw_inputs import raw_needs
from erlangen.stats import clopper_pearson


@register("contradictory_labels", summary="equal inputs with different labels")
class ContradictoryLabels(Probe):
    """The share of inputs that equal another of a different label: no model can be right on both, so any fails."""

    name = "contradictory_labels"

    def needs(self, ctx: Context) -> Needs:
        return raw_needs(ctx, ROWS, labels=True)

    def finish(self, ctx: Context) -> list[Finding]:
        found = measured(ctx)
        label = ctx.collected.label[: found.n]
        known = label >= 0
        if not bool(known.any()):
            raise NotApplicable("needs labelled samples")
        groups = [[place for place in group if known[place]] for group in found.exact]
        groups = [group for group in groups if len(label[group].unique()) > 1]
        labelled = int(known.sum())
        places = sorted({place for group in groups for place in group})
        low, high = clopper_pearson(len(places), labelled, level=ctx.level)
        # in each group a model can be right on its most frequent label only
        lost = sum(len(g) - int(label[g].bincount().max()) for g in groups)
        return [
            Finding(
                self.name,
                "contradictory_labels.share",
                len(places) / labelled,
                ci=Interval(low, high, ctx.level, "clopper-pearson", labelled),
                reference=Reference(0.0, kind="null", source="labels that are a function of the input"),
                verdict="fail" if places else "pass",
                direction="lower",
                meaning=f"{len(places)} inputs equal another with a different label: no model can be right on more than "
                f"{labelled - lost} of {labelled}."
                if places
                else f"No two equal inputs of {labelled} have different labels.",
                rule="fail if any: equal inputs cannot be told apart",
                details={"groups": [ctx.collected.index[group].tolist() for group in groups[:16]]},
            )
        ]
