"""One training step of a flow on SU(n): on eigenphases in closed form, beside automatic differentiation on matrices.

The same flow three times: on the torus of eigenphases; on matrices with the divergence by one reverse-mode derivative a
tangent direction, as one writes it first; on matrices with forward-mode derivatives, all directions in one call.

python benchmarks/manifold_flows.py [--output manifold_flows.json] [--repeats 3]
"""

import torch

from erlangen.groups.manifolds import SpecialUnitary
from erlangen.nn.flows import ClassFunctionPotential, EquivariantManifoldFlow, Potential
from harness import interleave, make_parser, write_json

STEPS = 3


class OnMatrices(Potential):
    """The same potential as a function of matrix entries."""

    def __init__(self, inner: ClassFunctionPotential) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.inner(t, x)


class ReverseMode(OnMatrices):
    """Gradient and divergence by `autograd.grad`, one backward pass a tangent direction."""

    def field_and_divergence(self, manifold, t, x):  # type: ignore[no-untyped-def]
        x = x if x.requires_grad else x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self(t, x).sum(), x, create_graph=True)
        field = manifold.project_tangent(x, gradient)
        divergence = torch.zeros(len(x), dtype=x.real.dtype)
        for direction in manifold.tangent_basis(x).unbind(1):
            along = manifold.inner(direction.detach(), field).sum()
            (derivative,) = torch.autograd.grad(along, x, create_graph=True)
            divergence = divergence + manifold.inner(direction, derivative)
        return field, divergence


def target(phases: torch.Tensor) -> torch.Tensor:
    return 3 * torch.cos(phases).sum(-1)


def main() -> None:
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--batch", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, object]] = []
    for n in (2, 3, 8):
        torch.manual_seed(0)
        potential, manifold = ClassFunctionPotential(n, 64), SpecialUnitary(n)
        with torch.no_grad():
            for parameter in potential.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
        ours = EquivariantManifoldFlow(manifold, potential, steps=STEPS)
        generator = torch.Generator().manual_seed(0)

        def phases(flow: EquivariantManifoldFlow = ours, generator: torch.Generator = generator) -> None:
            theta, log_density = flow.sample_phases(options.batch, generator)
            (log_density - target(theta)).mean().backward()

        def matrices(kind: type[OnMatrices], potential=potential, manifold=manifold, generator=generator) -> None:  # type: ignore[no-untyped-def]
            flow = EquivariantManifoldFlow(manifold, kind(potential), steps=STEPS)
            u, log_density = flow.sample_with_log_prob(options.batch, generator)
            (log_density - 3 * torch.diagonal(u, dim1=-2, dim2=-1).sum(-1).real).mean().backward()

        cases = {"phases": phases}
        if n <= 3:
            cases["matrices, reverse mode"] = lambda m=matrices: m(ReverseMode)
            cases["matrices, forward mode"] = lambda m=matrices: m(OnMatrices)
        timing = interleave(cases, max(2, options.repeats), 1)
        rows.append({"group": f"SU({n})", "batch": options.batch, "steps": STEPS, **timing.to_dict()})
        text = "  ".join(f"{name} {1e3 * t:.0f} ms (x{timing.ratios[name]:.1f})" for name, t in timing.medians.items())
        print(f"SU({n}) batch={options.batch} {text}", flush=True)
    write_json(options.output, rows, benchmark="a training step of an equivariant manifold flow on SU(n)")


if __name__ == "__main__":
    main()
