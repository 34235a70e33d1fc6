"""Predicting the element of a group."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen import objectives
from erlangen.data import PairBatch
from erlangen.objectives import GroupPrediction, RotationPrediction


def images(n=5, side=9, seed=0):
    return torch.rand(n, 2, side, side, generator=torch.Generator().manual_seed(seed))


class OrbitMean(torch.nn.Module):
    """An encoder that is invariant under quarter turns."""

    def forward(self, x):
        turned = [torch.rot90(x, k, (-2, -1)) for k in range(4)]
        return torch.stack([t.square().cumsum(-1).flatten(1) for t in turned]).mean(0)


@given(n=st.integers(1, 6), side=st.integers(2, 9), seed=st.integers(0, 50))
def test_c4_copies_are_those_of_rot90_bit_for_bit_and_adjacent(n, side, seed):
    x = images(n, side, seed)
    copies, element = GroupPrediction("C4").copies(x)
    for i in range(n):
        for r in range(4):
            assert torch.equal(copies[4 * i + r], torch.rot90(x[i], r, (-2, -1))) and element[4 * i + r] == r


@given(r=st.integers(0, 3), s=st.integers(0, 3))
def test_turning_the_input_shifts_the_copies_cyclically(r, s):
    x = images(2)
    objective = GroupPrediction("C4")
    turned = objective.copies(torch.rot90(x, s, (-2, -1)))[0].unflatten(0, (2, 4))
    plain = objective.copies(x)[0].unflatten(0, (2, 4))
    assert torch.equal(turned[:, r], plain[:, (r + s) % 4])


def test_d4_copies_are_all_eight_and_differ():
    copies, element = GroupPrediction("D4").copies(images(1))
    assert len(copies.flatten(1).unique(dim=0)) == 8 and element.tolist() == list(range(8))


@given(scale=st.floats(0, 5), seed=st.integers(0, 20))
def test_an_invariant_encoder_cannot_beat_guessing_whatever_the_head(scale, seed):
    torch.manual_seed(seed)
    objective = GroupPrediction("C4")
    objective.setup(embedding_dim=162)
    with torch.no_grad():
        objective.head.weight.normal_(0, scale / 100)
        objective.head.bias.normal_(0, scale)
    loss = objective(OrbitMean(), PairBatch(images(3))).total
    assert float(loss.detach()) >= math.log(4) - 1e-5
    with torch.no_grad():
        objective.head.weight.zero_()
        objective.head.bias.zero_()
    assert float(objective(OrbitMean(), PairBatch(images(3))).total.detach()) == pytest.approx(math.log(4), abs=1e-6)


def test_c8_leaves_no_trace_of_interpolation_or_corners():
    """White noise looks the same from every side: all eight copies have the same power, where naive copies differ."""
    x = torch.randn(400, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    objective = GroupPrediction("C8")
    power = objective.copies(x)[0].unflatten(0, (400, 8)).square().mean((0, 2, 3, 4))
    assert float((power.max() - power.min()) / power.mean()) < 0.02
    from erlangen.groups.actions import orbit_batch

    naive = orbit_batch(x, "C8")[0].unflatten(0, (400, 8)).square().mean((0, 2, 3, 4))
    assert float((naive.max() - naive.min()) / naive.mean()) > 0.2


def test_c8_neighbours_are_an_eighth_turn_apart():
    yy, xx = torch.meshgrid(torch.linspace(1, -1, 33), torch.linspace(-1, 1, 33), indexing="ij")
    blob = torch.exp(-((xx - 0.5).square() + yy.square()) / 0.02)[None, None]
    copies, _ = GroupPrediction("C8").copies(blob)
    angles = torch.atan2((copies * yy).sum((1, 2, 3)), (copies * xx).sum((1, 2, 3)))
    expected = torch.pi / 8 + torch.arange(8) * torch.pi / 4
    assert torch.cos(angles - expected).min() > 0.999


def test_the_permutations_of_rows_can_be_predicted_too():
    x = torch.rand(3, 3, 2)
    copies, element = GroupPrediction("S3", input="rows").copies(x)
    assert copies.shape == (18, 3, 2) and element.max() == 5
    assert len(copies[:6].flatten(1).unique(dim=0)) == 6


def test_training_lowers_the_loss_and_names_the_accuracy():
    torch.manual_seed(0)
    x = torch.rand(16, 1, 6, 6) * torch.linspace(0, 1, 6)
    objective = objectives.build("rotnet", group="C4")
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 16), torch.nn.ReLU())
    objective.setup(embedding_dim=16)
    optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = objective(encoder, PairBatch(x)).total
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5 * math.log(4)
    assert float(objective.metrics(encoder, PairBatch(x))["element_accuracy"]) > 0.8


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="group: SO\\(2\\) is infinite"):
        GroupPrediction("SO(2)")
    with pytest.raises(ValueError, match="group: S6 has 720 elements"):
        GroupPrediction("S6", input="rows")
    with pytest.raises(ValueError, match="4 x 6 pixels; C4 needs square"):
        GroupPrediction("C4").copies(torch.rand(1, 1, 4, 6))
    assert GroupPrediction("C2").copies(torch.rand(1, 1, 4, 6))[0].shape == (2, 1, 4, 6)


def test_integer_images_are_accepted_and_arguments_are_json():
    import json

    from erlangen.groups import parse

    x = (images() * 255).to(torch.uint8)
    assert GroupPrediction("C4").copies(x)[0].dtype == torch.uint8
    objective = RotationPrediction(parse("D4"))
    assert json.loads(json.dumps(objective.init_arguments)) == {"group": "D4", "input": "image"}
