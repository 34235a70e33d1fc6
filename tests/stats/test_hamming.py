"""Codes and their distances against plain bits, and the group that leaves all distances as they are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.stats import hamming, hamming_distance, hamming_topk, pack_bits, unpack_bits

widths = st.sampled_from([1, 2, 7, 8, 9, 31, 63, 64, 65, 100, 128, 130, 200])
seeds = st.integers(0, 99)


def bits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.5


@given(width=widths, count=st.integers(0, 9), seed=seeds)
def test_unpacking_gives_back_what_was_packed(width: int, count: int, seed: int) -> None:
    code = bits(count, width, seed=seed)
    words = pack_bits(code)
    assert words.shape == (count, -(-width // 64)) and torch.equal(unpack_bits(words, width), code)


def test_the_first_bit_is_the_lowest() -> None:
    code = torch.zeros(66, dtype=torch.bool)
    code[[0, 3, 65]] = True
    assert pack_bits(code).tolist() == [9, 2]


@given(width=widths, seed=seeds)
def test_the_distance_is_half_of_width_minus_the_product_of_signs(width: int, seed: int) -> None:
    one, other, third = bits(3, 5, width, seed=seed)
    signs = [2 * c.double() - 1 for c in (one, other)]
    distance = hamming_distance(pack_bits(one)[:, None], pack_bits(other)[None])
    assert torch.equal(distance.double(), (width - signs[0] @ signs[1].T) / 2)
    there, back = (hamming_distance(pack_bits(a), pack_bits(third)) for a in (one, other))
    assert bool((hamming_distance(pack_bits(one), pack_bits(other)) <= there + back).all())


@given(width=widths, seed=seeds)
def test_permuting_and_flipping_bits_of_all_codes_changes_no_distance(width: int, seed: int) -> None:
    code = bits(20, width, seed=seed)
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed))
    moved = code[:, order] ^ bits(width, seed=seed + 1)
    a, b = (pack_bits(c) for c in (code, moved))
    assert torch.equal(hamming_distance(a[:, None], a), hamming_distance(b[:, None], b))


@pytest.mark.parametrize("queries", [1, 3, hamming.FEW_QUERIES + 1])
@given(width=st.sampled_from([1, 3, 12, 64, 70, 130]), count=st.integers(1, 300), k=st.integers(1, 20), seed=seeds)
def test_the_nearest_are_those_of_brute_force_in_the_order_of_distance_and_row(
    queries: int, width: int, count: int, k: int, seed: int
) -> None:
    k = min(k, count)
    code, query = bits(count, width, seed=seed), bits(queries, width, seed=seed + 1)
    distance, rows = hamming_topk(pack_bits(query), pack_bits(code), k)
    truth = (query[:, None] != code).sum(-1).numpy()
    order = np.stack([np.lexsort((np.arange(count), row))[:k] for row in truth])
    assert (rows.numpy() == order).all() and (distance.numpy() == np.take_along_axis(truth, order, 1)).all()


@pytest.mark.parametrize("queries", [2, hamming.FEW_QUERIES + 1])
def test_ties_hold_across_many_blocks(queries: int) -> None:
    count = 3 * hamming.ROW_BLOCK + 77
    code, query = bits(count, 5), bits(queries, 5, seed=1)
    _, rows = hamming_topk(pack_bits(query), pack_bits(code), 7)
    truth = (query[:, None] != code).sum(-1)
    assert torch.equal(rows, truth.sort(dim=1, stable=True).indices[:, :7])


def test_popcount_without_numpy_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    words = torch.randint(-(2**63), 2**63 - 1, (50,), generator=torch.Generator().manual_seed(0))
    words = torch.cat([words, torch.tensor([0, -1, 1, -(2**63)])])
    counted = [bin(w & (2**64 - 1)).count("1") for w in words.tolist()]
    assert hamming.popcount(words).tolist() == counted
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert hamming.popcount(words).tolist() == counted


def test_bad_sizes_are_refused_by_name() -> None:
    words = pack_bits(bits(4, 70))
    with pytest.raises(ValueError, match="bits: 0 bits"):
        pack_bits(bits(4, 0))
    with pytest.raises(ValueError, match="bits: 129"):
        unpack_bits(words, 129)
    with pytest.raises(ValueError, match="k: 5; must be between 1 and the 4 codes"):
        hamming_topk(words, words, 5)
    with pytest.raises(ValueError, match="query: 1 words, the codes have 2"):
        hamming_topk(words[:, :1].contiguous(), words, 2)


@pytest.mark.parametrize("width", [64, 192, 256, 300, 70_000])
def test_distances_at_the_ends_are_counted_whole_by_every_route(width: int) -> None:
    """All bits differ: more than a byte holds."""
    few, many = torch.ones(2, width, dtype=torch.bool), torch.ones(hamming.FEW_QUERIES + 1, width, dtype=torch.bool)
    code = torch.zeros(3, width, dtype=torch.bool)
    code[1], code[2, : width // 2] = True, True
    for query in (few, many):
        distance, rows = hamming_topk(pack_bits(query), pack_bits(code), 3)
        assert distance[0].tolist() == [0, width - width // 2, width] and rows[0].tolist() == [1, 2, 0]


@given(st.integers(1, 5), st.integers(1, 3000), st.integers(1, 40), st.integers(0, 999))
def test_both_routes_agree_and_the_layout_of_the_codes_does_not_matter(
    words: int, count: int, k: int, seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    code = pack_bits(torch.rand(count, 64 * words, generator=g) < 0.02)  # close together: many ties
    query = pack_bits(torch.rand(hamming.FEW_QUERIES + 2, 64 * words, generator=g) < 0.02)
    k = min(k, count)
    many = hamming_topk(query, code, k)
    few = hamming_topk(query[:3], code.T.contiguous().T, k)
    assert all(torch.equal(a[:3], b) for a, b in zip(many, few, strict=True))
