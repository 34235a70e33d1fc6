"""Frame averaging beside as many bare passes of the backbone, and classical scaling by covariance beside eigenvectors.

python benchmarks/frames.py [--output frames.json] [--repeats 9] [--threads 1]

`bare` runs the backbone on one batch with as many samples as the frame has elements times the batch; `separate` runs it
once an element, as `symmetrized in chunks` does. The overheads are those of the same kind. frame-averaging-pytorch (`pip install --no-deps
frame-averaging-pytorch`, needs einops) joins where it is installed.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from erlangen.groups import Symmetry, classical_mds
from erlangen.groups.frames import MDSFrame, PCAFrame
from erlangen.nn.points import TInv
from erlangen.nn.symmetrize import symmetrize
from harness import interleave, make_parser, write_json


class PointNet(nn.Module):
    """The same network on every point, the maximum, a classifier: `[B, N, 3] -> [B, 40]`."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(sizes):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        self.points = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.points(x).amax(-2))


def peer(backbone: nn.Module) -> nn.Module | None:
    """The wrapper of frame-averaging-pytorch; None where it is not installed."""
    try:
        from frame_averaging_pytorch import FrameAverage
    except ImportError:
        print("frame-averaging-pytorch is not installed: skipped")
        return None
    return FrameAverage(backbone, dim=3, invariant_output=True)


def separate(backbone: nn.Module, moved: torch.Tensor) -> torch.Tensor:
    return torch.stack([backbone(part) for part in moved]).mean(0)


def backbones(batch: int, points: int, repeats: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    backbone = PointNet().eval()
    x = torch.randn(batch, points, 3) * torch.tensor([1.0, 2.0, 3.0])
    rows = []
    for group in ("SO(3)", "SE(3)", "E(3)"):
        frame, symmetry = PCAFrame(group), Symmetry(group, "points", "invariant")
        count = frame.size or 1
        stacked = x.repeat(count, 1, 1)
        apart = stacked.unflatten(0, (count, batch))
        cases: dict[str, Callable[[], object]] = {
            "bare": partial(backbone, stacked),
            "separate": partial(separate, backbone, apart),
            "symmetrized": partial(symmetrize(backbone, symmetry), x),
            "symmetrized in chunks": partial(symmetrize(backbone, symmetry, chunk=batch), x),
            "one pass": partial(backbone, x),
            "frame alone": partial(frame, x),
            "invariant coordinates": partial(TInv(backbone), x),
        }
        theirs = peer(backbone) if group == "E(3)" else None
        if theirs is not None:
            cases["frame-averaging-pytorch"] = partial(theirs, x)
        with torch.inference_mode():
            timing = interleave(cases, repeats)
        m = timing.medians
        facts = {
            "overhead": m["symmetrized"] / m["bare"],
            "overhead_in_chunks": m["symmetrized in chunks"] / m["separate"],
            "frame_share": m["frame alone"] / m["symmetrized in chunks"],
            "coordinates_over_one_pass": m["invariant coordinates"] / m["one pass"],
        }
        rows.append(
            {
                "what": "PointNet",
                "group": group,
                "batch": batch,
                "points": points,
                **facts,
                **timing.to_dict(),
            }
        )
        print(group, {name: round(value, 3) for name, value in facts.items()})
    return rows


def poses(batch: int, points: int, repeats: int) -> dict[str, Any]:
    x = torch.randn(batch, points, 3) * torch.tensor([1.0, 2.0, 3.0])
    frame, average = MDSFrame(), PCAFrame("E(3)")
    with torch.inference_mode():
        timing = interleave({"MDSFrame": partial(frame, x), "PCAFrame": partial(average, x)}, 20 * repeats)
    milliseconds = 1e3 * timing.medians["MDSFrame"]
    print(f"MDSFrame on [{batch}, {points}, 3]: {milliseconds:.3f} ms")
    return {
        "what": "poses",
        "batch": batch,
        "points": points,
        "milliseconds": milliseconds,
        **timing.to_dict(),
    }


def scaling(points: int, repeats: int) -> dict[str, Any]:
    """Coordinates of one cloud: covariance, distances by Cholesky, distances by eigenvectors (scipy, scikit-learn)."""
    x = torch.randn(1, points, 3, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0])
    distances = torch.cdist(x, x)
    frame = MDSFrame(scale=False)
    cases: dict[str, Callable[[], object]] = {
        "covariance": partial(frame.coordinates, x),
        "Cholesky of distances": partial(classical_mds, distances, 3),
    }
    try:
        from scipy.linalg import eigh

        square = (distances[0] ** 2).numpy()

        def by_scipy() -> object:
            inner = -0.5 * (square - square.mean(0) - square.mean(1)[:, None] + square.mean())
            return eigh(inner, subset_by_index=(points - 3, points - 1))

        cases["scipy, three eigenvectors"] = by_scipy
    except ImportError:
        print("scipy is not installed: skipped")
    try:
        from sklearn.manifold import ClassicalMDS

        cases["scikit-learn"] = partial(ClassicalMDS(n_components=3).fit_transform, x[0].numpy())
    except ImportError:
        print("scikit-learn has no ClassicalMDS: skipped")
    with torch.inference_mode():
        timing = interleave(cases, max(3, repeats // 3), warmup=1)
    print(f"classical scaling of {points} points", {name: round(value, 1) for name, value in timing.ratios.items()})
    return {
        "what": "classical scaling",
        "points": points,
        **timing.to_dict(),
    }


def main() -> None:
    parser = make_parser(__doc__, repeats=9)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rows = [
        *backbones(64, 1024, chosen.repeats),
        poses(64, 1024, chosen.repeats),
        scaling(2_000, chosen.repeats),
    ]
    write_json(chosen.output, rows, threads=chosen.threads, repeats=chosen.repeats)


if __name__ == "__main__":
    main()
