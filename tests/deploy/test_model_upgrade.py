"""What an upgrade of the model measures, when it is refused, and that the old vectors stay as they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.deploy import Index, SpaceInfo, UpgradeReport, VersionedGallery, measure_upgrade, upgrade

OLD, NEW, NEWER = SpaceInfo("old", 8), SpaceInfo("new", 8), SpaceInfo("newer", 8)


def sample(count: int = 400, noise: float = 0.3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight classes around the corners of a simplex."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 8
    return torch.eye(8)[labels] + noise * torch.randn(count, 8, generator=generator), labels


def rotation(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q.float()


@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_a_turned_space_needs_the_orthogonal_link_and_loses_nothing_through_it(seed: int) -> None:
    old, labels = sample(noise=0.1)
    turn = rotation(seed)
    report = measure_upgrade(old, old @ turn.T, labels, link="orthogonal")
    assert report.compatible and report.crossed == report.old == report.new and report.moved == (0.0, 0.0, 0.0)
    torch.testing.assert_close(report.matrix, turn.T, atol=1e-4, rtol=1e-3)


def test_models_trained_to_be_compatible_are_linked_by_nothing() -> None:
    (old, labels), (new, _) = sample(noise=0.5), sample(noise=0.25, seed=1)
    report = measure_upgrade(old, new, labels)
    assert report.link == "identity" and report.matrix is None and report.compatible
    difference, low, high = report.moved
    assert low <= difference <= high and difference == pytest.approx(report.crossed - report.old) and difference > 0


def test_spaces_that_have_nothing_to_do_with_each_other_are_refused_with_the_way_out() -> None:
    old, labels = sample(noise=0.2)
    new = torch.randn(400, 8, generator=torch.Generator().manual_seed(3))
    report = measure_upgrade(old, new, labels)
    assert not report.compatible and report.crossed < 0.4 < 0.8 < report.old
    assert set(report.tried) == {"identity", "orthogonal"}
    with pytest.raises(ValueError, match=r"embed the gallery anew .*, fit a link on more pairs, or allow a larger"):
        upgrade(Index.build(old, space=OLD), report, old=OLD, new=NEW)


def test_the_old_vectors_stay_bit_for_bit_and_answer_the_new_model() -> None:
    old, labels = sample()
    turn = rotation(4)
    index = Index.build(old, space=OLD)
    report = measure_upgrade(old, old @ turn.T, labels, link="orthogonal")
    gallery = upgrade(index, report, old=OLD, new=NEW)
    found = gallery.search(old[:50] @ turn.T, 1, space=NEW)
    assert torch.equal(found.ids[:, 0], torch.arange(50))
    assert torch.equal(gallery.search(old, 5, space=OLD).ids, index.search(old, 5).ids)
    assert torch.equal(gallery._indexes["old"].store.data, index.store.data)


def test_a_second_upgrade_reaches_the_first_vectors_through_both_links(tmp_path) -> None:
    old, labels = sample(noise=0.1)
    one, two = rotation(5), rotation(6)
    new, newer = old @ one.T, old @ one.T @ two.T
    gallery = upgrade(
        Index.build(old[:200], space=OLD), measure_upgrade(old, new, labels, link="orthogonal"), old=OLD, new=NEW
    )
    gallery.add(new[200:], torch.arange(200, 400), space=NEW)
    gallery = upgrade(gallery, measure_upgrade(new, newer, labels, link="orthogonal"), old=NEW, new=NEWER)
    gallery.save(tmp_path / "g")
    found = VersionedGallery.open(tmp_path / "g").search(newer[::25], 1, space=NEWER)
    assert found.ids.flatten().tolist() == list(range(0, 400, 25))


def test_spaces_of_different_size_are_linked_by_an_isometry() -> None:
    old, labels = sample(noise=0.1)
    new = torch.cat([old, torch.zeros(400, 3)], 1)
    report = measure_upgrade(old, new, labels)
    assert report.link == "orthogonal" and report.matrix is not None and report.matrix.shape == (8, 11)
    assert report.compatible


def test_samples_without_a_label_are_left_out() -> None:
    old, labels = sample()
    labels[::2] = -1
    assert measure_upgrade(old, old, labels).queries == 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"link": "affine"}, "link: unknown 'affine'"),
        ({"tolerance": 1.5}, "tolerance: 1.5"),
        ({"labels": torch.zeros(400, dtype=torch.int64)}, "labels: one class"),
        ({"labels": torch.arange(399)}, "old, new, labels: 400, 400 and 399 rows"),
        ({"labels": torch.full((400,), -1)}, "labels: 0 labelled samples"),
        ({"new": torch.zeros(400, 8)}, "new: row 0 is zero"),
        ({"new": torch.full((400, 8), torch.nan)}, "new: row 0 holds NaN"),
        ({"new": torch.ones(400, 9), "link": "identity"}, "link: 'identity' between 9 and 8 dimensions"),
    ],
)
def test_bad_input_is_refused_by_name(change, words) -> None:
    change = dict(change)
    old, labels = sample()
    new, labels = change.pop("new", old), change.pop("labels", labels)
    with pytest.raises(ValueError, match=words):
        measure_upgrade(old, new, labels, **change)


def test_an_upgrade_of_a_model_the_gallery_does_not_hold_is_refused() -> None:
    report = UpgradeReport("identity", 0.5, 0.5, 0.5, (0.0, 0.0, 0.0), 0.0, 10, {})
    with pytest.raises(ValueError, match="old: the gallery holds no vectors of model 'newer'; it holds those of 'old'"):
        upgrade(Index.build(torch.eye(8), space=OLD), report, old=NEWER, new=NEW)
