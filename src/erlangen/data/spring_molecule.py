"""A molecule of springs: ethanol-shaped frames with energies and forces in closed form, for when no real ones are there."""

import torch
from torch import Tensor

from erlangen.data.molecular_frames import Molecules

SPECIES = (6, 6, 8, 1, 1, 1, 1, 1, 1)
BONDS = ((0, 1), (1, 2), (2, 8), (0, 3), (0, 4), (0, 5), (1, 6), (1, 7))
REST = (
    (-1.17, -0.40, 0.00),
    (0.00, 0.56, 0.00),
    (1.19, -0.22, 0.00),
    (-2.13, 0.13, 0.00),
    (-1.13, -1.04, 0.89),
    (-1.13, -1.04, -0.89),
    (-0.05, 1.21, 0.89),
    (-0.05, 1.21, -0.89),
    (1.94, 0.38, 0.00),
)
STIFFNESS, BENDING = 20.0, 3.0  # eV / Å² along bonds, eV for the squared change of the cosine of an angle


def spring_molecule(frames: int, *, generator: torch.Generator, spread: float = 0.08) -> Molecules:
    """Frames around the rest shape of ethanol, displaced by Gaussian noise of `spread` Å, float64, in eV and Å.

        E = Σ_bonds ½ k (r - r₀)² + Σ_angles ½ b (cos θ - cos θ₀)²

    Raises ValueError for fewer than one frame or a spread that is not positive.
    """
    if frames < 1 or spread <= 0:
        raise ValueError(f"frames, spread: got {frames}, {spread}; at least 1, and positive")
    rest = torch.tensor(REST, dtype=torch.float64)
    noise = torch.randn(frames, *rest.shape, dtype=torch.float64, generator=generator)
    positions = (rest + spread * noise).requires_grad_()
    energies = _energy(positions, rest)
    (gradient,) = torch.autograd.grad(energies.sum(), positions)
    return Molecules(torch.tensor(SPECIES), positions.detach(), energies.detach(), -gradient)


def _energy(positions: Tensor, rest: Tensor) -> Tensor:
    stretch = _lengths(positions) - _lengths(rest)
    bend = _cosines(positions) - _cosines(rest)
    return 0.5 * (STIFFNESS * stretch.square().sum(-1) + BENDING * bend.square().sum(-1))


def _lengths(x: Tensor) -> Tensor:
    first, second = torch.tensor(BONDS).T
    return (x[..., first, :] - x[..., second, :]).norm(dim=-1)


def _cosines(x: Tensor) -> Tensor:
    """Of the angles between bonds that share an atom."""
    triples = [
        (a, shared, b)
        for shared in range(len(REST))
        for a, b in torch.combinations(torch.tensor([sum(bond) - shared for bond in BONDS if shared in bond])).tolist()
    ]
    a, shared, b = torch.tensor(triples).T
    return torch.cosine_similarity(x[..., a, :] - x[..., shared, :], x[..., b, :] - x[..., shared, :], dim=-1)
