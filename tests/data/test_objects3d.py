"""Views with known rotations, and pairs whose rotation leads from one to the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data import RotatedObjects, mesh, render
from erlangen.data.objects3d import draw_poses
from erlangen.groups import SO, rotations

BOX = mesh.voxel_mesh(torch.ones(1, 2, 4, dtype=torch.bool)).normalized()
STEPS = mesh.voxel_mesh(torch.tensor([[[1, 1], [1, 0]], [[1, 0], [0, 0]]]).bool()).normalized()


def small(convention: str = "camera", views: int = 4) -> RotatedObjects:
    return RotatedObjects.from_meshes([BOX, STEPS] * 3, views=views, size=8, label=[0, 1] * 3, convention=convention)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["camera", "body"]), st.integers(0, 99))
def test_the_rotation_of_a_pair_leads_from_one_view_to_the_other(convention: str, seed: int) -> None:
    objects = small(convention)
    batch = objects.pairs(torch.arange(24), torch.Generator().manual_seed(seed))
    one = objects.rotation[batch.index]
    two = batch.g @ one if convention == "camera" else one @ batch.g
    for k in range(24):
        shown = render([BOX, STEPS][int(objects.object[k]) % 2], two[k : k + 1], size=8)
        assert float((shown - batch.x2[k]).abs().mean()) < 0.01
    assert bool((batch.x != batch.x2).flatten(1).any(1).all())
    again = objects.pairs(torch.arange(24), torch.Generator().manual_seed(seed))
    assert torch.equal(again.x2, batch.x2)


def test_partners_are_every_other_view_of_the_object_equally_often() -> None:
    objects = small()
    batch = objects.pairs(torch.full((3000,), 9), torch.Generator().manual_seed(0))
    share = torch.stack([(batch.x2 == objects.tensors()[0][k]).flatten(1).all(1).float().mean() for k in range(24)])
    assert set(share.nonzero()[:, 0].tolist()) == {8, 10, 11}
    assert float((share[[8, 10, 11]] - 1 / 3).abs().max()) < 0.05


def test_objects_are_held_out_whole_and_parts_keep_their_rotations() -> None:
    objects = RotatedObjects.from_meshes([BOX] * 10, views=3, size=4, label=[0] * 5 + [1] * 5)
    assert not set(objects.train.object.tolist()) & set(objects.test.object.tolist())
    assert len(objects.train) == 24 and isinstance(objects.test, RotatedObjects)
    torch.testing.assert_close(objects.train.rotation, objects.rotation[objects.splits["train"]])
    other = RotatedObjects(objects.x, rotation=objects.rotation, object=objects.object, convention="body", splits={})
    assert other.fingerprint() != objects.fingerprint()
    lonely = objects.subset([0])
    assert torch.allclose(lonely.pairs([0], torch.Generator()).g, torch.eye(3), atol=1e-6)


def test_poses_are_uniform_or_within_a_right_angle() -> None:
    uniform = draw_poses(4000, "uniform", 0)
    assert float(uniform.mean(0).abs().max()) < 0.05  # the Haar mean of a rotation matrix is 0
    assert bool(SO(3).contains(uniform).all())
    euler = rotations.to_euler(draw_poses(500, "euler", 0), "xyz")
    assert float(euler.abs().max()) <= torch.pi / 2 + 1e-4


def test_real_shapes_are_rendered_once(data_root: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = {"objects": 1, "test_objects": 1, "views": 2, "size": 8}
    first = RotatedObjects.load("modelnet10", **arguments)
    files = list(tmp_path.rglob("*.npz"))
    assert len(files) == 1 and len(first) == 40 and first.num_classes == 10 and len(first.test) == 20
    monkeypatch.setattr("erlangen.data.renderer.render", None)  # a second rendering would fail
    second = RotatedObjects.load("modelnet10", **arguments)
    assert second.fingerprint() == first.fingerprint() and torch.equal(second.rotation, first.rotation)


def test_bad_input_is_named() -> None:
    x = torch.rand(2, 1, 4, 4)
    with pytest.raises(ValueError, match="number 1 is no rotation"):
        RotatedObjects(x, rotation=torch.stack([torch.eye(3), -torch.eye(3)]), object=[0, 0])
    with pytest.raises(ValueError, match="rotation, object"):
        RotatedObjects(x, rotation=torch.eye(3)[None], object=[0])
    with pytest.raises(ValueError, match="views"):
        RotatedObjects.from_meshes([BOX], views=1)
