"""Charged particles that attract and repel each other: trajectories from float64 integration, a batch at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Trajectories:
    """Snapshots of systems of particles: positions and velocities `[B, T, N, 3]`, charges `[B, N]`, times `[T]`."""

    positions: Float[Tensor, "batch time particles 3"]
    velocities: Float[Tensor, "batch time particles 3"]
    charges: Float[Tensor, "batch particles"]
    times: Float[Tensor, "time"]

    def energy(self, *, strength: float = 1.0, softening: float = 0.1) -> Float[Tensor, "batch time"]:
        """`½ Σ v² + k Σ_{i<j} q_i q_j / sqrt(r² + ε²)`, which the integration conserves."""
        apart = self.positions[..., :, None, :] - self.positions[..., None, :, :]
        near = (apart.square().sum(-1) + softening**2).rsqrt()
        pairs = self.charges[:, None, :, None] * self.charges[:, None, None, :] * near
        potential = strength * pairs.triu(1).sum((-2, -1))
        return 0.5 * self.velocities.square().sum((-2, -1)) + potential


def charged_particles(
    num: int,
    *,
    particles: int = 5,
    snapshots: int = 2,
    steps: int = 1000,
    dt: float = 1e-3,
    strength: float = 1.0,
    softening: float = 0.1,
    speed: float = 0.5,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Systems of particles with charges ±1 under Coulomb's law, `steps` of length `dt` between snapshots.

    Positions start normal, velocities with length `speed` and a random direction; unit masses. The force `k q_i q_j r /
    (r² + ε²)^{3/2}` is softened at ε = `softening`, where the simulator of Kipf et al. (Neural Relational Inference for
    Interacting Systems, 2018, arXiv 1802.04687), which E(n) Equivariant Graph Neural Networks (Satorras, Hoogeboom,
    Welling, 2021, arXiv 2102.09844) take over, cuts off every component at 100: that singles out the axes of space.
    Leapfrog integration in float64.

    Raises ValueError for sizes below one and for steps or softening that are not positive.
    """
    if min(num, particles, snapshots, steps) < 1:
        raise ValueError(
            f"num, particles, snapshots, steps: {num}, {particles}, {snapshots}, {steps}; all must be at least 1"
        )
    if not (dt > 0 and softening > 0):
        raise ValueError(f"dt, softening: {dt}, {softening}; both must be positive")
    shape = (num, particles, 3)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    v = torch.randn(shape, generator=generator, dtype=torch.float64)
    v = v * (speed / v.norm(dim=-1, keepdim=True))
    charge = torch.randint(2, (num, particles), generator=generator).double() * 2 - 1
    pairs = strength * charge[:, :, None] * charge[:, None, :]

    def force(x: Tensor) -> Tensor:
        apart = x[:, :, None, :] - x[:, None, :, :]
        cube = (apart.square().sum(-1) + softening**2).rsqrt().pow(3)
        weight = pairs * cube
        return weight.sum(-1, keepdim=True) * x - weight @ x

    kept = [(x, v)]
    acceleration = force(x)
    for step in range(1, (snapshots - 1) * steps + 1):
        half = v + 0.5 * dt * acceleration
        x = x + dt * half
        acceleration = force(x)
        v = half + 0.5 * dt * acceleration
        if step % steps == 0:
            kept.append((x, v))
    times = torch.arange(snapshots, dtype=torch.float64) * (steps * dt)
    positions, velocities = (torch.stack(part, 1).to(dtype) for part in zip(*kept, strict=True))
    return Trajectories(positions, velocities, charge.to(dtype), times.to(dtype))
