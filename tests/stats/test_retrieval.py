"""Rankings with and without ties, against scikit-learn, all orders of the ties, and plain loops."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from erlangen.stats import cmc, mean_average_precision, precision_at_k
from erlangen.stats.retrieval import precision_within_radius

seeds = st.integers(0, 99)


def drawn(queries: int, items: int, levels: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (queries, items), generator=generator).double()
    return scores, torch.rand(queries, items, generator=generator) < 0.4


def average_precision(relevant: list[bool], at: int) -> float:
    hits, total = 0, 0.0
    for place, good in enumerate(relevant[:at], 1):
        hits += good
        total += good * hits / place
    return total / min(sum(relevant), at)


@given(seed=seeds)
@pytest.mark.parametrize("ties", ["id", "expected"])
def test_without_ties_it_is_scikit_learns_average_precision(ties: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores, relevant = torch.randn(4, 30, generator=generator).double(), torch.rand(4, 30, generator=generator) < 0.3
    relevant[:, 0] = True
    truth = np.mean([average_precision_score(r, s) for r, s in zip(relevant.numpy(), scores.numpy(), strict=True)])
    assert abs(float(mean_average_precision(scores, relevant, ties=ties)) - truth) < 1e-12


@given(seed=seeds, at=st.sampled_from([None, 1, 3, 5]))
def test_the_expected_value_is_the_mean_over_all_orders_of_the_equals(seed: int, at: int | None) -> None:
    scores, relevant = drawn(1, 6, 3, seed)
    relevant[0, 0] = True
    values = []
    for order in itertools.permutations(range(6)):
        places = list(order)
        ranked = sorted(range(6), key=lambda j: (-float(scores[0, places[j]]), j))
        values.append(average_precision([bool(relevant[0, places[j]]) for j in ranked], at or 6))
    got = float(mean_average_precision(scores, relevant, at=at, ties="expected"))
    assert abs(got - np.mean(values)) < 1e-12


@given(seed=seeds)
def test_only_the_expected_value_is_the_same_for_every_order_of_the_items(seed: int) -> None:
    scores, relevant = drawn(3, 20, 3, seed)
    relevant[:, 0] = True
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    one, other = (mean_average_precision(s, r) for s, r in ((scores, relevant), (scores[:, order], relevant[:, order])))
    torch.testing.assert_close(one, other)


@given(seed=seeds, k=st.integers(1, 12))
def test_ties_by_id_are_those_of_a_loop(seed: int, k: int) -> None:
    scores, relevant = drawn(5, 12, 4, seed)
    relevant[:, 3] = True
    ranked = [sorted(range(12), key=lambda j: (-float(row[j]), j)) for row in scores]
    good = [[bool(relevant[i, j]) for j in order] for i, order in enumerate(ranked)]
    expected = np.mean([average_precision(row, k) for row in good])
    assert abs(float(mean_average_precision(scores, relevant, at=k, ties="id")) - expected) < 1e-12
    assert abs(float(precision_at_k(scores, relevant, k)) - np.mean([sum(row[:k]) / k for row in good])) < 1e-12
    assert abs(float(cmc(scores, relevant)[k - 1]) - np.mean([any(row[:k]) for row in good])) < 1e-12


@given(seed=seeds)
@pytest.mark.parametrize("ties", ["id", "expected"])
def test_what_is_not_valid_counts_as_if_it_were_not_there(ties: str, seed: int) -> None:
    scores, relevant = drawn(6, 15, 4, seed)
    relevant[:, :2] = True
    itself = torch.eye(6, 15, dtype=torch.bool)
    left = [torch.cat([x[:, :i], x[:, i + 1 :]], 1)[i : i + 1] for i in range(6) for x in (scores, relevant)]
    alone = torch.stack([mean_average_precision(left[2 * i], left[2 * i + 1], ties=ties) for i in range(6)]).mean()
    torch.testing.assert_close(mean_average_precision(scores, relevant, ties=ties, valid=~itself), alone)


def test_a_radius_counts_what_is_inside() -> None:
    distance = torch.tensor([[0, 1, 2, 3], [3, 3, 3, 3]])
    relevant = torch.tensor([[True, False, True, True], [True, True, True, True]])
    assert float(precision_within_radius(distance, relevant, 2)) == pytest.approx((2 / 3 + 0) / 2)


def test_a_random_ranking_has_the_share_of_relevant_items_and_nothing_relevant_is_nan() -> None:
    scores, relevant = torch.zeros(1, 4000), torch.arange(4000)[None] % 4 == 0
    assert float(mean_average_precision(scores, relevant)) == pytest.approx(0.25, abs=2e-3)
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    assert (
        torch.isnan(mean_average_precision(torch.zeros(2, 5), nothing))
        and torch.isnan(cmc(torch.zeros(2, 5), nothing)).all()
    )


def test_bad_input_is_refused_by_name() -> None:
    scores, relevant = drawn(2, 5, 3, 0)
    with pytest.raises(ValueError, match="scores: contain NaN"):
        mean_average_precision(torch.full((1, 3), torch.nan), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="scores: no items"):
        cmc(scores[:, :0], relevant[:, :0])
    with pytest.raises(ValueError, match="at: must be a whole number"):
        precision_at_k(scores, relevant, 0)
