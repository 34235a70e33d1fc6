"""Blocked search equals brute force and scikit-learn; NaN is an error."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from erlangen.stats import knn, knn_classify


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 10), metric=st.sampled_from(["cosine", "euclidean"]))
def test_neighbours_are_those_of_scikit_learn(seed: int, k: int, metric: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    bank = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    query = torch.randn(15, 6, generator=generator, dtype=torch.float64)
    _, rows = knn(query, bank, k, metric=metric, block_bytes=1000)  # type: ignore[arg-type]
    expected = NearestNeighbors(n_neighbors=k, metric=metric).fit(bank.numpy()).kneighbors(query.numpy())[1]
    assert rows.tolist() == expected.tolist()


def test_a_point_is_not_its_own_neighbour_when_excluded() -> None:
    x = torch.randn(30, 4)
    _, rows = knn(x, x, 29, exclude=torch.arange(30))
    assert not (rows == torch.arange(30).unsqueeze(1)).any()
    assert (knn(x, x, 1)[1].squeeze(1) == torch.arange(30)).all()


def test_separated_clusters_are_classified_and_bad_input_is_named() -> None:
    label = torch.arange(60) % 3
    x = torch.eye(3)[label] + 0.01 * torch.randn(60, 3)
    assert (knn_classify(x, x, label, 3, exclude=torch.arange(60)) == label).all()
    with pytest.raises(ValueError, match="NaN"):
        knn(torch.full((1, 3), torch.nan), x, 1)
    with pytest.raises(ValueError, match="k: 61"):
        knn(x, x, 61)
