"""The index of codes: the contract of every index, faiss's binary index, and the second look at vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.deploy import BinaryIndex, Index, SpaceInfo

seeds = st.integers(0, 99)


def bits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_distances_are_those_of_faiss() -> None:
    faiss = pytest.importorskip("faiss")
    code, query = bits(500, 64), bits(30, 64, seed=1)
    other = faiss.IndexBinaryFlat(64)
    other.add(np.packbits(code.numpy(), axis=1, bitorder="little"))
    there, _ = other.search(np.packbits(query.numpy(), axis=1, bitorder="little"), 9)
    assert (-BinaryIndex.build(code).search(query, 9).scores.numpy() == there).all()


@given(seed=seeds, width=st.sampled_from([3, 64, 100]))
def test_the_order_of_insertion_does_not_matter_and_ties_go_to_the_smallest_id(seed: int, width: int) -> None:
    code, query = bits(90, width, seed=seed), bits(4, width, seed=seed + 1)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(seed))
    shuffled = BinaryIndex(width)
    shuffled.add(code[order[:20]], order[:20])
    shuffled.add(code[order[20:]], order[20:])
    found = BinaryIndex.build(code).search(query, 11)
    for a, b in zip(found, shuffled.search(query, 11), strict=True):
        assert torch.equal(a, b)
    truth = (query[:, None] != code).sum(-1).sort(dim=1, stable=True)
    assert torch.equal(found.ids, truth.indices[:, :11]) and torch.equal(-found.scores, truth.values[:, :11].float())


@given(seed=seeds, dim=st.integers(1, 130))
def test_a_prefix_search_compares_the_first_bits(seed: int, dim: int) -> None:
    code, query = bits(80, 130, seed=seed), bits(5, 130, seed=seed + 1)
    whole, cut = BinaryIndex.build(code), BinaryIndex.build(code[:, :dim])
    for a, b in zip(whole.search(query, 7, dim=dim), cut.search(query[:, :dim], 7), strict=True):
        assert torch.equal(a, b)


@given(seed=seeds)
def test_a_filter_gives_what_an_index_of_the_allowed_gives(seed: int) -> None:
    code, query = bits(60, 20, seed=seed), bits(4, 20, seed=seed + 1)
    allowed = torch.randperm(60, generator=torch.Generator().manual_seed(seed))[:11]
    found = BinaryIndex.build(code).search(query, 20, filter=allowed)
    other = BinaryIndex.build(code[allowed], allowed).search(query, 20)
    for a, b in zip(found, other, strict=True):
        assert torch.equal(a, b)


def test_words_bits_and_signs_are_the_same_codes() -> None:
    code = bits(40, 33)
    for form in (code.int(), 2 * code.float() - 1, code.numpy()):
        assert torch.equal(BinaryIndex.build(form).store.data, BinaryIndex.build(code).store.data)


@given(seed=seeds)
def test_reranking_everything_is_the_exact_search(seed: int) -> None:
    vectors, query = gaussian(70, 9, seed=seed), gaussian(5, 9, seed=seed + 1)
    exact, codes = Index.build(vectors), BinaryIndex.build(vectors > 0)
    found = codes.search(query > 0, 6, rerank=exact, vectors=query, shortlist=70)
    for a, b in zip(found, exact.search(query, 6), strict=True):
        assert torch.equal(a, b)


def test_a_longer_shortlist_never_finds_less() -> None:
    vectors, query = gaussian(800, 16), gaussian(40, 16, seed=1)
    exact, codes = Index.build(vectors), BinaryIndex.build(vectors > 0)
    truth = exact.search(query, 5).ids
    shares = [
        float(
            (
                truth[..., None] == codes.search(query > 0, 5, rerank=exact, vectors=query, shortlist=s).ids[:, None]
            ).sum()
        )
        for s in (5, 20, 80, 320, 800)
    ]
    assert shares == sorted(shares) and shares[-1] == truth.numel() and shares[0] < shares[-1]


@pytest.mark.parametrize("mmap", [True, False])
def test_a_saved_index_opens_bit_for_bit(mmap: bool, tmp_path: Path) -> None:
    index = BinaryIndex.build(bits(90, 70), space=SpaceInfo("m", 70))
    index.remove([4])
    index.save(tmp_path / "codes")
    again = Index.open(tmp_path / "codes", mmap=mmap)
    assert type(again) is BinaryIndex and again.space == index.space and again.bits == 70
    for a, b in zip(index.search(bits(5, 70, seed=2), 95), again.search(bits(5, 70, seed=2), 95), strict=True):
        assert torch.equal(a, b)
    assert not bool((again.search(bits(5, 70, seed=2), 95).ids == 4).any())


@pytest.mark.parametrize("make", [lambda: BinaryIndex(12), lambda: BinaryIndex.build(bits(0, 12))])
def test_an_empty_index_answers_with_padding(make: Any) -> None:
    found = make().search(bits(2, 12), 3)
    assert bool((found.ids == -1).all()) and not bool(found.mask.any()) and bool((found.scores == -torch.inf).all())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: BinaryIndex(0), "bits: must be a whole number of at least 1, got 0"),
        (lambda: BinaryIndex.build(gaussian(3, 4)), "vectors: row 0 is not a code"),
        (lambda: BinaryIndex.build(torch.tensor([[1, 0], [0, -1]])), "vectors: row 1 is not a code"),
        (lambda: BinaryIndex.build(torch.full((2, 3), float("nan"))), "vectors: row 0 is not a code"),
        (lambda: BinaryIndex(8).add(bits(2, 9)), "vectors: 9 bits, the index holds 8"),
        (lambda: BinaryIndex.build(bits(5, 8)).search(bits(1, 9)), "q: 9 bits, the index holds 8"),
        (lambda: BinaryIndex.build(bits(5, 8)).search(bits(1, 8), dim=9), "dim: must be between 1 and 8"),
        (lambda: BinaryIndex.build(bits(5, 8)).search(bits(1, 8), shortlist=9), "rerank: needed"),
        (lambda: BinaryIndex.build(bits(5, 8), space=SpaceInfo("m", 9)), "space: 9 dimensions for codes of 8 bits"),
        (lambda: Index.build(gaussian(5, 8), metric="hamming"), "metric: the exact engine compares by"),
        (
            lambda: BinaryIndex.build(bits(5, 8)).search(bits(1, 8), rerank=Index.build(gaussian(5, 3))),
            "vectors: needed with rerank",
        ),
        (
            lambda: BinaryIndex.build(bits(9, 8)).search(
                bits(1, 8), rerank=Index.build(gaussian(5, 3)), vectors=gaussian(1, 3)
            ),
            "ids: .* is not in the index that scores it",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
