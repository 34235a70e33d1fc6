"""Ranks against a loop, numbers that guessing gives, and poses found."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.audit.equivariance_retrieval import mrr_hits, pose_r2, prediction_retrieval_error, view_ranks
from erlangen.groups import rotations


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(2, 8), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_ranks_are_those_of_a_loop(n: int, views: int, d: int, seed: int, shared: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randint(-2, 3, (n, d), generator=generator).double() + 0.5
    gallery = torch.randint(-2, 3, (views, d) if shared else (n, views, d), generator=generator).double() + 0.5
    target = torch.randint(views, (n,), generator=generator)
    ranks = view_ranks(predicted, gallery, target)
    for i in range(n):
        row = gallery if shared else gallery[i]
        scores = [round(float(predicted[i] @ v / predicted[i].norm() / v.norm()), 9) for v in row]
        own = scores[int(target[i])]
        wanted = 1 + sum(s > own for s in scores) + (sum(s == own for s in scores) - 1) / 2
        assert abs(float(ranks[i]) - wanted) <= sum(s == own for s in scores) - 1 + 1e-9
        if scores.count(own) == 1:
            assert float(ranks[i]) == wanted
    found = mrr_hits(predicted, gallery, target, ks=(1, 3))
    assert found["mrr"] == pytest.approx(float((1 / ranks).mean()))
    assert found["hit@3"] == pytest.approx(float((ranks <= 3).double().mean()))


def test_perfect_predictions_are_first_and_constant_ones_in_the_middle() -> None:
    gallery = torch.randn(6, 5, 16, generator=torch.Generator().manual_seed(0))
    target = torch.arange(6) % 5
    assert mrr_hits(gallery[torch.arange(6), target], gallery, target) == {
        "mrr": 1.0,
        "hit@1": 1.0,
        "hit@2": 1.0,
        "hit@5": 1.0,
        "hit@10": 1.0,
    }
    same = torch.ones(6, 5, 16)
    assert bool((view_ranks(same[:, 0], same, target) == 3).all())


def test_the_pose_found_is_that_of_the_nearest_view() -> None:
    generator = torch.Generator().manual_seed(1)
    pose = rotations.random((4, 6), generator=generator)
    gallery = pose.flatten(2)
    exact = prediction_retrieval_error(gallery[:, 2], gallery, pose, pose[:, 2])
    assert exact["error"] == pytest.approx(0, abs=1e-6) and exact["degrees"] < 0.1
    turn = rotations.from_axis_angle(torch.tensor([[0.0, 0.0, math.pi / 3]]))
    turned = prediction_retrieval_error(gallery[:, 2], gallery, pose, turn @ pose[:, 2])
    assert turned["degrees"] == pytest.approx(60, abs=1e-3)
    q = rotations.to_quaternion(pose[:, 2].double()), rotations.to_quaternion((turn @ pose[:, 2]).double())
    assert turned["error"] == pytest.approx(float((1 - (q[0] * q[1]).sum(1).abs()).mean()), abs=1e-6)


def test_random_rotations_are_as_far_apart_as_stated() -> None:
    """The mean of 1 - |q·q'| of uniform quaternions is 1 - 4 / (3 pi), the mean angle pi / 2 + 2 / pi."""
    one, two = (rotations.random(20000, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    gallery = torch.eye(2)
    far = prediction_retrieval_error(
        torch.eye(2)[:1].expand(20000, 2), gallery.expand(20000, 2, 2), one[:, None].expand(-1, 2, 3, 3), two
    )
    assert far["error"] == pytest.approx(1 - 4 / (3 * math.pi), abs=0.01)
    assert far["degrees"] == pytest.approx(math.degrees(math.pi / 2 + 2 / math.pi), abs=1)


def test_r2_of_coordinates_and_of_all_entries() -> None:
    true = torch.tensor([[0.0, 10], [2, 12], [4, 14]])
    mean = true.mean(0).expand(3, 2)
    assert pose_r2(mean, true)["r2"] == pytest.approx(0) and pose_r2(true, true) == {"r2": 1.0, "r2_global": 1.0}
    assert pose_r2(mean, true)["r2_global"] == pytest.approx(1 - 16 / (16 + 6 * 25))
    from sklearn.metrics import r2_score

    guess = true + torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert pose_r2(guess, true)["r2"] == pytest.approx(r2_score(true, guess), abs=1e-6)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="fewer than 2"):
        view_ranks(torch.zeros(1, 2), torch.zeros(1, 1, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="gallery"):
        view_ranks(torch.zeros(2, 2), torch.zeros(3, 4, 2), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="target"):
        view_ranks(torch.ones(1, 2), torch.ones(3, 2), torch.tensor([3]))
    with pytest.raises(ValueError, match="predicted"):
        view_ranks(torch.full((1, 2), math.nan), torch.ones(3, 2), torch.tensor([0]))
    with pytest.raises(ValueError, match="pose"):
        prediction_retrieval_error(torch.ones(1, 2), torch.ones(3, 2), torch.eye(3).expand(2, 3, 3), torch.eye(3)[None])
    with pytest.raises(ValueError, match="two samples"):
        pose_r2(torch.ones(1, 2), torch.ones(1, 2))
