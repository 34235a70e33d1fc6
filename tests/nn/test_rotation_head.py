"""The head that ends in a rotation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups import rotations
from erlangen.nn import RotationHead

REPS = ["6d", "5d", "9d", "10d", "quaternion", "axis_angle", "rodrigues", "euler"]
EVERY = (
    [(rep, 3) for rep in REPS]
    + [(rep, n) for rep in ("columns", "stereographic", "svd") for n in (3, 4)]
    + [("columns", 2)]
)


@pytest.mark.parametrize(("rep", "n"), EVERY)
def test_every_representation_ends_in_rotations_and_starts_at_the_identity(rep, n):
    torch.manual_seed(0)
    head = RotationHead(5, n, rep=rep).double()
    x = torch.randn(2, 7, 5, dtype=torch.float64)
    out = head(x)
    assert out.shape == (2, 7, n, n)
    assert torch.allclose(out @ out.mT, torch.eye(n, dtype=torch.float64).expand_as(out), atol=1e-12)
    assert bool((torch.linalg.det(out) > 0).all())
    assert torch.allclose(head(0 * x), torch.eye(n, dtype=torch.float64).expand_as(out), atol=1e-6)
    out.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in head.parameters())


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), rep=st.sampled_from(["6d", "9d", "columns", "svd"]))
def test_turning_the_vectors_turns_the_rotation(seed, rep):
    torch.manual_seed(seed)
    head = RotationHead(4, rep=rep, input="vectors").double()
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    q = rotations.random((), dtype=torch.float64)
    assert torch.allclose(head(x @ q.mT), q @ head(x), atol=1e-8)


def test_it_learns_the_rotation_of_a_fixed_frame():
    torch.manual_seed(0)
    head = RotationHead(9, rep="9d")
    rotation = rotations.random((256,), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (head(rotation.flatten(1)) - rotation).square().sum((-2, -1)).mean().backward()
        optimizer.step()
    error = rotations.geodesic_distance(head(rotation.flatten(1)), rotation)
    assert float(error.detach().max()) < 0.1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rep": "7d"}, "rep"),
        ({"n": 4}, "does not exist for n = 4"),
        ({"n": 2, "rep": "stereographic"}, "does not exist for n = 2"),
        ({"rep": "quaternion", "input": "vectors"}, "does not turn"),
        ({"input": "points"}, "input"),
        ({"in_features": 0}, "in_features"),
        ({"on_degenerate": "hide"}, "on_degenerate"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        RotationHead(**{"in_features": 4, **arguments})


def test_bad_rows():
    with pytest.raises(ValueError, match=r"\[\.\.\., 4\]"):
        RotationHead(4)(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"4, 3"):
        RotationHead(4, input="vectors")(torch.zeros(2, 5, 3))
    head = RotationHead(4, input="vectors", on_degenerate="raise")
    with pytest.raises(ValueError, match="rows 0"):
        head(torch.zeros(2, 4, 3))
    assert RotationHead(4)(torch.zeros(0, 4)).shape == (0, 3, 3)
    assert bool(RotationHead(4)(torch.full((1, 4), torch.nan)).isnan().any())
