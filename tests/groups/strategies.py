"""Groups and seeds for property tests."""

import torch
from hypothesis import strategies as st

from erlangen.groups import Group, parse

NAMES = ["C1", "C4", "C5", "C8", "D1", "D3", "D4", "S1", "S4", "Tetrahedral", "Octahedral", "Icosahedral", "SO(2)"]
NAMES += ["SO(3)", "SO(4)", "O(2)", "O(3)", "SE(2)", "SE(3)", "E(3)", "T(2)", "Scaling"]
NAMES += ["GL+(2)", "GL+(3)", "SL(2)", "SL(3)", "U(1)", "U(2)", "SU(2)", "SU(3)"]
PRODUCTS = ["C4 x S3", "E(3) x S5", "SO(3) x Scaling", "C2 × D3 × S2"]

seeds = st.integers(0, 2**31 - 1)


def draws(group: str | Group, seed: int, count: int, batch: tuple[int, ...] = (6,)) -> list:
    """Independent float64 elements of a group."""
    generator = torch.Generator().manual_seed(seed)
    return [parse(group).sample(batch, generator=generator, dtype=torch.float64) for _ in range(count)]
