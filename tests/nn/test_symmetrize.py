"""`symmetrize` on backbones that know nothing of symmetry: exact, in one call, for every kind of argument."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.groups import Symmetric, Symmetry
from erlangen.groups.actions import Permute
from erlangen.groups.frames import LaplacianFrame, StochasticFrame, WeightedFrame
from erlangen.nn.symmetrize import Symmetrized, symmetrize
from erlangen.nn.symmetrize_cases import Dense, Flat, Motion
from erlangen.testing import check


class Counting(nn.Module):
    """Counts its calls and the samples it sees."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls, self.samples = inner, 0, 0

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        self.calls, self.samples = self.calls + 1, self.samples + len(args[0])
        return self.inner(*args, **kwargs)


class PointNet(nn.Module):
    """Per-point features, their maximum, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.point, self.out = nn.Linear(3, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        h = torch.tanh(self.point(x))
        if mask is not None:
            h = torch.where(mask[..., None], h, -2.0)
        return self.out(h.amax(-2))


class Messages(nn.Module):
    """A graph network on positions of one graph and its edges."""

    def __init__(self) -> None:
        super().__init__()
        self.edge, self.calls = nn.Linear(6, 3), 0

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.calls += 1
        i, j = edge_index
        return x.index_add(0, i, torch.tanh(self.edge(torch.cat([x[i], x[j]], -1))))


def loop(model: Symmetrized, *args: Tensor) -> Tensor:
    """The average by definition, one element at a time."""
    found, symmetry = model.frame(*args), model.symmetry.resolved(args)
    total = torch.zeros(())
    for f in range(found.size):
        g = found.elements[:, f]
        part = symmetry.act_output(g, model.module(*symmetry.act_input(symmetry.group.inverse(g), args)))
        total = total + part * found.weights[:, f].reshape(-1, *[1] * (part.ndim - 1))
    return total


@given(
    st.integers(0, 1000), st.sampled_from(["SO(3)", "O(3)", "SE(3)", "E(3)"]), st.sampled_from(["points", "invariant"])
)
@settings(max_examples=12, deadline=None)
def test_one_call_equals_the_definition(seed: int, group: str, output: str) -> None:
    torch.manual_seed(seed)
    backbone = Counting(Flat(15, 2 if output == "invariant" else None).double())
    model = symmetrize(backbone, Symmetry(group, "points", output))
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    out = model(x)
    assert backbone.calls == 1
    assert backbone.samples == 4 * model.frame(x).size
    assert torch.allclose(out, loop(model, x), atol=1e-12)


@pytest.mark.parametrize("group", ["SO(3)", "SE(3)", "E(3) x S(n)"])
def test_samples_do_not_see_their_batch_mates(group: str) -> None:
    torch.manual_seed(0)
    for how in ("frame", "canonical"):
        model = symmetrize(Flat(15, 2).double(), Symmetry(group, "points", "invariant"), how)
        x = torch.randn(6, 5, 3, dtype=torch.float64)
        assert torch.allclose(model(x)[2:4], model(x[2:4]), atol=1e-12)
        assert torch.allclose(model(x)[0], model(x[:1])[0], atol=1e-12)
        assert model(x[:0]).shape == (0, 2)
    image = torch.randn(6, 1, 4, 4, dtype=torch.float64)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    turned = symmetrize(backbone, Symmetry("C4", "image", "invariant"), "canonical")
    assert torch.allclose(turned(image)[2:4], turned(image[2:4]))


def test_velocities_turn_and_do_not_move() -> None:
    torch.manual_seed(0)
    symmetry = Symmetry("E(3)", ("points", "vectors"), ("points", "vectors"))
    x, v = torch.randn(3, 5, 3, dtype=torch.float64), torch.randn(3, 5, 3, dtype=torch.float64)
    model = symmetrize(Motion(5).double(), symmetry)
    assert check(model, symmetry, (x, v), risks=False).verdict == "exact"
    (y, w), (moved, same) = model(x, v), model(x + 7.0, v)
    assert torch.allclose(moved, y + 7.0)
    assert torch.allclose(same, w)


def test_padded_points_are_left_out() -> None:
    torch.manual_seed(0)
    symmetry = Symmetry("SE(3)", ("points", "mask"), "invariant")
    model = symmetrize(PointNet().double(), symmetry)
    x = torch.randn(3, 6, 3, dtype=torch.float64)
    padded = torch.cat([x, torch.full((3, 2, 3), 9.0, dtype=torch.float64)], 1)
    mask = torch.arange(8).expand(3, 8) < 6
    full = model(x, torch.ones(3, 6, dtype=torch.bool))
    assert torch.allclose(model(padded, mask), full)
    assert check(model, symmetry, (padded, mask), risks=False).verdict == "exact"


def test_edges_of_one_graph_go_through_a_loop() -> None:
    torch.manual_seed(0)
    symmetry = Symmetry("SE(3)", ("points", "invariant"), "points")
    backbone = Messages().double()
    model = symmetrize(backbone, symmetry)
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    x = torch.randn(5, 3, dtype=torch.float64)
    assert model(x, edges).shape == (5, 3)
    assert backbone.calls == 4
    assert check(model, symmetry, (x, edges), risks=False).verdict == "exact"


def test_pyg_graphs() -> None:
    data = pytest.importorskip("torch_geometric.data")
    torch.manual_seed(0)

    class OnData(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Messages().double()

        def forward(self, graph: object) -> Tensor:
            out = self.inner(graph.pos, graph.edge_index)  # type: ignore[attr-defined]
            return torch.zeros(2, 3, dtype=out.dtype).index_add(0, graph.batch, out**2)  # type: ignore[attr-defined]

    def graph(n: int) -> object:
        edges = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])
        return data.Data(pos=torch.randn(n, 3, dtype=torch.float64), edge_index=edges)

    batch = data.Batch.from_data_list([graph(5), graph(7)])
    symmetry = Symmetry("SE(3)", "graph", "invariant")
    model = symmetrize(OnData(), symmetry)
    turned = symmetry.act_input(symmetry.group.sample((2,), dtype=torch.float64), (batch,))[0]
    assert torch.allclose(model(turned), model(batch))
    assert not torch.allclose(model.module(turned), model.module(batch))


def test_graphs_with_automorphisms_and_features() -> None:
    torch.manual_seed(0)
    adjacency = Permute(Symmetric(None), axes=(-2, -1))
    symmetry = Symmetry("S(n)", adjacency, "rows")
    square = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0.0]], dtype=torch.float64)
    path = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0.0]], dtype=torch.float64)
    a = torch.stack([square, path])
    model = symmetrize(Dense(4).double(), symmetry)
    assert check(model, symmetry, a, risks=False).verdict == "exact"
    out = model(a)[0]
    assert torch.allclose(out, out[:1].expand(4, 2)), "the corners of a square are alike"
    drawn = symmetrize(Dense(4).double(), symmetry, frame=LaplacianFrame(samples=2))
    assert drawn.frame(a).size == 2


def test_a_random_element_is_unbiased() -> None:
    torch.manual_seed(0)
    model = symmetrize(Flat(15, 2).double(), Symmetry("E(3)", "points", "invariant"), mode="sample")
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    drawn = model(x.expand(4096, 5, 3))
    model.mode = "mean"
    mean = model(x)[0]
    sigma = drawn.std(0) / 64
    assert bool(((drawn.mean(0) - mean).abs() < 5 * sigma).all())
    assert len(torch.unique(drawn[:, 0].round(decimals=9))) == 8


def test_one_random_turn_an_image() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).double()
    model = symmetrize(backbone, Symmetry("D4", "image", "invariant"), mode="sample")
    image = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    drawn = model(image.expand(4096, 1, 4, 4))
    model.mode = "mean"
    assert len(torch.unique(drawn.round(decimals=9))) == 8
    assert abs(float((drawn.mean() - model(image)).detach())) < 5 * float(drawn.detach().std()) / 64


@pytest.mark.parametrize("group", ["SO(3)", "O(3)"])
def test_weighted_frames_are_exact_also_on_a_cube(group: str) -> None:
    torch.manual_seed(0)
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    x = torch.stack([cube, torch.randn(8, 3, dtype=torch.float64)])
    symmetry = Symmetry(group, "points", "points")
    for model in (
        symmetrize(Flat(24).double(), symmetry, frame=WeightedFrame(group)),
        symmetrize(Flat(24).double(), symmetry, on_degenerate="weighted"),
    ):
        assert check(model, symmetry, x, risks=False).verdict == "exact"


def test_invariants_of_a_line_and_of_a_point() -> None:
    torch.manual_seed(0)
    symmetry = Symmetry("SE(3)", "points", "points")
    line = torch.arange(5.0, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64) + 3
    x = torch.stack([line, torch.ones(5, 3, dtype=torch.float64)])
    model = symmetrize(Flat(15).double(), symmetry, on_degenerate="weighted")
    g = symmetry.group.sample((2,), dtype=torch.float64)
    assert torch.allclose(model(symmetry.act_input(g, (x,))[0]), symmetry.act_output(g, model(x)), atol=1e-9)


def test_far_from_the_origin_nothing_is_lost() -> None:
    torch.manual_seed(0)
    model = symmetrize(Flat(15, 2), Symmetry("SE(3)", "points", "invariant"))
    x = torch.randint(-8, 8, (4, 5, 3)).float()
    assert torch.allclose(model(x), model(x + 2.0**16), atol=1e-6)


def test_forces_and_parameters_get_their_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    symmetry = Symmetry("SE(3)", "points", "invariant")
    model = symmetrize(Flat(15, 1).double(), symmetry)
    assert torch.autograd.gradcheck(model, (x,))
    force = torch.autograd.grad(model(x).sum(), x, create_graph=True)[0]
    force.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for n, p in model.named_parameters() if "2.bias" not in n)
    constant = symmetrize(model.module, symmetry, differentiable=False)
    assert torch.allclose(constant(x), model(x))
    assert not torch.allclose(torch.autograd.grad(constant(x).sum(), x)[0], force)


def test_chunks_bound_the_samples_of_a_call() -> None:
    torch.manual_seed(0)
    backbone = Counting(Flat(15, 2).double())
    symmetry = Symmetry("E(3)", "points", "invariant")
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    whole = symmetrize(backbone, symmetry)(x)
    for chunk, calls in ((3, 8), (7, 4), (1, 8), (100, 1)):
        backbone.calls = 0
        assert torch.allclose(symmetrize(backbone, symmetry, chunk=chunk)(x), whole)
        assert backbone.calls == calls
    with pytest.raises(ValueError, match="chunk: 0"):
        symmetrize(backbone, symmetry, chunk=0)


def test_keywords_and_numbers_reach_the_backbone() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, power: int, *, scale: Tensor) -> Tensor:
            return (x[..., 0] ** power).sum(-1, keepdim=True) * scale

    symmetry = Symmetry("O(3)", ("points", "invariant"), "invariant")
    x, scale = torch.randn(3, 5, 3, dtype=torch.float64), torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    model = symmetrize(Scaled(), symmetry)
    one = model(x, 2, scale=torch.ones(3, 1, dtype=torch.float64))
    assert torch.allclose(model(x, 2, scale=scale), one * scale)


def test_outputs_in_a_dictionary() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.energy, self.move = Flat(15, 1).double(), Flat(15).double()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"energy": self.energy(x), "move": self.move(x)}

    symmetry = Symmetry("SO(3)", "points", {"energy": "invariant", "move": "vectors"})
    model = symmetrize(Both(), symmetry)
    assert check(model, symmetry, torch.randn(2, 5, 3, dtype=torch.float64), risks=False).verdict == "exact"


def test_what_cannot_be_done_is_said() -> None:
    invariant = Symmetry("SO(3)", "points", "invariant")
    for build, words in (
        (lambda: symmetrize(Flat(15), invariant, "canonical", on_degenerate="weighted"), "'canonical' takes one"),
        (lambda: symmetrize(Flat(15), invariant, "average"), "needs a finite group"),
        (lambda: symmetrize(Flat(15), invariant, "canonical", frame=WeightedFrame("SO(3)")), "only 'frame' uses one"),
        (lambda: symmetrize(Flat(15), Symmetry("S8", "rows", "invariant"), "average"), "too many"),
        (lambda: symmetrize(Flat(15), Symmetry("T(3)", "points", "points")), "no frame is known"),
        (lambda: symmetrize(Flat(16), Symmetry("SO(2)", "image", "invariant"))(torch.randn(2, 1, 4, 4)), "'points' or"),
    ):
        with pytest.raises(ValueError, match=words):
            build()
    assert symmetrize(Flat(15), invariant, frame=StochasticFrame(WeightedFrame("SO(3)"))).options.frame.exact is False


class Numbered(nn.Module):
    """A transformer that knows the place of a token in the row."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(tokens, width))
        self.layer = nn.TransformerEncoderLayer(width, 1, 8, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + self.place)


class DirectedGNN(nn.Module):
    """Messages between all pairs of points that know directions."""

    def __init__(self) -> None:
        super().__init__()
        self.edge, self.node = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        pairs = torch.cat(torch.broadcast_tensors(x[..., :, None, :], x[..., None, :, :]), -1)
        return self.node(torch.tanh(self.edge(pairs)).sum(-2)).mean(-2)


@pytest.mark.parametrize(
    ("build", "symmetry", "shape"),
    [
        (lambda: PointNet(), Symmetry("SO(3)", "points", "invariant"), (2, 6, 3)),
        (lambda: DirectedGNN(), Symmetry("E(3)", "points", "invariant"), (2, 5, 3)),
        (lambda: Numbered(5, 3), Symmetry("SE(3)", "points", "points"), (2, 5, 3)),
        (lambda: Numbered(5, 4), Symmetry("S(n)", "rows", "rows"), (2, 5, 4)),
        (lambda: Numbered(5, 3), Symmetry("SE(3) x S(n)", "points", "points"), (2, 5, 3)),
        (lambda: nn.Conv2d(1, 2, 3, padding=1), Symmetry("D4", "image", "image"), (2, 1, 6, 6)),
        (lambda: Flat(9), Symmetry("Octahedral", "points", "points"), (2, 3, 3)),
    ],
    ids=["PointNet", "GNN", "transformer-SE3", "transformer-Sn", "transformer-both", "convolution-D4", "octahedral"],
)
def test_the_checker_proves_every_kind_of_backbone(build: object, symmetry: Symmetry, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, x = symmetrize(build(), symmetry), torch.randn(shape)  # type: ignore[operator]
    assert check(model.module, symmetry, x, risks=False).verdict == "broken"
    result = check(model, symmetry, x, risks=False)
    assert result.verdict == "exact", str(result)
    assert set(result.error) == {"float64", "float32"}
