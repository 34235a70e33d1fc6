"""Every recipe that ships runs in its smallest budget, without data files, and measures what it claims."""

import math
from pathlib import Path

import pytest
import torch

from erlangen._registry import recipes
from erlangen.recipes.catalogue import SHIPPED
from erlangen.recipes.frame_averaging import FixedAverage, PointNet
from erlangen.recipes.image_probe import images
from erlangen.recipes.point_shapes import clouds, random_rotations, solids
from erlangen.recipes.reproduce import reproduce
from erlangen.recipes.table import claims_page, read_results
from erlangen.recipes.vicreg import CropViews

RESULTS = Path(__file__).parents[2] / "results"


def test_catalogue_registers_what_it_lists():
    assert set(SHIPPED) <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_smoke(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    before = torch.get_rng_state()
    (record,) = reproduce([name], budget="smoke", results=tmp_path / "results")
    assert torch.equal(torch.get_rng_state(), before)
    assert any(claim["control"] for claim in record["claims"])
    assert all(math.isfinite(value) for value in record["seeds"]["0"]["numbers"].values())
    assert {claim["outcome"] for claim in record["claims"]} == {"undecided"}
    assert record["title"] in claims_page([record])


def test_stored_results_agree_with_their_claims():
    for record in read_results(RESULTS):
        claims = {claim.text: claim for claim in recipes.get(record["name"]).claims}
        runs = record["seeds"].values()
        measured = {name: [run["numbers"][name] for run in runs] for name in record["measured"]}
        for stored in record["claims"]:
            if stored["text"] in claims:
                assert stored["outcome"] == claims[stored["text"]].outcome(measured)


def test_the_stored_page_is_what_the_stored_results_say():
    page, records = RESULTS.parent / "docs" / "claims.md", read_results(RESULTS)
    if records:
        mark = " — stale: the code has changed since"
        assert page.read_text(encoding="utf-8").replace(mark, "") == claims_page(records).replace(mark, "")


def test_crop_views_depend_on_the_generator_alone_and_keep_constants():
    x = torch.rand(4, 3, 16, 16)
    views = CropViews()
    first, second = (views(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], first[1])
    flat = CropViews()(torch.full((4, 3, 16, 16), 0.5), torch.Generator().manual_seed(1))[0]
    assert flat.flatten(2).std(-1).max() < 1e-5


def test_unrelated_views_show_another_image():
    x = torch.zeros(3, 1, 8, 8)
    x[0] = 100.0
    first, second, _ = CropViews(unrelated=True)(x, torch.Generator().manual_seed(0))
    assert first.mean((1, 2, 3)).argmax() == 0
    assert second.mean((1, 2, 3)).argmax() == 1


def test_clouds_are_centred_scaled_and_apart():
    shapes = clouds("smoke", 0)
    x = torch.cat([shapes.train, shapes.test])
    assert x.mean(1).abs().max() < 1e-5
    assert (x.square().sum(-1).mean(-1) - 1).abs().max() < 1e-5
    assert not torch.equal(
        solids(8, torch.Generator().manual_seed(0))[0], solids(8, torch.Generator().manual_seed(1))[0]
    )


def test_modelnet_clouds(data_root, monkeypatch):
    monkeypatch.setenv("ERLANGEN_DATA", data_root)
    shapes = clouds("laptop", 0)
    assert shapes.train.shape == (1_000, 64, 3)
    assert shapes.test.shape == (400, 64, 3)
    assert set(shapes.test_label.tolist()) == set(range(10))


def test_missing_shapes_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ERLANGEN_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="modelnet10_voxels"):
        clouds("laptop", 0)


def test_cifar_is_cut_to_the_budget(data_root, monkeypatch):
    monkeypatch.setenv("ERLANGEN_DATA", data_root)
    pictures = images("laptop")
    assert len(pictures.train) == 3_000
    assert len(pictures.test) == 1_000
    assert pictures.sample_shape == (3, 16, 16)


def test_rotations_are_rotations():
    turns = random_rotations(20, torch.Generator().manual_seed(0)).double()
    assert (turns @ turns.mT - torch.eye(3)).abs().max() < 1e-6
    assert torch.linalg.det(turns).min() > 0.99


def test_a_fixed_average_is_not_invariant_and_the_point_net_ignores_the_order():
    x = torch.randn(4, 32, 3)
    turn = random_rotations(1, torch.Generator().manual_seed(1))[0]
    torch.manual_seed(0)
    net = PointNet(5)
    averaged = FixedAverage(net, 0)
    assert (averaged(x @ turn.mT) - averaged(x)).abs().max() > 1e-3
    assert torch.allclose(net(x), net(x[:, torch.randperm(32)]), atol=1e-6)
