"""PyG graphs: renaming nodes, moving coordinates, batches."""

import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.utils import to_dense_adj

from erlangen.groups import actions, parse

from .strategies import draws


def molecule(seed: int, nodes: int = 5) -> Data:
    generator = torch.Generator().manual_seed(seed)
    return Data(
        x=torch.randn(nodes, 2, generator=generator),
        pos=torch.randn(nodes, 3, dtype=torch.float64, generator=generator),
        vel=torch.randn(nodes, 3, dtype=torch.float64, generator=generator),
        edge_index=torch.tensor([[0, 1, 2, 4], [1, 3, 4, 0]]),
        edge_attr=torch.randn(4, 1, generator=generator),
        y=torch.ones(1),
    )


def same(a: Data, b: Data) -> bool:
    return all(torch.allclose(a[key].double(), b[key].double(), atol=1e-10) for key in a.keys())  # noqa: SIM118


def test_renaming_is_conjugation_of_the_adjacency():
    data = molecule(0)
    (g,) = draws("S5", 0, 1, ())
    moved = actions.Graph(parse("S5"))(g, data)
    before, after = to_dense_adj(data.edge_index)[0], to_dense_adj(moved.edge_index)[0]
    assert torch.equal(after, actions.Permute(parse("S5"), axes=(-2, -1))(g, before))
    assert torch.equal(moved.x[g], data.x) and torch.equal(moved.edge_attr, data.edge_attr)
    assert torch.equal(data.x, molecule(0).x)  # the original is untouched


@pytest.mark.parametrize("name", ["S5", "E(3)", "E(3) x S5"])
def test_left_action_on_one_graph(name):
    group = parse(name)
    act = actions.from_type("graph", group)
    g, h = draws(group, 1, 2, ())
    assert same(act(g, act(h, molecule(1))), act(group.compose(g, h), molecule(1)))


@pytest.mark.parametrize("batch", [(), (2,)])
def test_batches_are_renamed_inside_each_graph(batch):
    group = parse("E(3) x S5")
    act = actions.from_type("graph", group)
    data = Batch.from_data_list([molecule(2), molecule(3)])
    g, h = draws(group, 2, 2, batch)
    moved = act(g, data)
    assert same(act(g, act(h, data)), act(group.compose(g, h), data))
    assert torch.equal(moved.batch, data.batch)
    alone = act((g[0][0], g[1][0]) if batch else g, molecule(2))
    assert torch.allclose(moved.pos[:5], alone.pos) and torch.equal(moved.edge_index[:, :4], alone.edge_index)


def test_velocities_turn_but_do_not_shift():
    (g,) = draws("SE(3)", 4, 1, ())
    moved = actions.Graph(parse("SE(3)"))(g, molecule(4))
    torch.testing.assert_close(moved.vel, molecule(4).vel @ g[:3, :3].mT)


def test_misfits_are_named():
    with pytest.raises(ValueError, match="do not fit 1 graphs with 5 nodes"):
        actions.Graph(parse("S4"))(torch.arange(4), molecule(0))
    with pytest.raises(ValueError, match="one element a graph"):
        actions.Graph(parse("SO(3)"))(draws("SO(3)", 0, 1, (2,))[0], molecule(0))
