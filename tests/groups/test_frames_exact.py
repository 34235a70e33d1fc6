"""The exact properties of frames, in both precisions, on generic, degenerate, masked and ill-scaled inputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from erlangen.groups import SE, SO, Cyclic, E, O, Octahedral, Symmetric
from erlangen.groups.actions import Permute, Points
from erlangen.groups.frames import (
    Frame,
    FrameBatch,
    LaplacianFrame,
    MDSFrame,
    MinimalFrame,
    PCAFrame,
    ReynoldsFrame,
    SortFrame,
    StochasticFrame,
    WeightedFrame,
)
from erlangen.groups.frames.base import ON_DEGENERATE, choice
from erlangen.groups.frames.minimal import cloud_key
from erlangen.groups.frames.principal import homogeneous

SEEDS = st.integers(0, 10_000)
GROUPS = {"SO(2)": SO(2), "O(2)": O(2), "SO(3)": SO(3), "O(3)": O(3), "SE(3)": SE(3), "E(3)": E(3), "E(4)": E(4)}
CUBE = torch.tensor([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)], dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moments(batch: FrameBatch) -> Tensor:
    """Weighted generic functions of the elements: equal for equal weighted sets."""
    flat = batch.elements.double().flatten(batch.weights.ndim)
    place = torch.arange(1, flat.shape[-1] + 1, dtype=torch.float64)
    probes = torch.stack([torch.sin(k * place**2) for k in range(1, 9)], -1)
    return (batch.weights.double()[..., None] * torch.cos(flat @ probes / math.sqrt(len(place)))).sum(-2)


def assert_equal_sets(one: FrameBatch, two: FrameBatch, atol: float) -> None:
    assert torch.allclose(moments(one), moments(two), atol=atol, rtol=0)


def act(group: object, g: Tensor, batch: FrameBatch) -> FrameBatch:
    moving = batch.to(torch.float64) if g.is_floating_point() else batch
    return FrameBatch(group.compose(g[:, None], moving.elements), moving.weights)  # type: ignore[attr-defined]


@given(SEEDS, st.sampled_from(sorted(GROUPS)), st.booleans(), st.sampled_from(["pca", "weighted", "mds", "minimal"]))
@settings(max_examples=20, deadline=None)
def test_frames_of_space_move_with_the_cloud(seed: int, name: str, single: bool, kind: str) -> None:
    group, generator = GROUPS[name], seeded(seed)
    n = group.point_dim
    if kind == "weighted" and n == 4:
        n, group = 3, E(3)
    affine, reflections = name[:2] in ("SE", "E("), name[0] in "OE"
    frame: Frame = {
        "pca": lambda: PCAFrame(group),
        "weighted": lambda: WeightedFrame(group),
        "mds": lambda: MDSFrame(scale=False, chirality="ignore" if reflections else "keep", center=affine),
        "minimal": lambda: MinimalFrame(PCAFrame(group), Points(group), key=cloud_key),
    }[kind]()
    x = torch.randn(3, 6, n, generator=generator, dtype=torch.float64) * torch.arange(1.0, n + 1, dtype=torch.float64)
    g = group.sample((3,), generator=generator, dtype=torch.float64)
    if bool((frame.margin(x) < 1e-3).any()):
        return
    moved = Points(group)(g, x)
    if single:
        x, moved = x.float(), moved.float()
    assert_equal_sets(frame(moved), act(group, g, frame(x)), 2e-3 if single else 1e-9)
    if not single:
        assert bool(group.contains(frame(x).elements, atol=1e-9).all())


@pytest.mark.parametrize(
    ("name", "size"), [("O(3)", 8), ("SO(3)", 4), ("E(3)", 8), ("SE(3)", 4), ("O(2)", 4), ("SE(2)", 2)]
)
def test_the_number_of_elements_is_the_papers(name: str, size: int) -> None:
    frame = PCAFrame(name)
    x = torch.randn(2, 9, 2 if "2" in name else 3)
    assert frame.size == size == frame(x).size
    turns = frame(x).elements[..., : x.shape[-1], : x.shape[-1]]
    if name[0] == "S":
        assert torch.allclose(torch.linalg.det(turns), torch.ones(2, size), atol=1e-5)
    else:
        assert float(torch.linalg.det(turns).sum().abs()) < 1e-4


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_padding_changes_nothing(seed: int) -> None:
    x = torch.randn(2, 6, 3, generator=seeded(seed), dtype=torch.float64)
    padded = torch.cat([x, torch.full((2, 4, 3), 7.0, dtype=torch.float64)], 1)
    padded[0, -1] = math.nan
    mask = torch.arange(10).expand(2, 10) < 6
    for frame in (PCAFrame("E(3)"), MDSFrame(), MDSFrame(chirality="keep")):
        assert_equal_sets(frame(padded, mask), frame(x), 1e-10)
    assert torch.allclose(MDSFrame().coordinates(padded, mask)[:, :6], MDSFrame().coordinates(x))
    assert torch.equal(SortFrame()(padded, mask).elements[..., :6], SortFrame()(x).elements)
    adjacency = torch.nn.functional.pad(x[:, :, 0, None] * x[:, None, :, 0], (0, 4, 0, 4), value=5.0)
    alone = LaplacianFrame()(adjacency[:, :6, :6])
    assert torch.equal(LaplacianFrame()(adjacency, mask).elements[..., :6], alone.elements)


@pytest.mark.parametrize("scale", [1e-18, 1e18])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_scale_and_place_do_not_matter(scale: float, shift: float) -> None:
    x = torch.randn(5, 20, 3, generator=seeded(1)) * torch.tensor([1.0, 2.0, 3.0])
    far = (x.double() + shift) * scale
    one, two = PCAFrame("SE(3)")(x.double()).elements, PCAFrame("SE(3)")(far).elements
    assert torch.allclose(one[..., :3, :3].abs(), two[..., :3, :3].abs(), atol=1e-9)
    assert torch.allclose(MDSFrame().coordinates(x), MDSFrame().coordinates(far.float()), atol=1e-5 + 2e-6 * shift)
    tiny = x.double() * 1e-170
    assert torch.allclose(MDSFrame().coordinates(x.double()), MDSFrame().coordinates(tiny), atol=1e-12)


@pytest.mark.parametrize("name", ["SO(3)", "O(3)", "SE(3)", "E(3)"])
def test_a_weighted_frame_answers_where_variances_agree(name: str) -> None:
    group = GROUPS[name]
    frame = PCAFrame(group, on_degenerate="weighted")
    generic = torch.randn(8, 3, generator=seeded(0), dtype=torch.float64)
    x = torch.stack([CUBE, generic])
    g = group.sample((2,), generator=seeded(1), dtype=torch.float64)
    assert_equal_sets(frame(Points(group)(g, x)), act(group, g, frame(x)), 1e-9)
    weights = frame(x).weights
    assert torch.allclose(weights.sum(-1), torch.ones(2, dtype=torch.float64))
    assert int((weights[1] > 0).sum()) == PCAFrame(group).size


def test_a_shaken_frame_is_unbiased_on_a_cube() -> None:
    """On a cube all of SO(3) is the frame, so that the mean of R over draws is zero and that of |R_11| is 1/2."""
    frame = PCAFrame("SO(3)", on_degenerate="perturb", generator=seeded(0))
    turns = frame(CUBE.expand(4096, 8, 3)).elements
    assert torch.allclose(torch.linalg.det(turns), torch.ones(4096, 4, dtype=torch.float64))
    first = turns[:, 0]
    assert abs(float(turns.mean((0, 1)).abs().max())) < 0.05
    assert abs(float(first[:, 0, 0].abs().mean()) - 0.5) < 0.03
    assert frame.exact is False


def test_the_weighted_average_is_continuous_where_the_principal_axes_jump() -> None:
    direction = torch.randn(8, 3, generator=seeded(3), dtype=torch.float64)

    def average(frame: Frame, x: Tensor) -> Tensor:
        found = frame(x)
        seen = torch.einsum("ni,fij->fnj", x, found.elements)
        return (found.weights * torch.exp(seen[:, 0, 0] + 0.3 * seen[:, 1, 1])).sum()

    def jump(frame: Frame, step: float) -> float:
        return float((average(frame, CUBE + step * direction) - average(frame, CUBE - step * direction)).abs())

    assert jump(WeightedFrame("SO(3)"), 1e-5) < 1e-4
    assert jump(PCAFrame("SO(3)"), 1e-5) > 1e-2


@given(SEEDS, st.sampled_from([2, 3, 5]))
@settings(max_examples=10, deadline=None)
def test_sorting_and_ties(seed: int, values: int) -> None:
    generator = seeded(seed)
    x = torch.randint(values, (3, 5, 2), generator=generator).double()
    group, frame = Symmetric(5), SortFrame()
    permute = Permute(group)
    g = group.sample((3,), generator=generator)
    found = frame(x)
    assert_equal_sets(frame(permute(g, x)), act(group, g, found), 1e-9)
    back = permute(group.inverse(found.elements[0, 0]), x[0])
    rows = [tuple(r) for r in back.tolist()]
    assert rows == sorted(rows)
    distinct = len({tuple(e) for e in found.elements[0][found.weights[0] > 0].tolist()})
    counts = torch.unique(x[0], dim=0, return_counts=True)[1]
    assert distinct == int(np.prod([math.factorial(int(c)) for c in counts]))


@given(SEEDS, st.integers(3, 6), st.floats(0.2, 0.9))
@settings(max_examples=15, deadline=None)
def test_laplacian_frames_move_with_the_graph(seed: int, nodes: int, density: float) -> None:
    generator = seeded(seed)
    upper = (torch.rand(2, nodes, nodes, generator=generator) < density).double().triu(1)
    a = upper + upper.mT
    group = Symmetric(nodes)
    g = group.sample((2,), generator=generator)
    moved = Permute(group, axes=(-2, -1))(g, a)
    one, two = LaplacianFrame()(a), LaplacianFrame()(moved)
    assert_equal_sets(two, act(group, g, one), 1e-9)
    drawn = LaplacianFrame(samples=10, generator=seeded(0))(a)
    assert drawn.size == 10
    for sample in range(2):
        allowed = {tuple(e) for e in one.elements[sample][one.weights[sample] > 0].tolist()}
        assert {tuple(e) for e in drawn.elements[sample].tolist()} <= allowed


def test_nodes_that_differ_little_are_not_merged() -> None:
    """Rounding S to two decimals, as in the released code, would see one class of nodes here."""
    a = torch.ones(4, 4, dtype=torch.float64) + torch.diag(torch.arange(4.0, dtype=torch.float64)) * 0
    a[0, 1] = a[1, 0] = 1.001
    a[0, 2] = a[2, 0] = 1.0005
    a.fill_diagonal_(0)
    assert LaplacianFrame()(a).size == 1


def test_features_break_the_ties_of_a_graph() -> None:
    complete = torch.ones(4, 4, dtype=torch.float64) - torch.eye(4, dtype=torch.float64)
    assert LaplacianFrame()(complete).size == 24
    assert LaplacianFrame()(complete, rows=torch.arange(4.0)[:, None]).size == 1


def test_the_whole_group_is_the_reynolds_frame() -> None:
    frame = ReynoldsFrame("D4")
    found = frame(torch.randn(3, 1, 6, 6))
    assert frame.size == 8 == found.size
    assert torch.equal(found.elements[0][1], Cyclic(4).elements().repeat(2))
    assert torch.isinf(frame.margin(torch.randn(3, 4))).all()


def test_a_minimal_frame_is_one_coset_of_the_stabilizer() -> None:
    act_points = Points(Octahedral())
    frame = MinimalFrame(ReynoldsFrame(Octahedral()), act_points)
    generic = torch.randn(1, 4, 3, generator=seeded(0), dtype=torch.float64)
    axis = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    assert frame(generic).size == 1
    assert frame(axis).size == 4
    assert MinimalFrame(ReynoldsFrame(Octahedral()), act_points, stabilizer="one")(axis).size == 1


def test_random_elements_are_drawn_by_their_weights() -> None:
    x = torch.randn(1, 5, 3, generator=seeded(2), dtype=torch.float64)
    whole = WeightedFrame("SO(3)")(x)
    drawn = StochasticFrame(WeightedFrame("SO(3)"), 4096, generator=seeded(3))(x)
    mean = (whole.weights[..., None, None] * whole.elements).sum(1)
    assert torch.allclose(drawn.elements.mean(1), mean, atol=0.05)


def test_every_frame_keeps_the_protocol() -> None:
    for frame in (
        PCAFrame("E(3)"),
        MDSFrame(),
        WeightedFrame("O(3)"),
        SortFrame(),
        LaplacianFrame(),
        ReynoldsFrame("C4"),
    ):
        assert isinstance(frame, Frame)
        assert isinstance(StochasticFrame(frame), Frame)


@pytest.mark.parametrize("build", [lambda: PCAFrame("SE(3)"), MDSFrame, lambda: WeightedFrame("SE(3)")])
def test_an_empty_batch_has_an_empty_frame(build: object) -> None:
    assert build()(torch.zeros(0, 5, 3)).elements.shape[0] == 0  # type: ignore[operator]


def test_margins_vanish_where_frames_jump() -> None:
    x = torch.randn(4, 20, 3, generator=seeded(4), dtype=torch.float64)
    assert bool((PCAFrame("E(3)").margin(x) > 1e-3).all())
    assert float(PCAFrame("E(3)").margin(CUBE)) < 1e-12
    odd = torch.cat([x, -x], 1)
    assert float(MDSFrame().margin(odd).max()) < 1e-12
    assert bool((MDSFrame(sign="average").margin(odd) > 1e-4).all())
    line = torch.arange(5.0, dtype=torch.float64)[:, None] * torch.ones(3, dtype=torch.float64)
    assert float(WeightedFrame("SO(3)").margin(line)) < 1e-7
    assert float(SortFrame().margin(torch.tensor([[0.0], [1.0], [1.5]]))) == pytest.approx(1 / 3)


def test_bad_clouds_and_words_are_named() -> None:
    good = torch.randn(2, 5, 3)
    for bad, words in (
        (torch.stack([good[0], good[1] * math.nan]), "NaN or infinity in sample 1"),
        (torch.zeros(2, 5, 3), "axes of sample 0"),
        (torch.arange(10.0).reshape(1, 10, 1).expand(2, 10, 3), "axes of sample 0"),
        (torch.randn(2, 2, 3), "axes of sample 0"),
        (torch.randn(2, 5, 2), "moves points of 3"),
        (torch.zeros(2, 0, 3), "at least one point"),
    ):
        with pytest.raises(ValueError, match=words):
            PCAFrame("SE(3)")(bad)
    with pytest.raises(ValueError, match="mask: shape"):
        PCAFrame("SO(3)")(good, torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="no row left"):
        MDSFrame()(good, torch.zeros(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="not symmetric"):
        LaplacianFrame()(torch.triu(torch.ones(4, 4)))
    with pytest.raises(ValueError, match="over max_size"):
        WeightedFrame("SO(3)")(torch.randn(100, 3))
    with pytest.raises(ValueError, match="leave more than max_size"):
        SortFrame()(torch.zeros(12, 2))
    with pytest.raises(ValueError, match="'raise', 'perturb', 'weighted'"):
        choice("on_degenerate", "skip", ON_DEGENERATE)
    with pytest.raises(ValueError, match="is not finite"):
        ReynoldsFrame("SO(3)")
    with pytest.raises(ValueError, match="exist for SO"):
        PCAFrame("C4")
    assert SortFrame(on_degenerate="perturb")(torch.zeros(12, 2)).size == 1
    assert homogeneous(torch.eye(3), torch.zeros(3)).shape == (4, 4)
