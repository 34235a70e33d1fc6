"""The interval decides a claim, and nothing else does."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from erlangen.recipes.claim import Claim, over_seeds

numbers = st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))
seeds = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=8)
margins = st.floats(-50, 50).map(lambda x: round(x, 3))
OPPOSITE = {"reproduced": "not reproduced", "not reproduced": "reproduced", "undecided": "undecided"}


def measured(pairs):
    return {"a": [p[0] for p in pairs], "b": [p[1] for p in pairs]}


@given(st.lists(numbers, min_size=2, max_size=9))
def test_interval_is_students(values):
    interval = over_seeds(values)
    spread = stats.sem(values)
    assert interval.mean == pytest.approx(sum(values) / len(values), abs=1e-9)
    if spread > 0:
        low, high = stats.t.interval(0.95, len(values) - 1, interval.mean, spread)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-9)


@given(seeds, margins)
def test_outcome_is_the_two_sided_t_test(pairs, margin):
    values = measured(pairs)
    difference = [a - b - margin for a, b in pairs]
    if stats.sem(difference) < 1e-6:
        return
    test = stats.ttest_1samp(difference, 0.0)
    if abs(test.pvalue - 0.05) < 1e-6:
        return
    expected = "undecided" if test.pvalue > 0.05 else "reproduced" if test.statistic > 0 else "not reproduced"
    assert Claim("", "a", "above", "b", margin).outcome(values) == expected


@given(seeds, margins)
def test_turning_a_claim_round_keeps_it_and_denying_it_reverses_it(pairs, margin):
    values = measured(pairs)
    interval = over_seeds([a - b for a, b in pairs])
    if min(abs(interval.low - margin), abs(interval.high - margin)) < 1e-9:
        return
    outcome = Claim("", "a", "above", "b", margin).outcome(values)
    assert Claim("", "b", "below", "a", -margin).outcome(values) == outcome
    assert Claim("", "a", "below", "b", margin).outcome(values) == OPPOSITE[outcome]


@given(seeds, margins, st.floats(0.5, 20))
def test_a_weaker_claim_is_never_worse(pairs, margin, less):
    order = ["not reproduced", "undecided", "reproduced"]
    values = measured(pairs)
    strong = Claim("", "a", "above", "b", margin).outcome(values)
    weak = Claim("", "a", "above", "b", margin - less).outcome(values)
    assert order.index(weak) >= order.index(strong)


@given(numbers, numbers)
def test_one_seed_decides_nothing(a, b):
    assert Claim("", "a", "above", "b").outcome({"a": [a], "b": [b]}) == "undecided"


@given(st.lists(numbers, min_size=2, max_size=5), numbers)
def test_what_seeds_share_cancels(shared, gain):
    values = {"a": [s + gain for s in shared], "b": shared}
    interval = Claim("", "a", "above", "b").difference(values)
    assert interval.high - interval.low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("relation", ["above", "below"])
def test_what_is_not_finite_never_reproduces(bad, relation):
    assert Claim("", "a", relation, 0.0).outcome({"a": [1.0, bad, 1.0]}) == "not reproduced"


def test_equality_is_not_more():
    same = {"a": [1.0, 1.0], "b": [1.0, 1.0]}
    assert Claim("", "a", "above", "b").outcome(same) == "not reproduced"
    assert Claim("", "a", "below", "b").outcome(same) == "not reproduced"


def test_bad_input_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"'c'.*there are a, b"):
        Claim("", "c", "above", "a").outcome({"a": [1.0], "b": [1.0]})
    with pytest.raises(ValueError, match="2 seeds of 'a', 1 of 'b'"):
        Claim("", "a", "above", "b").outcome({"a": [1.0, 2.0], "b": [1.0]})
    with pytest.raises(ValueError, match="margin"):
        Claim("", "a", "above", 0.0, margin=math.nan)
    with pytest.raises(Exception, match="relation"):
        Claim("", "a", "beside")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="values"):
        over_seeds([])
    with pytest.raises(ValueError, match="level"):
        over_seeds([1.0, 2.0], level=1.0)
