"""Every deliberate mistake is caught with the right verdict and cause; the originals are never flagged."""

import pytest
import torch
from twins import DeepSet, Egnn, Twin, twins

from erlangen.groups.symmetry import Symmetry
from erlangen.testing import check


def inputs_for(twin: Twin, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 3 if twin.input == "points" else 4, generator=generator)


@pytest.mark.parametrize("twin", twins(), ids=lambda t: t.name)
def test_mistake_is_caught_with_verdict_and_cause(twin: Twin) -> None:
    twin.model.train(twin.train)
    result = check(twin.model, twin.symmetry, inputs_for(twin))
    assert result.verdict == twin.verdict, str(result)
    assert twin.word in str(result), str(result)
    assert result.seconds < 5


@pytest.mark.parametrize("seed", range(8))
def test_originals_are_exact_and_carry_no_structural_risk(seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(6, 3)
    result = check(Egnn().eval(), Symmetry("E(3)", "points", "points"), x)
    assert result.verdict == "exact", str(result)
    assert {r.name for r in result.risks} <= {"far from the origin"}, str(result)
    result = check(DeepSet().eval(), Symmetry("S(n)", "rows", "invariant"), torch.randn(5, 4))
    assert result.verdict == "exact" and not result.risks, str(result)


def test_dropout_is_told_apart_from_structure_and_eval_mode_heals_it() -> None:
    result = check(Egnn("dropout").train(), Symmetry("E(3)", "points", "points"), torch.randn(6, 3))
    assert result.random and result.error_same_noise is not None and result.error_same_noise < 1e-10
    assert any(r.name == "eval mode" and r.verdict == "exact" for r in result.risks), str(result)


def test_the_breaking_layer_is_named() -> None:
    result = check(Egnn("norm"), Symmetry("E(3)", "points", "points"), torch.randn(6, 3))
    assert result.first_breaking is not None and result.first_breaking.startswith("norm (LayerNorm")
