"""Normalising densities on SO(3) on fine grids: separable in the last angle, beside one dense product with all rotations.

python benchmarks/pose_distribution.py [--output pose_distribution.json] [--repeats 3]
"""

import math
import resource

import torch

from erlangen.groups.harmonics import SO3Grid, wigner_D_all
from erlangen.nn.spheres import RotationDensity
from erlangen.nn.spheres.rotation_density import grid_rotations
from harness import interleave, make_parser, write_json

L_MAX = 6


def dense_table(level: int) -> torch.Tensor:
    """√(2l+1) D^l at every rotation, `[rotations, 455]`: 67 MB at level 3, 4.3 GB at level 5."""
    grid = SO3Grid(level)
    parts = []
    for start in range(0, len(grid), 50_000):
        index = torch.arange(start, min(start + 50_000, len(grid)))
        blocks = wigner_D_all(L_MAX, grid_rotations(level, index))
        parts.append(torch.cat([(2 * l + 1) ** 0.5 * d.mT.flatten(1) for l, d in enumerate(blocks)], 1).float())
    return torch.cat(parts)


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x = 0.3 * torch.randn(options.batch, 455, generator=torch.Generator().manual_seed(0))
    rows: list[dict[str, object]] = []
    for level in (2, 3, 4, 5):
        cases = {"separable": lambda level=level: RotationDensity(x, grid_level=level).log_normalizer}
        if level <= 3:
            table = dense_table(level)
            cases["dense"] = lambda table=table: torch.logsumexp(x @ table.mT, 1) - math.log(len(table))
            gap = (cases["separable"]() - cases["dense"]()).abs().max()
            assert float(gap) < 1e-3, f"level {level}: the two disagree by {float(gap):.1e}"
        timing = interleave(cases, max(2, options.repeats), 1)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        rotations = len(SO3Grid(level))
        rows.append(
            {"level": level, "rotations": rotations, "batch": options.batch, "peak_mb": memory, **timing.to_dict()}
        )
        text = "  ".join(f"{name} {1e3 * t:.0f} ms (x{timing.ratios[name]:.1f})" for name, t in timing.medians.items())
        print(f"level {level} ({rotations} rotations) {text}  peak of the process {memory:.0f} MB", flush=True)
    write_json(options.output, rows, benchmark="normalising densities on SO(3), 64 pictures")


if __name__ == "__main__":
    main()
