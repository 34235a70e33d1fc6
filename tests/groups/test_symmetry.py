"""A symmetry is a value: it moves arguments and outputs, and reads the n of S(n) from the data."""

import pytest
import torch

from erlangen.groups.symmetry import Symmetry


def test_a_tuple_type_matches_the_tuple_of_arguments() -> None:
    symmetry = Symmetry("SE(3)", ("points", "invariant"), "points")
    g = symmetry.group.sample((), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, h = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    moved, kept = symmetry.act_input(g, (x, h))
    assert torch.allclose(moved, x @ g[:3, :3].mT + g[:3, 3])
    assert torch.equal(kept, h)
    with pytest.raises(ValueError, match="2 types for 1 arguments"):
        symmetry.act_input(g, (x,))


def test_the_size_of_s_n_is_read_from_the_data() -> None:
    symmetry = Symmetry("S(n)", "rows", "rows").resolved((torch.randn(2, 7, 3),))
    assert symmetry.group.n == 7
    product = Symmetry("E(3) x S(n)", ("points", "scalars"), "invariant").resolved(
        (torch.randn(4, 3), torch.randn(4, 2))
    )
    assert product.group.factors[1].n == 4


def test_three_functions_suffice() -> None:
    symmetry = Symmetry.from_functions(
        lambda generator, dtype: float(torch.rand((), generator=generator)),
        lambda g, a: (a[0] * g,),
        lambda g, o: o * g,
    )
    assert symmetry.act_input(2.0, (torch.ones(2),))[0].tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match="sample: a function is needed"):
        Symmetry.from_functions(3, lambda g, a: a, lambda g, o: o)  # type: ignore[arg-type]


@pytest.mark.parametrize(("group", "kind"), [("SO(3)", "image"), ("Q8", "points"), ("C4", "imagee")])
def test_bad_strings_are_refused_in_one_line(group: str, kind: str) -> None:
    with pytest.raises(ValueError) as caught:
        Symmetry(group, kind, "invariant")
    assert "\n" not in str(caught.value)


def test_it_reads_as_a_sentence() -> None:
    assert str(Symmetry("SE(3)", ("points", "scalars"), "points")) == "SE(3): (points, scalars) -> points"
