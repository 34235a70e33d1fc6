"""The intrinsic dimension of the representation, layer by layer."""

import math

from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.dataset.dimension import intrinsic_dimension
from erlangen.audit.finding import Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, Probe

ROWS = 2000
CITATION = "Facco et al. 2017; Ansuini et al. 2019, arXiv:1905.12784"


@register(
    "intrinsic_dimension",
    summary="dimension of the surface that a layer maps the inputs to (TwoNN)",
    paper="arXiv:1905.12784",
)
class RepresentationDimension(Probe):
    """TwoNN on every layer, beside the untrained twin on the same inputs; no threshold holds everywhere: `info`."""

    name = "intrinsic_dimension"

    def needs(self, ctx: Context) -> Needs:
        widest = max(ctx.dimensions.values(), default=1)
        return Needs((1 << 24) + 24 * min(ctx.rows, ROWS) * widest, twin=ctx.twin is not None)

    def finish(self, ctx: Context) -> list[Finding]:
        found = []
        places = ctx.collected.twin_rows
        for layer, rows in ctx.collected.rows.items():
            part = rows[places] if places is not None and len(places) else rows
            twin = ctx.collected.twin.get(layer)
            found.append(self._layer(ctx, layer, part[:ROWS], twin[:ROWS] if twin is not None else None))
        return found

    def _layer(self, ctx: Context, layer: str, rows: Tensor, twin: Tensor | None) -> Finding:
        try:
            read = intrinsic_dimension(rows, "twonn", calibrate=False, level=ctx.level, resamples=16, seed=ctx.seed)
        except ValueError as reason:
            return Finding(
                self.name,
                "intrinsic_dimension.twonn",
                math.nan,
                layer=layer,
                verdict="not_applicable",
                meaning=str(reason),
            )
        reference = None
        if twin is not None:
            try:
                other = intrinsic_dimension(twin, "twonn", calibrate=False, resamples=1, seed=ctx.seed)
                reference = Reference(other.value, kind=ctx.twin_kind, source=ctx.twin_name)
            except ValueError:
                reference = None
        copies = f"{read.duplicates} rows that equal another were left out" if read.duplicates else ""
        return Finding(
            self.name,
            "intrinsic_dimension.twonn",
            read.value,
            layer=layer,
            ci=Interval(read.low, read.high, ctx.level, "subsample", read.n),
            reference=reference,
            meaning=f"It maps the inputs to a surface of about {read.value:.1f} dimensions in {rows.shape[1]}.",
            rule="info: how many dimensions a task needs is not known beforehand",
            assumptions=(f"reads low in many dimensions; compare at equal numbers of rows ({read.n} here)",),
            warnings=(copies,) if copies else (),
            citation=CITATION,
        )
