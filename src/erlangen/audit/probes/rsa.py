"""Whether the geometry, and the mere topology, of a layer carry the classes, and how layers resemble each other in it."""

import dataclasses

import torch
from torch import Tensor

from erlangen.audit.budget import Needs
from erlangen.audit.collect import EMBEDDING
from erlangen.audit.finding import FigureSpec, Finding, Interval, Reference
from erlangen.audit.presets import register
from erlangen.audit.probe import Context, NotApplicable, Probe
from erlangen.audit.probes.equivariance import is_constant
from erlangen.audit.rsa.comparison import compare_rdms, resampled
from erlangen.audit.rsa.dissimilarity import rdm, upper_triangle
from erlangen.audit.rsa.transforms import geo_topological
from erlangen.audit.verdict import judge
from erlangen.stats.rdm_bootstrap import CELLS, bootstrap_rdm

STIMULI = 100
RESAMPLES = 200
SHUFFLES = 200
CITATION = "Kriegeskorte et al. 2008; Lin and Kriegeskorte 2024, arXiv:2309.11028"


@register("rsa", summary="classes in the geometry and topology of layers (RSA, tRSA)", paper="arXiv:2309.11028")
class Representational(Probe):
    """Correlation (rho-a) of each layer's dissimilarities with those of the classes, and of layers with each other.

    At most 100 stimuli, as many of each class as there are. Intervals draw stimuli with replacement and leave out pairs
    of copies; the null shuffles the labels. `topology` is the same after the geo-topological transform (0.2, 0.8).
    """

    name = "rsa"

    def needs(self, ctx: Context) -> Needs:
        rows, layers = min(ctx.rows, STIMULI), len(ctx.dimensions) + 1
        pairs = rows * (rows - 1) // 2
        return Needs(8 * (4 * layers * rows**2 + (2 * RESAMPLES + 4 * SHUFFLES) * pairs + 10 * CELLS), twin=True)

    def finish(self, ctx: Context) -> list[Finding]:
        held = ctx.collected
        pick = self._stimuli(ctx)
        if len(pick) < 8:
            raise NotApplicable(f"{len(pick)} inputs; at least 8 stimuli are needed")
        layers = {name: rows[pick].double() for name, rows in held.rows.items() if not is_constant(rows[pick])}
        if not layers:
            raise NotApplicable("no layer varies with the input")
        geometry = torch.stack([rdm(rows, "euclidean") for rows in layers.values()])
        topology = geo_topological(geometry)
        found = self._classes(ctx, list(layers), geometry, topology, pick)
        if len(layers) > 1:
            found.append(self._layers(ctx, list(layers), topology))
        if not found:
            raise NotApplicable("one layer only, and no two classes with two labelled samples each to compare it with")
        return found

    def _stimuli(self, ctx: Context) -> Tensor:
        """Row numbers: as many of each class as there are, of those with a label that the reference saw, if any."""
        held = ctx.collected
        rows = held.twin_rows if held.twin_rows is not None and len(held.twin_rows) >= 8 else torch.arange(len(held))
        labelled = rows[held.label[rows] >= 0]
        rows = labelled if len(labelled) >= 8 else rows
        rows = rows[torch.randperm(len(rows), generator=ctx.generator())]
        label = held.label[rows]
        turn = torch.zeros_like(label)
        for c in label.unique():
            turn[label == c] = torch.arange(int((label == c).sum()))
        return rows[turn.argsort(stable=True)[:STIMULI]].sort().values

    def _classes(
        self, ctx: Context, names: list[str], geometry: Tensor, topology: Tensor, pick: Tensor
    ) -> list[Finding]:
        label = ctx.collected.label[pick]
        if bool((label < 0).any()) or int((torch.bincount(label) >= 2).sum()) < 2:
            return []
        classes = (label[:, None] != label[None, :]).double()
        value = compare_rdms(geometry, classes, "rho_a")
        rough = compare_rdms(topology, classes, "rho_a")
        generator = ctx.generator()
        weights = bootstrap_rdm(len(label), resamples=RESAMPLES, generator=generator).weights()
        samples = resampled(upper_triangle(geometry), upper_triangle(classes)[None], weights, "rho_a")[:, :, 0]
        tail = torch.tensor([(1 - ctx.level) / 2, (1 + ctx.level) / 2], dtype=torch.float64)
        low, high = torch.quantile(samples, tail, dim=0)
        orders = [torch.randperm(len(label), generator=generator) for _ in range(SHUFFLES)]
        null = compare_rdms(geometry, torch.stack([classes[o][:, o] for o in orders]), "rho_a")
        null_high = torch.quantile(null, ctx.level, dim=1)
        twin = self._twin(ctx, names, pick, classes)
        found = []
        for i, name in enumerate(names):
            compared = f" ({twin[name]:.2f} for {ctx.twin_name})" if name in twin else ""
            finding = Finding(
                "rsa",
                "rsa.class_geometry",
                float(value[i]),
                layer=name,
                ci=Interval(float(low[i]), float(high[i]), ctx.level, "bootstrap over stimuli", len(label)),
                reference=(
                    Reference(twin[name], kind=ctx.twin_kind, source=ctx.twin_name)
                    if name in twin and ctx.twin_kind == "untrained"
                    else Reference(0.0, high=float(null_high[i]), kind="null", source="labels shuffled")
                ),
                meaning=(
                    f"Distances between {len(label)} inputs at {name} follow the classes with correlation "
                    f"{float(value[i]):.2f}{compared}; told apart only as near, between and far, with {float(rough[i]):.2f}."
                ),
                assumptions=("squared Euclidean distances of activations averaged over positions",),
                citation=CITATION,
                details={"topology": float(rough[i]), "null_high": float(null_high[i]), "stimuli": len(label)},
            )
            judged = judge(
                finding, float(null_high[i]), good="above", because="the level's quantile with labels shuffled"
            )
            if name != EMBEDDING and judged.verdict == "fail":  # an early layer need not know the classes
                judged = dataclasses.replace(judged, verdict="info", rule=f"info before the embedding: {judged.rule}")
            found.append(judged)
        shown = next((i for i, f in enumerate(found) if f.layer == EMBEDDING), len(found) - 1)
        order = label.argsort(stable=True)
        picture = 1 - geo_topological(geometry[shown])[order][:, order]
        titles = [ctx.class_name(int(c)) for c in label[order]]
        step = max(1, len(order) // 40)
        found[shown] = dataclasses.replace(
            found[shown],
            figure=FigureSpec(
                "matrix",
                f"How near inputs are at {names[shown]}, sorted by class (1: nearest fifth, 0: farthest fifth)",
                "input",
                "input",
                rows=titles[::step],
                columns=titles[::step],
                values=picture[::step, ::step].tolist(),
                vmin=0.0,
                vmax=1.0,
            ),
        )
        return found

    def _twin(self, ctx: Context, names: list[str], pick: Tensor, classes: Tensor) -> dict[str, float]:
        held = ctx.collected
        if held.twin_rows is None or not held.twin:
            return {}
        place = torch.searchsorted(held.twin_rows, pick).clamp(max=len(held.twin_rows) - 1)
        if not bool((held.twin_rows[place] == pick).all()):
            return {}
        found = {}
        for name in names:
            rows = held.twin.get(name)
            if rows is not None and not is_constant(rows[place]):
                found[name] = float(compare_rdms(rdm(rows[place].double(), "euclidean"), classes, "rho_a"))
        return found

    def _layers(self, ctx: Context, names: list[str], topology: Tensor) -> Finding:
        matrix = compare_rdms(topology, topology, "pearson")
        weights = bootstrap_rdm(topology.shape[-1], resamples=RESAMPLES, generator=ctx.generator()).weights()
        first, last = upper_triangle(topology[:1]), upper_triangle(topology[-1:])
        samples = resampled(first, last, weights, "pearson").flatten()
        tail = torch.tensor([(1 - ctx.level) / 2, (1 + ctx.level) / 2], dtype=torch.float64)
        low, high = torch.quantile(samples, tail).tolist()
        return Finding(
            "rsa",
            "rsa.topology_between_layers",
            float(matrix[0, -1]),
            ci=Interval(low, high, ctx.level, "bootstrap over stimuli", topology.shape[-1]),
            meaning=f"Which inputs are near each other at {names[0]} and which at {names[-1]} correlates "
            f"{float(matrix[0, -1]):.2f} (1: the same neighbours, 0: unrelated).",
            rule="info: how alike layers should be depends on the task",
            figure=FigureSpec(
                "matrix",
                "Similarity of the layers' topology (geo-topological dissimilarities)",
                rows=names,
                columns=names,
                values=matrix.tolist(),
                vmin=0.0,
                vmax=1.0,
            ),
            citation=CITATION,
            details={"layers": names, "matrix": matrix.tolist()},
        )
