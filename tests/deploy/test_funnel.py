"""The funnel against exact search, its promises on recall, and what it refuses."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.deploy import ExactIndex, FunnelSearch, Index, truncate
from erlangen.deploy.funnel import SAMPLE, best_rows

METRICS = ("cosine", "ip", "l2")
seeds = st.integers(0, 99)


def spectrum(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    """Vectors whose first components say most, as those of a trained prefix embedding or a PCA do."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) * (1 + torch.arange(dim)) ** -0.75


def exact_index(vectors: torch.Tensor, **options: Any) -> ExactIndex:
    index = Index.build(vectors, **options)
    assert isinstance(index, ExactIndex)
    return index


@given(metric=st.sampled_from(METRICS), storage=st.sampled_from(["float32", "float16", "int8"]), seed=seeds)
@pytest.mark.parametrize("shortlist", [200, 10_000])
def test_with_a_shortlist_of_everything_the_funnel_is_the_exact_search(
    shortlist: int, metric: str, storage: str, seed: int
) -> None:
    index = exact_index(spectrum(200, 12, seed), metric=metric, storage=storage)
    query = spectrum(5, 12, seed + 1)
    for dims in ([3, 12], [2, 5, 9]):
        for a, b in zip(
            FunnelSearch(index, dims, shortlist).search(query, 9), index.search(query, 9, dim=dims[-1]), strict=True
        ):
            assert torch.equal(a, b)


@given(metric=st.sampled_from(METRICS), seed=seeds)
def test_every_stage_is_that_of_a_plain_funnel_in_float64(metric: str, seed: int) -> None:
    vectors, query, dims, shortlist = spectrum(300, 16, seed), spectrum(4, 16, seed + 1), [4, 8, 16], [60, 20]
    index = exact_index(vectors, metric=metric)
    found = FunnelSearch(index, dims, shortlist).search(query, 7)
    x, q = vectors.double(), query.double()
    for row in range(4):
        chosen = torch.arange(300)
        for dim, many in zip(dims, [*shortlist, 7], strict=True):
            a, b = q[row, :dim], x[chosen, :dim]
            if metric == "l2":
                score = -(a - b).square().sum(1)
            else:
                score = b @ a
                score = score / b.norm(dim=1) / a.norm() if metric == "cosine" else score
            chosen = chosen[score.argsort(descending=True, stable=True)[:many]]
        assert torch.equal(found.ids[row], chosen)


def test_recall_never_falls_as_the_shortlist_grows() -> None:
    index, query = exact_index(spectrum(3000, 32)), spectrum(50, 32, 1)
    recalls = [FunnelSearch(index, [4, 32], s).recall_against(index, query, 10) for s in (10, 30, 100, 300, 3000)]
    assert recalls == sorted(recalls) and recalls[0] < 0.9 < recalls[-2] and recalls[-1] == 1.0


def test_a_gallery_of_many_blocks_is_searched_at_a_tenth_of_the_operations_without_loss() -> None:
    index, query = exact_index(spectrum(12_000, 128)), spectrum(30, 128, 1)
    funnel = FunnelSearch(index, [8, 32, 128], [150, 40])
    steps = funnel.multiply_adds()
    assert steps == {"funnel": 12_000 * 8 + 150 * 32 + 40 * 128, "exact": 12_000 * 128}
    assert steps["exact"] > 10 * steps["funnel"]
    assert funnel.recall_against(index, query, 10) > 0.95


@pytest.mark.parametrize("kind", ["distinct", "few values", "all equal", "ascending"])
def test_the_best_rows_of_many_are_those_of_a_stable_sort(kind: str) -> None:
    count, many, generator = 5 * SAMPLE + 13, 40, torch.Generator().manual_seed(0)
    table = torch.randn(count, 2, generator=generator)
    if kind == "few values":
        table = table.round()
    if kind == "all equal":
        table = torch.ones(count, 2)
    if kind == "ascending":
        table = torch.arange(count).float()[:, None].repeat(1, 2)
    query = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    truth = (query @ table.T).sort(dim=1, descending=True, stable=True).indices[:, :many].sort(dim=1).values
    assert torch.equal(best_rows(query, table, many), truth)


@given(seed=seeds)
def test_a_filter_gives_what_a_funnel_over_the_allowed_gives(seed: int) -> None:
    vectors, query = spectrum(200, 8, seed), spectrum(4, 8, seed + 1)
    allowed = torch.randperm(200, generator=torch.Generator().manual_seed(seed))[:70]
    part = FunnelSearch(exact_index(vectors[allowed], ids=allowed), [2, 8], 30).search(query, 6)
    whole = FunnelSearch(exact_index(vectors), [2, 8], 30).search(query, 6, filter=allowed)
    assert torch.equal(part.ids, whole.ids)


def test_what_is_added_and_removed_is_seen() -> None:
    vectors = spectrum(300, 8)
    index = exact_index(vectors)
    funnel = FunnelSearch(index, [2, 8], 50)
    assert int(funnel.search(vectors[17], 1).ids) == 17
    index.remove([17])
    assert int(funnel.search(vectors[17], 1).ids) != 17
    index.add(vectors[17:18], [900])
    assert int(funnel.search(vectors[17], 1).ids) == 900


@given(seed=seeds, dim=st.integers(1, 6))
def test_truncation_gives_unit_prefixes_whose_products_are_the_scores_of_a_prefix_search(seed: int, dim: int) -> None:
    vectors, query = spectrum(20, 6, seed), spectrum(3, 6, seed + 1)
    short = truncate(query, dim) @ truncate(vectors, dim).T
    found = Index.build(vectors).search(query, 20, dim=dim)
    torch.testing.assert_close(short.gather(1, found.ids), found.scores, atol=1e-5, rtol=1e-5)
    assert torch.equal(truncate(vectors, dim, normalize=False), vectors[:, :dim])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda i: FunnelSearch(i, [8, 2]), ValueError, "dims: at least two ascending"),
        (lambda i: FunnelSearch(i, [8]), ValueError, "dims: at least two ascending"),
        (lambda i: FunnelSearch(i, [2, 2, 8]), ValueError, "dims: at least two ascending"),
        (lambda i: FunnelSearch(i, [2, 9]), ValueError, "dims: must be between 1 and 8, got 9"),
        (lambda i: FunnelSearch(i, [0, 8]), ValueError, "dims: must be a whole number of at least 1"),
        (lambda i: FunnelSearch(i, [2, 8], 0), ValueError, "shortlist: must be a whole number of at least 1"),
        (lambda i: FunnelSearch(i, [2, 4, 8], [10, 20]), ValueError, "shortlist: 2 numbers that do not ascend"),
        (lambda i: FunnelSearch(i, [2, 8], 10).search(spectrum(1, 8), 11), ValueError, "k: 11 is more than the last"),
        (lambda i: FunnelSearch(i, [2, 8], 10).search(spectrum(1, 7), 3), ValueError, "q: 7 dimensions"),
        (lambda i: FunnelSearch(i, [2, 8], 10).search(torch.eye(8)[7:], 3), ValueError, "z: the first 2 components"),
        (lambda i: truncate(torch.zeros(2, 3), 2), ValueError, "z: the first 2 components of row 0 are zero"),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(exact_index(spectrum(50, 8)))
