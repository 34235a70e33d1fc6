"""Objects in coloured light: the image says the hues, pairs say how they changed, and SIE can be told."""

import pytest
import torch
from torch import nn

from erlangen import objectives, train
from erlangen.data import TintedObjects
from erlangen.data.mesh import voxel_mesh
from erlangen.data.tinted_objects import FLOOR, hue_color


@pytest.fixture(scope="module")
def boxes():
    meshes = [
        voxel_mesh(torch.ones(*sides, dtype=torch.bool)).smoothed(0).normalized()
        for sides in ((1, 1, 4), (2, 2, 1), (1, 2, 3), (1, 1, 2))
    ]
    return TintedObjects.from_meshes(meshes, views=6, size=12, label=[0, 1, 0, 1], seed=3)


def test_hues_are_the_colour_circle():
    shown = hue_color(torch.tensor([0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0]))
    wanted = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]]
    torch.testing.assert_close(shown, torch.tensor(wanted).float(), rtol=0, atol=1e-5)


def test_the_image_has_the_light_on_the_object_and_the_floor_around_it(boxes):
    x = boxes.tensors()[0]
    assert boxes.sample_shape == (3, 12, 12)
    corner = x[:, :, 0, 0]
    torch.testing.assert_close(corner, FLOOR * hue_color(boxes.floor))
    for image, light, floor in zip(x, boxes.light, boxes.floor, strict=True):
        on_object = (image - FLOOR * hue_color(floor[None])[0][:, None, None]).abs().amax(0) > 1e-5
        assert bool(on_object.any())
        pixels = image[:, on_object]
        brightest = pixels[:, pixels.amax(0).argmax()]
        torch.testing.assert_close(brightest / brightest.max(), hue_color(light[None])[0], rtol=0, atol=1e-4)


def test_pairs_carry_the_rotation_and_the_change_of_hues_in_every_part(boxes):
    for part in (boxes, boxes.train, boxes.test):
        batch = part.pairs(torch.arange(len(part)), torch.Generator().manual_seed(0))
        rotation, hues = batch.g
        seen = [(part.tensors()[0] == x).flatten(1).all(1).nonzero()[0, 0] for x in batch.x2]
        second = torch.stack(seen)
        assert torch.equal(part.object[second], part.object[batch.index])
        torch.testing.assert_close(rotation, part.rotation[second] @ part.rotation[batch.index].mT)
        torch.testing.assert_close(hues[:, 0], part.light[second] - part.light[batch.index])
        torch.testing.assert_close(hues[:, 1], part.floor[second] - part.floor[batch.index])
    same = boxes.subset(torch.arange(len(boxes)))
    same.floor = same.floor.flip(0)
    assert same.fingerprint() != boxes.subset(torch.arange(len(boxes))).fingerprint()


@pytest.mark.parametrize("predictor", ["hyper", "mlp"])
def test_sie_is_told_rotation_and_hues(boxes, predictor, tmp_path):
    objective = objectives.SIE(group="SO(3)", code="quat", extra=2, width=16, predictor=predictor)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(432, 8))
    encoder.embedding_dim = 8
    run = train.fit(
        encoder, boxes, objective=objective, epochs=2, batch_size=6, val_fraction=0.0, quiet=True, symmetry=None
    )
    batch = boxes.pairs(torch.arange(8), torch.Generator().manual_seed(0))
    code = run.objective.encode(batch.g)
    assert code.shape == (8, 6) and torch.equal(code[:, 4:], batch.g[1])
    moved = (batch.g[0], batch.g[1] + 0.5)
    z = torch.randn(8, run.objective.projector.out_dims[1])
    assert not torch.allclose(run.objective.predict_second(z, batch.g), run.objective.predict_second(z, moved))
    assert torch.isfinite(torch.tensor(run.history[-1]["train/loss"]))


def test_bad_input_is_named(boxes):
    objective = objectives.SIE(group="SO(3)", extra=2)
    for g in (boxes.rotation[:4], (boxes.rotation[:4], torch.zeros(4, 3)), (boxes.rotation[:4], None)):
        with pytest.raises(ValueError, match="g: with extra=2"):
            objective.encode(g)
    with pytest.raises(ValueError, match="extra: -1"):
        objectives.SIE(extra=-1)
    with pytest.raises(ValueError, match="light, floor"):
        TintedObjects(boxes.x, light=boxes.light, rotation=boxes.rotation, object=boxes.object)
    with pytest.raises(ValueError, match="grey images"):
        TintedObjects(boxes.x, rotation=boxes.rotation, object=boxes.object)
