"""Rotation conversions beside roma, SciPy and `torch.linalg.svd`: forward, and forward with backward.

python benchmarks/rotations.py [--output rotations.json] [--repeats 7] [--threads 1] [--count 1000000]
"""

from collections.abc import Callable

import torch

from erlangen.groups import rotations as ro
from harness import interleave, make_parser, write_json

try:
    import roma
except ImportError:
    roma = None

Call = Callable[[torch.Tensor], torch.Tensor]


def normalised(q: torch.Tensor) -> torch.Tensor:
    return q / q.norm(dim=-1, keepdim=True)


def peers() -> dict[str, tuple[Call, Call, str]]:
    """operation -> (ours, theirs, the kind of input)."""
    out: dict[str, tuple[Call, Call, str]] = {"project vs torch.linalg.svd": (ro.project, svd_projection, "9")}
    if roma is None:
        print("roma is not installed: its rows are skipped")
        return out
    return out | {
        "from_6d": (ro.from_6d, lambda x: roma.special_gramschmidt(x.unflatten(-1, (2, 3)).mT), "6"),
        "from_9d": (ro.project, roma.special_procrustes, "9"),
        "from_quaternion": (
            lambda q: ro.from_quaternion(q, scalar_last=True),
            lambda q: roma.unitquat_to_rotmat(normalised(q)),
            "4",
        ),
        "from_axis_angle": (ro.from_axis_angle, roma.rotvec_to_rotmat, "3"),
        "to_quaternion": (lambda m: ro.to_quaternion(m, scalar_last=True), roma.rotmat_to_unitquat, "rotation"),
        "to_axis_angle": (ro.to_axis_angle, roma.rotmat_to_rotvec, "rotation"),
        "geodesic_distance": (
            lambda m: ro.geodesic_distance(m, m.roll(1, 0)),
            lambda m: roma.rotmat_geodesic_distance(m, m.roll(1, 0)),
            "rotation",
        ),
    }


def svd_projection(m: torch.Tensor) -> torch.Tensor:
    u, _, vh = torch.linalg.svd(m)
    sign = torch.linalg.det(u @ vh)
    return torch.cat([u[..., :2], u[..., 2:] * sign[..., None, None]], -1) @ vh


def sample(kind: str, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if kind == "rotation":
        return ro.random((count,), generator=generator)
    if kind == "9":
        return torch.randn(count, 3, 3, generator=generator)
    return torch.randn(count, int(kind), generator=generator)


def backward(call: Call, x: torch.Tensor, weight: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        x.grad = None
        call(x).backward(weight)

    return run


def measure(name: str, ours: Call, theirs: Call, kind: str, count: int, repeats: int) -> list[dict[str, object]]:
    x = sample(kind, count)
    peer = "torch.linalg.svd" if "svd" in name else "roma"
    rows: list[dict[str, object]] = []

    def forward(call: Call) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return call(x)

        return run

    timings = {"forward": interleave({"ours": forward(ours), "peer": forward(theirs)}, repeats, 1)}
    if kind != "rotation":
        y, weight = x.clone().requires_grad_(), torch.randn(count, 3, 3)
        cases = {"ours": backward(ours, y, weight), "peer": backward(theirs, y, weight)}
        timings["forward and backward"] = interleave(cases, repeats, 1)
    for mode, timing in timings.items():
        rows.append({"operation": name, "against": peer, "mode": mode, "count": count, **timing.to_dict()})
        print(
            f"{name:28} {mode:21} ours {timing.medians['ours'] * 1e3:8.1f} ms  {peer} "
            f"{timing.medians['peer'] * 1e3:8.1f} ms  peer / ours {timing.ratios['peer']:.2f}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = make_parser(__doc__, repeats=7)
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, object]] = []
    for name, (ours, theirs, kind) in peers().items():
        count = options.count // 10 if name in ("from_9d", "project vs torch.linalg.svd") else options.count
        rows += measure(name, ours, theirs, kind, count, options.repeats)
    write_json(options.output, rows, benchmark="rotation conversions; ratios are the peer's time over ours")


if __name__ == "__main__":
    main()
