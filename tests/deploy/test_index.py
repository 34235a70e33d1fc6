"""What every engine promises, against brute force in float64 and scikit-learn."""

import itertools
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from postgres import server
from sklearn.neighbors import NearestNeighbors

from erlangen.deploy import ExactIndex, Index, SpaceInfo
from erlangen.deploy.exact import ROW_BLOCK

FILED = ("exact", "faiss", "usearch")
METRICS = ("cosine", "ip", "l2")
TABLES = itertools.count()


def among(names: tuple[str, ...]) -> pytest.MarkDecorator:
    missing = {n for n in names if n in ("faiss", "usearch") and find_spec(n) is None}
    marks = {n: pytest.mark.skipif(n in missing, reason=f"the extra erlangen[{n}] is not installed") for n in names}
    return pytest.mark.parametrize("engine", [pytest.param(name, marks=marks[name]) for name in names])


engines, filed = among((*FILED, "pgvector")), among(FILED)


def build(vectors: Any, ids: Any = None, *, engine: str, **options: Any) -> Index:
    """An index; on the server each in a table of its own."""
    if engine == "pgvector":
        options |= {"dsn": server(), "table": f"contract {next(TABLES) % 4}", "replace": True}
    return Index.build(vectors, ids, engine=engine, **options)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def brute(vectors: torch.Tensor, query: torch.Tensor, metric: str) -> np.ndarray:
    x, q = vectors.double().numpy(), query.double().numpy()
    if metric == "l2":
        return -((q[:, None] - x[None]) ** 2).sum(-1)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
    return q @ x.T


sizes = (st.integers(1, 60), st.integers(1, 12), st.integers(1, 70), st.integers(0, 99))
cases = st.tuples(
    st.sampled_from(METRICS), st.integers(1, 60), st.integers(1, 12), st.integers(1, 70), st.integers(0, 99)
)


@engines
@given(case=cases)
def test_scores_are_those_of_brute_force_and_places_beyond_the_end_are_marked(engine: str, case: Any) -> None:
    metric, count, dim, k, seed = case
    vectors, query = gaussian(count, dim, seed=seed), gaussian(3, dim, seed=seed + 1)
    found = build(vectors, engine=engine, metric=metric).search(query, k)
    truth = -np.sort(-brute(vectors, query, metric), axis=1)[:, :k]
    filled = min(k, count)
    assert found.ids.shape == found.scores.shape == found.mask.shape == (3, k)
    assert bool(found.mask[:, :filled].all()) and not bool(found.mask[:, filled:].any())
    assert bool((found.ids[:, filled:] == -1).all())
    np.testing.assert_allclose(found.scores[:, :filled].numpy(), truth, rtol=1e-4, atol=1e-4)
    own = np.take_along_axis(brute(vectors, query, metric), found.ids[:, :filled].numpy(), 1)
    np.testing.assert_allclose(own, truth, rtol=1e-4, atol=1e-4)
    assert bool((found.scores[:, :filled].diff(dim=1) <= 0).all())


@engines
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_neighbours_are_those_of_scikit_learn(engine: str, metric: str) -> None:
    vectors, query = gaussian(700, 16), gaussian(20, 16, seed=1)
    name = "cosine" if metric == "cosine" else "euclidean"
    there = NearestNeighbors(n_neighbors=7, metric=name, algorithm="brute").fit(vectors).kneighbors(query)[1]
    assert (build(vectors, engine=engine, metric=metric).search(query, 7).ids.numpy() == there).all()


@engines
@given(seed=st.integers(0, 99), metric=st.sampled_from(METRICS))
def test_the_order_of_insertion_does_not_matter(engine: str, seed: int, metric: str) -> None:
    vectors, query = gaussian(50, 6, seed=seed), gaussian(4, 6, seed=seed + 1)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    straight = build(vectors, engine=engine, metric=metric)
    shuffled = build(vectors[order[:20]], order[:20], engine=engine, metric=metric)
    shuffled.add(vectors[order[20:]], order[20:])
    for a, b in zip(straight.search(query, 9), shuffled.search(query, 9), strict=True):
        assert torch.equal(a, b)


@given(seed=st.integers(0, 99), k=st.integers(1, 40), metric=st.sampled_from(("ip", "l2")))
def test_ties_go_to_the_smallest_id(seed: int, k: int, metric: str) -> None:
    vectors = torch.randint(-1, 2, (300, 3), generator=torch.Generator().manual_seed(seed)).float()
    query = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    found = Index.build(vectors, engine="exact", metric=metric).search(query, k)
    score = brute(vectors, query, metric)
    truth = np.stack([np.lexsort((np.arange(300), -row))[:k] for row in score])
    assert (found.ids.numpy() == truth).all()


def test_duplicates_far_apart_tie_exactly_under_cosine() -> None:
    vectors = gaussian(2 * ROW_BLOCK + 77, 24)
    copies = torch.tensor([3, 900, ROW_BLOCK + 1, 2 * ROW_BLOCK + 70])
    vectors[copies] = vectors[3].clone()
    found = ExactIndex.build(vectors).search(vectors[3], 4)
    assert torch.equal(found.ids, copies) and bool((found.scores == found.scores[0]).all())


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@given(seed=st.integers(0, 99), dim=st.integers(2, 10), metric=st.sampled_from(METRICS))
def test_a_prefix_search_is_the_search_over_prefixes_of_what_is_stored(
    storage: str, seed: int, dim: int, metric: str
) -> None:
    vectors, query = gaussian(80, 10, seed=seed), gaussian(5, 10, seed=seed + 1)
    index = Index.build(vectors, metric=metric, storage=storage)
    stored = index.store.rows(slice(None), 10)
    assume(metric != "cosine" or bool((stored[:, :dim] != 0).any(dim=1).all()))  # a zero prefix has no direction
    found = index.search(query, 6, dim=dim)
    if metric == "cosine":
        query = query / query.norm(dim=1, keepdim=True)
    truth = -np.sort(-brute(stored[:, :dim], query[:, :dim], metric), axis=1)[:, :6]
    np.testing.assert_allclose(found.scores.numpy(), truth, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 99))
def test_squared_distance_of_unit_vectors_is_two_minus_two_cosines(seed: int) -> None:
    vectors = torch.nn.functional.normalize(gaussian(40, 5, seed=seed))
    query = torch.nn.functional.normalize(gaussian(3, 5, seed=seed + 1))
    far, near = (Index.build(vectors, metric=m).search(query, 40).scores for m in ("l2", "cosine"))
    torch.testing.assert_close(-far, 2 - 2 * near, rtol=1e-4, atol=1e-5)


@among(("exact", "faiss", "pgvector"))
@given(seed=st.integers(0, 99))
def test_a_filter_gives_what_an_index_of_the_allowed_gives(engine: str, seed: int) -> None:
    vectors, query = gaussian(60, 5, seed=seed), gaussian(4, 5, seed=seed + 1)
    allowed = torch.randperm(60, generator=torch.Generator().manual_seed(seed))[:11]
    whole = build(vectors, engine=engine)
    found = whole.search(query, 20, filter=allowed)
    other = build(vectors[allowed], allowed, engine=engine).search(query, 20)
    assert torch.equal(found.ids, other.ids) and torch.equal(found.mask, other.mask)
    kept = set(allowed.tolist())
    by_function = whole.search(query, 20, filter=lambda ids: torch.tensor([int(i) in kept for i in ids]))
    assert torch.equal(found.ids, by_function.ids)


@engines
def test_a_removed_id_never_comes_back_until_it_is_added(engine: str) -> None:
    vectors = gaussian(40, 5)
    index = build(vectors, engine=engine)
    index.remove([3, 7])
    assert not bool(torch.isin(index.search(vectors, 40).ids, torch.tensor([3, 7])).any())
    with pytest.raises(ValueError, match="ids: 3 is not in the index"):
        index.remove([1, 3])
    assert len(index) == 38
    index.add(vectors[3:4], [3])
    assert int(index.search(vectors[3], 1).ids) == 3
    with pytest.raises(ValueError, match="ids: 3 is in the index already"):
        index.add(vectors[3:4], [3])


@filed
@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("mmap", [True, False])
def test_a_saved_index_opens_bit_for_bit(engine: str, storage: str, mmap: bool, tmp_path: Path) -> None:
    index = Index.build(gaussian(90, 8), space=SpaceInfo("m", 8, "ip"), engine=engine, storage=storage)
    index.save(tmp_path / "index")
    index.remove([0])
    index.save(tmp_path / "index")
    again = Index.open(tmp_path / "index", mmap=mmap)
    assert type(again) is type(index) and again.space == index.space and torch.equal(again.store.data, index.store.data)
    for a, b in zip(index.search(gaussian(5, 8), 90), again.search(gaussian(5, 8), 90), strict=True):
        assert torch.equal(a, b)
    assert sorted(p.name for p in (tmp_path / "index").iterdir()) == [
        "manifest.json",
        "run.lock",
        "vectors-000002.safetensors",
    ]
    assert not bool(again.search(gaussian(5, 8), 90).mask[:, -1].any())


@engines
@pytest.mark.parametrize(
    ("q", "words"),
    [
        (torch.zeros(2, 9), "q: 9 dimensions, the index holds 8"),
        (torch.full((2, 8), float("nan")), "q: row 0 holds NaN"),
        (torch.zeros(1, 8), "q: row 0 is zero"),
        (torch.zeros(1, 2, 8), r"q: expected shape \[rows, dim\]"),
    ],
)
def test_a_bad_query_is_refused_by_name(engine: str, q: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(gaussian(10, 8), engine=engine).search(q, 3)


def test_spaces_do_not_mix() -> None:
    index = Index.build(gaussian(10, 8), space={"model_id": "a", "dim": 8})
    with pytest.raises(ValueError, match="space: from model 'b', the index holds model 'a'"):
        index.search(gaussian(1, 8), 1, space={"model_id": "b", "dim": 8})
    with pytest.raises(ValueError, match="space: from model 'b'"):
        index.add(gaussian(1, 8), space=SpaceInfo("b", 8))
    with pytest.raises(ValueError, match="vectors: 8 dimensions, the space has 4"):
        Index.build(gaussian(10, 8), space=SpaceInfo("a", 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ids": [1, 1, 2]}, "ids: must be distinct"),
        ({"ids": [1, 2]}, "ids: shape"),
        ({"metric": "cosin"}, "metric: unknown 'cosin'"),
        ({"engine": "fais"}, "engine: unknown 'fais'; did you mean 'faiss'"),
        ({"storage": "int4"}, "storage: unknown 'int4'"),
    ],
)
def test_a_bad_build_is_refused_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Index.build(gaussian(3, 4), **arguments)


@engines
def test_an_empty_index_answers_with_padding(engine: str) -> None:
    index = build(torch.empty(0, 4), engine=engine)
    found = index.search(gaussian(2, 4), 3)
    assert bool((found.ids == -1).all()) and not bool(found.mask.any())
    index.add(gaussian(5, 4))
    assert bool(index.search(gaussian(2, 4), 3).mask.all())


def test_faiss_says_what_it_cannot_do_and_how_much_it_finds() -> None:
    vectors, query = gaussian(500, 16), gaussian(30, 16, seed=1)
    graph, exact = Index.build(vectors, engine="faiss", factory="HNSW16"), Index.build(vectors)
    assert 0.7 < graph.recall_against(exact, query, 5) <= 1.0
    assert Index.build(vectors, engine="faiss").recall_against(exact, query, 5) == 1.0
    with pytest.raises(ValueError, match="dim: the faiss engine"):
        graph.search(query, 3, dim=4)
    with pytest.raises(ValueError, match="factory: faiss cannot build 'nonsense'"):
        Index.build(vectors, engine="faiss", factory="nonsense")


def test_usearch_says_what_it_cannot_do_and_its_scores_are_the_exact_ones() -> None:
    pytest.importorskip("usearch")
    vectors, query = gaussian(2000, 16), gaussian(30, 16, seed=1)
    exact = Index.build(vectors)
    graph = Index.build(vectors, engine="usearch", connectivity=8, expansion_search=32, storage="float16")
    assert 0.7 < graph.recall_against(exact, query, 5) <= 1.0
    found = Index.build(vectors, engine="usearch").search(query, 5)
    truth = exact.search(query, 2000)
    place = truth.ids.argsort(1).gather(1, found.ids)
    assert torch.equal(truth.scores.gather(1, place), found.scores)
    with pytest.raises(ValueError, match="dim: the usearch engine"):
        graph.search(query, 3, dim=4)
    with pytest.raises(ValueError, match="filter: the usearch engine cannot filter"):
        graph.search(query, 3, filter=[1])
    with pytest.raises(ValueError, match="options: usearch takes"):
        Index.build(vectors, engine="usearch", factory="HNSW16")
    with pytest.raises(ValueError, match="connectivity: must be a whole number"):
        Index.build(vectors, engine="usearch", connectivity=0)


def test_a_truncated_or_foreign_index_is_one_line_naming_the_file(tmp_path: Path) -> None:
    index = Index.build(gaussian(90, 8))
    index.save(tmp_path / "index")
    manifest = tmp_path / "index" / "manifest.json"
    good = manifest.read_text()
    for change in (
        {"files": {"vectors": "../../etc/passwd"}},
        {"engine": "os.system"},
        {"count": 5},
        {"format_version": 99},
    ):
        manifest.write_text(json.dumps({**json.loads(good), **change}))
        with pytest.raises(ValueError, match=str(tmp_path)) as caught:
            Index.open(tmp_path / "index")
        assert "\n" not in str(caught.value)
    manifest.write_text(good)
    file = next((tmp_path / "index").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=file.name):
        Index.open(tmp_path / "index")
    with pytest.raises(ValueError, match="not empty and not an index"):
        (tmp_path / "thesis.tex").write_text("years of work")
        index.save(tmp_path)
