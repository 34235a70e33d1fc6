"""An interatomic potential of the MACE kind: messages and many-body products, Gaunt or Clebsch-Gordan."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups import spherical_harmonics
from erlangen.nn.points.interaction import ClebschGordanInteraction, GauntInteraction
from erlangen.nn.points.radial import bessel_basis

LARGEST_ATOMIC_NUMBER = 118


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(2, 5, 3, generator=generator) * 1.5
    species = torch.tensor([[1, 6, 8, 1, 6]]).expand(2, 5).contiguous()
    gaunt = Interatomic((1, 6, 8), channels=4, radial_basis=4, correlation=3)
    plain = Interatomic((1, 6, 8), channels=4, radial_basis=4, coupling="clebsch_gordan")
    return [
        Case(gaunt, (positions, species), name="energy, Gaunt"),
        Case(plain, (positions, species), name="energy, Clebsch-Gordan"),
        Case(Forces(Interatomic((1, 6, 8), channels=4, radial_basis=4)), (positions, species), name="forces"),
    ]


@modules.register(
    "interatomic", paper="arXiv:2206.07697", summary="energies of molecules from equivariant messages", cases=_cases
)
class Interatomic(nn.Module):
    """Energy of a set of atoms: invariant under rotations, reflections, translations and renumbering.

        A_i = Σ_j  h_j · R(r_ij) Y(r_ij),      h_i ← Σ_ν (A_i)^ν,      E = Σ_i (scale · readout(h_i) + shift of its species)

    Per layer: a message from every neighbour within the cutoff is the product of its features with the harmonics of the edge,
    weighted by a learned function of the distance; the sum of the messages is raised to powers (many-body terms) with weights
    that depend on the species. `positions [batch, atoms, 3]`, atomic numbers `[batch, atoms]` -> `[batch]`; an atomic number
    of 0 is an empty place, so that molecules of several sizes share a batch. Features are functions on the sphere up to
    `l_hidden`, messages up to `l_max`.

    Args:
        species: the atomic numbers that occur.
        coupling: "gaunt" takes both products as Gaunt products with weights per degree; "clebsch_gordan" path by path with a
            weight for every path, as MACE and NequIP do; the rest of the network is the same.
        correlation: the highest power.
        neighbors: the sum of messages is divided by it, usually the mean number of neighbours.

    Raises ValueError for sizes below 1, an unknown species or atomic number, and atoms at the same place (their direction
    does not exist) give NaN.

    Sources: Batatia, Kovács, Simm, Ortner and Csányi, "MACE", 2022, arXiv:2206.07697; the Gaunt products are those of Luo,
    Chen and Krishnapriyan, 2024, arXiv:2401.10216. Smaller than either: one readout a layer and no charge or field terms.
    """

    def __init__(
        self,
        species: Sequence[int],
        *,
        channels: int = 16,
        l_max: int = 2,
        l_hidden: int = 1,
        layers: int = 2,
        correlation: int = 2,
        cutoff: float = 5.0,
        radial_basis: int = 8,
        neighbors: float = 8.0,
        coupling: Literal["gaunt", "clebsch_gordan"] = "gaunt",
    ) -> None:
        super().__init__()
        if coupling not in ("gaunt", "clebsch_gordan"):
            raise ValueError(f"coupling: got {coupling!r}; allowed are 'gaunt', 'clebsch_gordan'")
        if min(channels, layers, correlation, radial_basis) < 1 or l_hidden < 0 or l_max < l_hidden or cutoff <= 0:
            raise ValueError(
                "channels, layers, correlation, radial_basis, l_hidden, l_max, cutoff: got "
                f"{channels}, {layers}, {correlation}, {radial_basis}, {l_hidden}, {l_max}, {cutoff}; "
                "sizes are at least 1, 0 <= l_hidden <= l_max, and the cutoff is positive"
            )
        known = sorted(set(species))
        if not known or known[0] < 1 or known[-1] > LARGEST_ATOMIC_NUMBER:
            raise ValueError(f"species: got {list(species)}; atomic numbers from 1 to {LARGEST_ATOMIC_NUMBER}")
        self.species, self.coupling, self.l_max = known, coupling, l_max
        self.cutoff, self.radial_basis, self.neighbors = cutoff, radial_basis, neighbors
        number = torch.full((LARGEST_ATOMIC_NUMBER + 1,), -1)
        number[known] = torch.arange(len(known))
        self.register_buffer("number", number, persistent=False)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(len(known)))
        self.embedding = nn.Parameter(torch.randn(len(known), channels))
        kind = GauntInteraction if coupling == "gaunt" else ClebschGordanInteraction
        self.layers = nn.ModuleList()
        self.readouts = nn.ModuleList()
        for layer in range(layers):
            last = layer == layers - 1
            self.layers.append(
                kind(
                    0 if layer == 0 else l_hidden,
                    l_max,
                    0 if last else l_hidden,
                    channels=channels,
                    correlation=correlation,
                    species=len(known),
                    radial_basis=radial_basis,
                )
            )
            deep = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 1, bias=False))
            self.readouts.append(deep if last else nn.Linear(channels, 1, bias=False))

    @property
    def symmetries(self) -> list[Any]:
        """Rotations, reflections, translations and renumbering of the atoms leave the energy alone."""
        from erlangen.groups.symmetry import Symmetry

        return [
            Symmetry("E(3)", input=("points", "mask"), output="invariant"),
            Symmetry("S(n)", input=("rows", "mask"), output="invariant"),
        ]

    @torch.no_grad()
    def fit_scale(self, species: Int[Tensor, "frames atoms"], energies: Tensor, forces: Tensor) -> None:
        """Set the shift of every species by least squares on the energies, and the scale to the spread of the forces."""
        counts = torch.stack([(species == z).sum(-1) for z in self.species], -1).to(energies.dtype)
        self.shift.copy_(torch.linalg.lstsq(counts, energies[:, None], driver="gelsd").solution[:, 0])  # type: ignore[operator]
        self.scale.copy_(forces.square().mean().sqrt())  # type: ignore[operator]

    def forward(
        self, positions: Float[Tensor, "batch atoms 3"], species: Int[Tensor, "batch atoms"]
    ) -> Float[Tensor, " batch"]:
        kinds = self._kinds(species).flatten()
        sender, receiver = self._edges(positions.detach(), species)
        flat = positions.flatten(0, 1)
        edge = flat[sender] - flat[receiver]
        radial = bessel_basis(edge.norm(dim=-1), self.cutoff, self.radial_basis)
        harmonics = torch.cat(spherical_harmonics(self.l_max, edge, normalization="component"), -1)
        h = self.embedding[kinds][..., None]
        energy = flat.new_zeros(len(flat))
        for layer, readout in zip(self.layers, self.readouts, strict=True):
            h = layer(h, harmonics, radial, sender, receiver, kinds, self.neighbors)
            energy = energy + readout(h[..., 0])[:, 0]
        energy = energy * self.get_buffer("scale") + self.get_buffer("shift")[kinds]
        return torch.where(species > 0, energy.unflatten(0, species.shape), 0.0).sum(-1)

    def _kinds(self, species: Tensor) -> Tensor:
        if species.numel() and (int(species.min()) < 0 or int(species.max()) > LARGEST_ATOMIC_NUMBER):
            raise ValueError(f"species: atomic numbers from 1 to {LARGEST_ATOMIC_NUMBER}, or 0 for none, are allowed")
        kinds = self.get_buffer("number")[species]
        if bool(((kinds < 0) & (species > 0)).any()):
            unknown = sorted(set(species[(kinds < 0) & (species > 0)].tolist()))
            raise ValueError(f"species: {unknown} occur, but this potential was made for {self.species}")
        return kinds.clamp_min(0)

    def _edges(self, positions: Tensor, species: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of atoms of one molecule within the cutoff, as indices into the flattened atoms."""
        atoms = positions.shape[1]
        squared = (positions[:, :, None] - positions[:, None]).square().sum(-1)
        near = ~(squared >= self.cutoff**2)  # NaN stays in, to come out as NaN
        near = near & ~torch.eye(atoms, dtype=torch.bool, device=positions.device)
        near = near & (species[:, :, None] > 0) & (species[:, None] > 0)
        molecule, receiver, sender = near.nonzero(as_tuple=True)
        return molecule * atoms + sender, molecule * atoms + receiver


class Forces(nn.Module):
    """Minus the gradient of a potential with respect to the positions: `[batch, atoms, 3]`, turning with the molecule."""

    def __init__(self, potential: nn.Module) -> None:
        super().__init__()
        self.potential = potential

    @property
    def symmetries(self) -> list[Any]:
        from erlangen.groups.symmetry import Symmetry

        return [
            Symmetry("E(3)", input=("points", "mask"), output="vectors"),
            Symmetry("S(n)", input=("rows", "mask"), output="rows"),
        ]

    def forward(
        self, positions: Float[Tensor, "batch atoms 3"], species: Int[Tensor, "batch atoms"]
    ) -> Float[Tensor, "batch atoms 3"]:
        return energy_and_forces(self.potential, positions, species)[1]


def energy_and_forces(potential: nn.Module, positions: Tensor, species: Tensor) -> tuple[Tensor, Tensor]:
    """Energies `[batch]` and forces `[batch, atoms, 3]` of a potential; both can be differentiated again, to train on."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        at = positions if positions.requires_grad else positions.detach().clone().requires_grad_()
        energy = potential(at, species)
        (gradient,) = torch.autograd.grad(energy.sum(), at, create_graph=keep)
    return (energy, -gradient) if keep else (energy.detach(), -gradient)
