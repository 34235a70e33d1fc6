"""Face numbers and weights of highest weight modules: ours beside SciPy's convex hull, SymPy's roots and a time limit.

python benchmarks/highest_weight.py [--output highest_weight.json] [--repeats 5]
"""

import torch

from erlangen.groups.cartan import CartanType
from erlangen.groups.highest_weight import HighestWeightModule
from erlangen.groups.highest_weight.hull import hull_f_vector
from harness import interleave, make_parser, write_json

AGAINST_HULL = [
    ("A3", (1, 1, 1)),
    ("B3", (1, 1, 1)),
    ("A4", (1, 0, 0, 1)),
    ("D4", (0, 1, 0, 0)),
    ("E6", (1, 0, 0, 0, 0, 0)),
]
ALONE = [("E8", (0, 0, 0, 0, 0, 0, 0, 1)), ("E8", (1,) * 8)]
LARGE = [("E8", (0, 1, 0, 0, 0, 0, 0, 0)), ("D5", (2, 1, 0, 1, 1)), ("A3", (10, 10, 10))]


def main() -> None:
    parser = make_parser(__doc__, repeats=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, object]] = []

    def record(task: str, name: str, weight: tuple[int, ...], **cases: object) -> None:
        timing = interleave(cases, options.repeats, 1)  # type: ignore[arg-type]
        rows.append({"task": task, "type": name, "weight": str(weight), **timing.to_dict()})
        print(f"{task:12} {name:3} {weight!s:26}", end="")
        print("  ".join(f"{case} {1e3 * t:9.2f} ms (x{timing.ratios[case]:.1f})" for case, t in timing.medians.items()))

    for name, weight in AGAINST_HULL:
        module = HighestWeightModule(name, weight)
        assert module.f_vector() == hull_f_vector(module)
        record(
            "f_vector",
            name,
            weight,
            ours=lambda n=name, w=weight: HighestWeightModule(n, w).f_vector(),
            hull=lambda m=module: hull_f_vector(m),
        )
    for name, weight in ALONE:
        record("f_vector", name, weight, ours=lambda n=name, w=weight: HighestWeightModule(n, w).f_vector())
    for name, weight in LARGE:
        print(f"{name} {weight}: dimension {HighestWeightModule(name, weight).dimension()}")
        record("weights", name, weight, ours=lambda n=name, w=weight: HighestWeightModule(n, w).weights())
        record("multiplicity", name, weight, ours=lambda n=name, w=weight: HighestWeightModule(n, w).multiplicities())
    try:
        from sympy.liealgebras.cartan_type import CartanType as SympyType
    except ImportError:
        print("sympy is not installed: no comparison of roots")
    else:
        record(
            "roots",
            "E7",
            (),
            ours=lambda: CartanType("E7").positive_roots(),
            sympy=lambda: SympyType("E7").positive_roots(),
        )
    write_json(options.output, rows, benchmark="highest weight modules: faces and weights")


if __name__ == "__main__":
    main()
