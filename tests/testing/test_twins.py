"""Every deliberate mistake is caught with the right verdict and cause; the originals are never flagged."""

import pytest
import torch
from twins import Egnn, Twin, originals, twins

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import check


def judged(twin: Twin, seed: int) -> str:
    """What is wrong with the answer on one twin; empty where nothing is."""
    model, symmetry, x = twin.build(seed)
    result = check(model, symmetry, x, seconds=20)
    if result.verdict not in twin.verdict.split("|"):
        return f"verdict {result.verdict}: {result}"
    if twin.word not in str(result):
        return f"no {twin.word!r} in: {result}"
    allowed = {"far from the origin", "zero inputs", "collinear inputs", "tied inputs", "duplicated rows"}
    if not twin.word and {r.name for r in result.risks} - allowed:
        return f"flagged: {result}"
    return ""


@pytest.mark.parametrize("twin", twins(), ids=lambda t: f"{t.name}-{t.make.func.__name__}")
def test_mistake_is_caught_with_verdict_and_cause(twin: Twin) -> None:
    assert not judged(twin, 0)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("twin", originals(), ids=lambda t: f"{t.name}-{t.group}")
def test_originals_are_never_flagged(twin: Twin, seed: int) -> None:
    assert not judged(twin, seed)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(1, 50))
def test_over_seeds(seed: int) -> None:
    problems = [f"{twin.name}: {judged(twin, seed)}" for twin in [*twins(), *originals()]]
    assert not [p for p in problems if not p.endswith(": ")], problems


def test_dropout_is_told_apart_from_structure_and_eval_mode_heals_it() -> None:
    torch.manual_seed(0)
    result = check(Egnn("dropout").train(), Symmetry("E(3)", "points", "points"), torch.randn(6, 3))
    assert result.random and result.error_same_noise is not None and result.error_same_noise < 1e-10
    assert any(r.name == "eval mode" and r.verdict == "exact" for r in result.risks), str(result)


def test_the_breaking_layer_is_named() -> None:
    torch.manual_seed(0)
    result = check(Egnn("norm"), Symmetry("E(3)", "points", "points"), torch.randn(6, 3))
    assert result.first_breaking is not None and result.first_breaking.startswith("norm (LayerNorm")
