"""Actions are left actions, on one element and on batches, in both precisions; errors say what can act."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.groups import actions, parse
from erlangen.groups.elements import leaves, map_elem, to_elem

from .strategies import draws, seeds

POINTS = ["SO(3)", "O(3)", "SE(3)", "E(3)", "T(3)", "Octahedral", "S5", "E(3) x S5", "SO(3) x Scaling", "SE(3) x S(n)"]
CASES = [(t, name) for name in POINTS for t in ("points", "vectors", "scalars", "invariant")]
CASES += [("rows", "S5"), ("rows", "C4 x S5"), ("2x0e+1o", "E(3) x S5"), ("rotation", "SE(3)"), ("mask", "E(3) x S3")]


def signal(kind: str, seed: int) -> torch.Tensor:
    columns = {"2x0e+1o": 5}.get(kind, 3)
    rows = {"rotation": 3}.get(kind, 5)
    return torch.randn(4, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def worst(a, b) -> float:
    pairs = zip(leaves(a), leaves(b), strict=True)
    return max(float((p - q).abs().max()) for p, q in pairs)


@given(st.sampled_from(CASES), st.sampled_from([(), (4,)]), seeds)
def test_left_action(case, batch, seed):
    kind, name = case
    group = parse(name).infer_size(5)
    act = actions.from_type(kind, group)
    x = signal(kind, seed)
    g, h = draws(group, seed, 2, batch)
    assert worst(act(g, act(h, x)), act(group.compose(g, h), x)) < 1e-10
    assert worst(act(group.identity(batch, dtype=torch.float64), x), x) < 1e-12


@given(st.sampled_from(CASES), seeds)
def test_a_batch_of_elements_acts_elementwise(case, seed):
    kind, name = case
    group = parse(name).infer_size(5)
    act = actions.from_type(kind, group)
    x = signal(kind, seed)
    (g,) = draws(group, seed, 1, (4,))
    one_by_one = torch.stack([act(map_elem(lambda e, i=i: e[i], g), x[i]) for i in range(4)])
    assert worst(act(g, x), one_by_one) < 1e-12


@given(st.sampled_from(CASES), seeds)
def test_precision_of_the_data_is_kept(case, seed):
    kind, name = case
    group = parse(name).infer_size(5)
    x = signal(kind, seed).float()
    (g,) = draws(group, seed, 1, ())
    act = actions.from_type(kind, group)
    assert act(g, x).dtype == torch.float32
    assert worst(act(to_elem(g, dtype=torch.float32), x).double(), act(g, x.double())) < 1e-4


def test_points_move_as_rows():
    (g,) = draws("SE(3)", 0, 1, ())
    x = signal("points", 0)
    expected = torch.einsum("ij,bnj->bni", g[:3, :3], x) + g[:3, 3]
    torch.testing.assert_close(actions.Points(parse("SE(3)"))(g, x), expected)
    torch.testing.assert_close(actions.Vectors(parse("SE(3)"))(g, x), expected - g[:3, 3])


def test_permutation_convention():
    """(g·x)[g[i]] = x[i], on rows and on both axes of an adjacency matrix."""
    g = torch.tensor([2, 0, 1])
    x, adjacency = torch.randn(3, 2), torch.randn(3, 3)
    moved = actions.Permute(parse("S3"))(g, x)
    both = actions.Permute(parse("S3"), axes=(-2, -1))(g, adjacency)
    for i in range(3):
        assert torch.equal(moved[g[i]], x[i])
        for j in range(3):
            assert both[g[i], g[j]] == adjacency[i, j]


@given(st.sampled_from(["C4", "D4", "S8", "D8"]), st.sampled_from([(), (3,)]), seeds)
def test_sequences(name, batch, seed):
    group = parse(name)
    x = torch.randn(3, 8, 2)
    g, h = draws(group, seed, 2, batch)
    act = actions.Sequence(group)
    assert torch.equal(act(g, act(h, x)), act(group.compose(g, h), x))


def test_sequences_roll_and_shift():
    x = torch.randn(2, 8, 3)
    assert torch.equal(actions.Sequence(parse("C4"))(torch.tensor(1), x), x.roll(2, -2))
    shift = parse("T(1)").identity()
    shift[0, 1] = 3.0
    act = actions.Sequence(parse("T(1)"))
    moved = act(shift, x)
    assert torch.equal(moved[:, 3:], x[:, :5]) and (moved[:, :3] == 0).all()
    assert act.valid_mask(shift, x).sum() == 5
    shift[0, 1] = 0.5
    torch.testing.assert_close(act(shift, x)[:, 1:], (x[:, 1:] + x[:, :-1]) / 2)


def test_trees_of_types():
    group = parse("E(3) x S5")
    act = actions.from_type(("points", {"charge": "scalars", "name": "invariant"}, ["rows"]), group)
    x = (signal("points", 0), {"charge": torch.randn(5, 1), "name": "water"}, [torch.randn(5, 2)])
    (g,) = draws(group, 0, 1, ())
    moved = act(g, x)
    assert isinstance(moved, tuple) and isinstance(moved[2], list) and moved[1]["name"] == "water"
    torch.testing.assert_close(moved[0], actions.from_type("points", group)(g, x[0]))
    assert torch.equal(moved[2][0][g[1]], x[2][0])
    with pytest.raises(ValueError, match="expected 3 entries"):
        act(g, x[:2])
    with pytest.raises(ValueError, match="keys"):
        act(g, (x[0], {"charge": torch.randn(5, 1)}, x[2]))


def test_functions_and_actions_pass_through():
    act = actions.from_type(lambda g, x: -x, "C4")
    assert float(act(None, torch.ones(()))) == -1.0
    assert actions.from_type(act, "C8") is act
    assert actions.from_type("invariant", "SO(3)").is_trivial and actions.from_type("scalars", "SO(3)").is_trivial
    assert not actions.from_type("points", "SO(3)").is_trivial and actions.from_type("vectors", "T(3)").is_trivial


@pytest.mark.parametrize(
    ("kind", "group", "message"),
    [
        ("image", "SO(3)", r"group: SO\(3\) cannot act on 'image'; these can: C_n.*SO\(2\)"),
        ("rows", "SO(2)", r"SO\(2\) cannot act on 'rows'; these can: S_n"),
        ("1o", "SO(2)", r"cannot act on '1o'; these can: SO\(3\)"),
        ("pints", "SO(3)", r"type: unknown 'pints'; did you mean 'points'"),
        ("image", "T(2) x C8", "do not commute"),
        ("points", "SE(3) x Scaling", "do not commute"),
    ],
)
def test_impossible_types_are_answered_with_what_can_act(kind, group, message):
    with pytest.raises(ValueError, match=message):
        actions.from_type(kind, group)


def test_wrong_shapes_are_named():
    act = actions.Points(parse("SO(3)"))
    (single,) = draws("SO(3)", 0, 1, ())
    with pytest.raises(ValueError, match="last axis of size 3, given size 2"):
        act(single, torch.randn(5, 2))
    with pytest.raises(ValueError, match="batch"):
        act(single.expand(4, 3, 3), torch.randn(2, 5, 3))
    with pytest.raises(TypeError, match="floating-point"):
        act(single, torch.ones(5, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="5 entries along axis -2"):
        actions.Permute(parse("S5"))(torch.arange(5), torch.randn(4, 3))


@given(seeds)
def test_nan_is_never_hidden(seed):
    x = signal("points", seed)
    x[0, 0, 0] = float("nan")
    (g,) = draws("SE(3)", seed, 1, ())
    assert torch.isnan(actions.Points(parse("SE(3)"))(g, x)[0, 0]).any()
