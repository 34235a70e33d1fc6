"""Iterative feature merging of a VGG16 for 32 x 32 images: Gram matrices kept up to date, or computed anew for every
merge (same merges, a narrow network), and torch-pruning's dependency graph with magnitude pruning (another method, at
the same part of units) for scale.

python benchmarks/feature_merging.py [--output feature_merging.json] [--repeats 3] [--threads 1]
"""

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from erlangen.deploy import merge_features
from erlangen.nn import CouplingGraph
from erlangen.nn.parameter_symmetry.iterative_merging import plan_merges
from erlangen.nn.parameter_symmetry.surgery import tensor_of
from harness import interleave, make_parser, write_json

PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
RATIO = 0.17  # of each group's units; about 30 % of the parameters, which go with the square


def vgg16(part: float = 1.0) -> nn.Module:
    """Thirteen convolutions and a linear layer; `part` of the usual channels."""
    layers: list[nn.Module] = []
    before = 3
    for width in PLAN:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        channels = max(4, int(width * part))
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, 10)).eval()


def computed_anew(model: nn.Module, graph: CouplingGraph, ratio: float) -> dict[str, list[int]]:
    """The same merges (writers averaged, readers summed, means compared), one Gram matrix a merge."""
    values = {s.name: tensor_of(model, s.name).detach().double() for g in graph.groups.values() for s in g.slots}
    values = {name: t.clone() for name, t in values.items() if t.dim() > 1}
    live = {n: torch.arange(g.size) for n, g in graph.groups.items()}
    count = {n: torch.ones(g.size).double() for n, g in graph.groups.items()}
    left = {n: int(ratio * g.size) for n, g in graph.groups.items()}
    while any(left.values()):
        for name, group in graph.groups.items():
            if not left[name]:
                continue
            left[name] -= 1
            slots = [s for s in group.slots if s.name in values]
            parts = []
            for s in slots:
                rows = values[s.name].index_select(s.axis, s.index[live[name]].flatten()).movedim(s.axis, 0)
                rows = rows.reshape(len(live[name]), -1)
                parts.append(rows / count[name][live[name], None] if s.role == "reads" else rows)
            w = torch.cat(parts, 1)
            gram = w @ w.T
            distance = gram.diagonal()[:, None] + gram.diagonal() - 2 * gram
            i, j = sorted(divmod(int(distance.fill_diagonal_(torch.inf).argmin()), len(w)))
            u, v = int(live[name][i]), int(live[name][j])
            a, b = (float(count[name][k]) for k in (u, v))
            for s in slots:
                t = values[s.name].movedim(s.axis, 0)
                p, q = (1.0, 1.0) if s.role == "reads" else (a / (a + b), b / (a + b))
                t[s.index[u]] = p * t[s.index[u]] + q * t[s.index[v]]
                t[s.index[v]] = 0
            count[name][u] += b
            live[name] = live[name][live[name] != v]
    return {name: rows.tolist() for name, rows in live.items()}


def torch_pruning(model: nn.Module, example: Tensor, ratio: float) -> nn.Module:
    import torch_pruning as tp

    model = copy.deepcopy(model)
    last = next(m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear))
    pruner = tp.pruner.MagnitudePruner(
        model, example, importance=tp.importance.MagnitudeImportance(p=1), pruning_ratio=ratio, ignored_layers=[last]
    )
    pruner.step()
    return model


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--narrow", type=float, default=0.25, help="part of the channels where the Gram is made anew")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    example, rows = torch.randn(1, 3, 32, 32), []

    narrow = vgg16(options.narrow)
    graph = CouplingGraph.from_model(narrow, example)
    kept = {
        n: c.unique().tolist()
        for n, c in plan_merges(narrow, graph, beta=9.0, max_ratio=RATIO, rule="mean_in_sum_out").clusters.items()
    }
    anew = computed_anew(narrow, graph, RATIO)
    cases: dict[str, Callable[[], object]] = {
        "Gram matrices made anew": lambda: computed_anew(narrow, graph, RATIO),
        "erlangen plan_merges": lambda: plan_merges(narrow, graph, beta=9.0, max_ratio=RATIO, rule="mean_in_sum_out"),
    }
    timing = interleave(cases, options.repeats, 1, clock=time.process_time)
    setting = {"network": "VGG16", "channels": options.narrow, "parameters": size(narrow), "same_units": kept == anew}
    rows.append({**setting, **timing.to_dict()})
    print(setting, timing.ratios, flush=True)

    model = vgg16()
    report = merge_features(model, example, beta=9.0, max_ratio=RATIO)[1]
    cases = {"erlangen merge_features": lambda: merge_features(model, example, beta=9.0, max_ratio=RATIO)}
    setting = {"network": "VGG16", "channels": 1.0, "parameters": size(model), "removed": round(report.removed, 4)}
    try:
        pruned = torch_pruning(model, example, RATIO)
        setting["removed_by_torch_pruning"] = round(1 - size(pruned) / size(model), 4)
        cases = {"torch-pruning magnitude": lambda: torch_pruning(model, example, RATIO), **cases}
    except ImportError:
        print("torch-pruning is not installed (pip install torch-pruning): its row is left out")
    timing = interleave(cases, options.repeats, 0, clock=time.process_time)
    rows.append({**setting, **timing.to_dict()})
    print(setting, timing.medians, timing.ratios)
    write_json(options.output, rows)


if __name__ == "__main__":
    main()
