"""Rotation representations: rows that determine no rotation, and everything that is refused."""

import pytest
import torch

from erlangen.groups import rotations as ro

from .test_rotation_representations import PAIRS, close, drawn, noise

DEGENERATE = {
    "from_6d zero": (ro.from_6d, torch.zeros(6)),
    "from_6d parallel": (ro.from_6d, torch.tensor([1.0, 2, 3, -2, -4, -6])),
    "from_6d second zero": (ro.from_6d, torch.tensor([1.0, 2, 3, 0, 0, 0])),
    "from_5d pole": (ro.from_5d, torch.zeros(5)),
    "from_9d zero": (ro.from_9d, torch.zeros(9)),
    "from_9d rank one": (ro.from_9d, torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0, 0])),
    "from_9d reflection": (ro.from_9d, torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, -1])),
    "from_quaternion": (ro.from_quaternion, torch.zeros(4)),
    "from_10d": (ro.from_10d, torch.zeros(10)),
    "from_columns": (ro.from_columns, torch.zeros(4, 3)),
    "from_direction": (ro.from_direction, torch.zeros(3)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_rows_without_a_rotation_are_completed_or_refused(case):
    make, row = DEGENERATE[case]
    good = noise(0, *row.shape)
    x = torch.stack([good, row.double(), good]).requires_grad_()
    out = make(x)
    if case != "from_direction":
        close(out.mT @ out, torch.eye(out.shape[-1], dtype=torch.float64).expand_as(out), 1e-12)
        assert bool((torch.linalg.det(out) > 0).all())
    close(out[0], make(good), 1e-12)
    (out * noise(1, *out.shape)).sum().backward()
    assert bool((x.grad[1] == 0).all()) and bool(x.grad.isfinite().all()) and bool((x.grad[0] != 0).any())
    with pytest.raises(ValueError, match=r"rows? 1"):
        make(x, on_degenerate="raise")


@pytest.mark.parametrize("name", PAIRS)
def test_bad_input(name):
    make, read, size = PAIRS[name]
    with pytest.raises((ValueError, TypeError)):  # the shape checker of the test run answers first
        make(torch.zeros(2, size + 1))
    with pytest.raises(ValueError, match="not a rotation"):
        read(2 * torch.eye(3).expand(2, 3, 3))
    with pytest.raises(ValueError, match="not a rotation"):
        read(-torch.eye(3))
    assert make(torch.zeros(0, size)).shape == (0, 3, 3)
    x = noise(0, 2, size)
    x[1, 0] = torch.nan
    out = make(x)
    assert bool(out[0].isfinite().all()) and bool(out[1].isnan().any())


def test_bad_input_of_the_rest():
    near = torch.eye(3, dtype=torch.float64) + 1e-3 * noise(0, 3, 3)
    close(ro.from_6d(ro.to_6d(near, project=True)), ro.project(near), 1e-12)
    with pytest.raises(ValueError, match="order"):
        ro.from_euler(torch.zeros(3), "xxz")
    with pytest.raises(ValueError, match="order"):
        ro.from_euler(torch.zeros(3), "xYz")
    with pytest.raises(ValueError, match="half a turn"):
        ro.to_rodrigues(torch.diag(torch.tensor([1.0, -1, -1])))
    with pytest.raises((ValueError, TypeError), match="on_degenerate"):
        ro.from_6d(torch.zeros(6), on_degenerate="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights"):
        ro.mean(drawn(0, 2), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="3, 3"):
        ro.project(torch.eye(4), 3)
    with pytest.raises(ValueError, match="n >= 3"):
        ro.to_stereographic(torch.eye(2))


def test_every_representation_maps_over_a_batch():
    for make, _, size in PAIRS.values():
        x = noise(0, 4, size)
        close(torch.func.vmap(make)(x), make(x), 1e-14)
    a = noise(1, 4, 5, 4)
    close(torch.func.vmap(ro.from_columns)(a), ro.from_columns(a), 1e-14)
