"""Class registries on disk, and the compatibility matrix against counting by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.deploy.compat import (
    ClassRegistry,
    average_compatibility,
    average_metric,
    compatibility_matrix,
    pairwise_compatibility,
)


def test_labels_keep_their_vertices_over_files_and_updates(tmp_path):
    first = ClassRegistry(5, ["cat", "dog"])
    file = first.save(tmp_path / "classes.json")
    later = ClassRegistry.open(file)
    assert later == first
    assert later.add(["fox", "cat", "cow"]).tolist() == [2, 0, 3]
    assert later.index(["dog", "cow"]).tolist() == [1, 3] and later.label_of(2) == "fox" and "cow" in later
    later.save(file)
    assert ClassRegistry.open(file).labels == ("cat", "dog", "fox", "cow")
    with pytest.raises(ValueError, match="other classes or another order"):
        ClassRegistry(5, ["dog", "cat"]).save(file)
    assert ClassRegistry.open(file) == later


def test_bad_registries_are_named(tmp_path):
    registry = ClassRegistry(3, ["cat", "dog"])
    with pytest.raises(ValueError, match="2 new ones beside 2 would make 4 classes, and there are 3"):
        registry.add(["fox", "cow"])
    assert len(registry) == 2
    with pytest.raises(ValueError, match="'dgo' is not in the registry of 2 classes; nearest are 'dog'"):
        registry.index(["dgo"])
    with pytest.raises(TypeError, match="True is a bool"):
        registry.add([True])
    with pytest.raises(ValueError, match="vertex: 2"):
        registry.label_of(2)
    with pytest.raises(ValueError, match="comes twice"):
        ClassRegistry(3, ["a", "a"])
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match="not a class registry"):
        ClassRegistry.open(tmp_path / "x.json")


@given(st.lists(st.one_of(st.text(max_size=5), st.integers(-9, 9)), unique=True, max_size=8))
def test_index_and_label_are_inverse(labels):
    registry = ClassRegistry(10, labels)
    assert [registry.label_of(int(v)) for v in registry.index(labels)] == labels


def embedded(seed, noise, d=4, classes=3, n=30):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % classes
    x = torch.eye(d)[label] + noise * torch.randn(n, d, generator=generator)
    return x, label


def test_the_matrix_counts_like_a_loop():
    gallery, query = embedded(0, 0.6), embedded(1, 0.6)
    q = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2))).Q
    models = [lambda x: x, lambda x: x @ q, lambda x: x**3]
    matrix = compatibility_matrix(models, gallery, query)
    for i in range(3):
        assert torch.isnan(matrix[i, i + 1 :]).all()
        for j in range(i + 1):
            centres = []
            for c in range(3):
                rows = models[j](gallery[0])[gallery[1] == c]
                mean = sum(r / r.norm() for r in rows) / len(rows)
                centres.append(mean / mean.norm())
            right = sum(
                int(max(range(3), key=lambda c, v=v: float(v @ centres[c])) == int(y))
                for v, y in zip(models[i](query[0]), query[1], strict=True)
            )
            assert float(matrix[i, j]) == pytest.approx(right / 30)
    near = compatibility_matrix(models[:1], gallery, gallery, metric="nearest")
    assert float(near[0, 0]) == 1.0


def test_a_model_that_does_not_change_is_not_compatible_and_a_better_one_is():
    gallery, query = embedded(0, 0.5), embedded(1, 0.5)
    same = compatibility_matrix([lambda x: x] * 3, gallery, query)
    assert average_compatibility(same) == 0.0  # the inequality is strict
    better = torch.tensor([[0.4, math.nan, math.nan], [0.5, 0.6, math.nan], [0.5, 0.7, 0.8]], dtype=torch.float64)
    assert average_compatibility(better) == 1.0
    assert average_metric(better) == pytest.approx((0.4 + 0.5 + 0.6 + 0.5 + 0.7 + 0.8) / 6)
    better[2, 1] = 0.6
    assert average_compatibility(better) == pytest.approx(2 / 3)


def test_the_definition_holds_for_a_model_that_pulls_towards_its_old_centres():
    old, label = embedded(0, 0.4)
    centres = torch.stack([old[label == c].mean(0) for c in range(3)])
    same, other = pairwise_compatibility(old, old, label)
    assert same == 1.0 and other == 1.0
    same, _ = pairwise_compatibility(centres[label], old, label)
    turned, _ = pairwise_compatibility(old.roll(1, 1), old, label)
    assert same > 0.5 > turned


def test_bad_matrices_are_named():
    gallery = embedded(0, 0.1)
    with pytest.raises(ValueError, match="4, 2 dimensions"):
        compatibility_matrix([lambda x: x, lambda x: x[:, :2]], gallery, gallery)
    with pytest.raises(ValueError, match=r"models\[0\]: 120 of 120 values"):
        compatibility_matrix([lambda x: x / 0 * 0], gallery, gallery)
    with pytest.raises(ValueError, match="none given"):
        compatibility_matrix([], gallery, gallery)
    with pytest.raises(ValueError, match="two models"):
        average_compatibility(torch.ones(1, 1, dtype=torch.float64))
