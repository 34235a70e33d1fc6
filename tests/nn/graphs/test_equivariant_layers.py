"""Equivariant linear layers and the universal network: the bases of the engine, named special cases, one θ for all n."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.groups.permutations import perm_basis_apply, perm_hom_basis
from erlangen.nn.graphs import EquivariantLinear, TensorizedGNN

ORDERS = [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3), (3, 3), (0, 2)]


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def layer(*arguments, seed=0, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    made = EquivariantLinear(*arguments, **options).to(dtype)
    if made.bias is not None:
        torch.nn.init.normal_(made.bias)
    return made


@settings(max_examples=15)
@given(
    st.sampled_from(ORDERS),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_the_layer_is_the_sum_over_all_diagrams(k, n, normalize, padded, dtype):
    k_in, k_out = k
    net = layer(k_in, k_out, 2, 3, normalize=normalize, dtype=dtype)
    x = noise(2, 2, *[n] * k_in, dtype=dtype)
    mask = torch.arange(n) < torch.tensor([[n], [max(n - 1, 1)]]) if padded else None
    options = {"mask": mask, "normalize": normalize, "n": n}
    maps = perm_basis_apply(x, k_in, k_out, **options).reshape(2, 2, len(net.weight), -1)
    free = perm_basis_apply(torch.ones(2, 1, dtype=dtype), 0, k_out, **options).reshape(2, 1, len(net.bias), -1)
    expected = torch.einsum("bcdz,doc->boz", maps, net.weight) + torch.einsum("bcdz,do->boz", free, net.bias)
    y = net(x, mask, n=n)
    assert y.shape == (2, 3, *[n] * k_out)
    assert torch.allclose(y.reshape(expected.shape), expected, atol=1e-10 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_layer_reaches_every_equivariant_map(n):
    """Its matrices, one for each weight, have the rank of `perm_hom_basis` and lie in its span."""
    for k_in, k_out in ((1, 1), (2, 1), (2, 2)):
        net = layer(k_in, k_out, 1, 1, bias=False, normalize=False)
        eye = torch.eye(n**k_in, dtype=torch.float64).reshape(-1, 1, *[n] * k_in)
        matrices = []
        for place in range(len(net.weight)):
            with torch.no_grad():
                net.weight.zero_()[place] = 1
                matrices.append(net(eye).reshape(n**k_in, n**k_out).T)
        maps = torch.stack(matrices)
        basis = perm_hom_basis(n, k_in, k_out)
        assert torch.linalg.matrix_rank(maps.flatten(1)) == len(basis)
        inside = torch.einsum("moi,boi,bpj->mpj", maps, basis, basis)
        assert torch.allclose(inside, maps, atol=1e-10)


def test_order_one_is_deep_sets():
    net = layer(1, 1, 2, 3)
    x = noise(4, 2, 6)
    same, mean = net.weight.unbind(0)  # the slots in one block, then apart
    expected = same @ x + (mean @ x.mean(-1, keepdim=True)) + net.bias[0][:, None]
    assert torch.allclose(net(x), expected)


def test_one_parameter_vector_serves_every_size():
    torch.manual_seed(0)
    for task in ("invariant", "equivariant"):
        net = TensorizedGNN(2, 8, task=task).double()
        small, large = (net((noise(16, n, n) > 0).double()) for n in (5, 50))
        assert torch.isfinite(small).all() and torch.isfinite(large).all()
        assert 0.2 < large.abs().mean() / small.abs().mean() < 5


@settings(max_examples=10)
@given(st.integers(1, 3), st.sampled_from(["invariant", "equivariant"]), st.integers(0, 99))
def test_padding_and_renaming_the_tensorized_network(k, task, seed):
    torch.manual_seed(seed)
    net = TensorizedGNN(k, 4, task=task).double()
    x = noise(1, 4, 4, seed=seed)
    wide = noise(1, 6, 6, seed=seed + 1)
    wide[:, :4, :4] = x
    mask = torch.arange(6)[None] < 4
    expected = net(x)
    padded = net(wide, mask)
    assert torch.allclose(padded if task == "invariant" else padded[:, :4], expected, atol=1e-10)
    assert task == "invariant" or padded[:, 4:].eq(0).all()
    g = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    moved = net(x[:, g][:, :, g])
    assert torch.allclose(moved, expected if task == "invariant" else expected[:, g], atol=1e-10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: EquivariantLinear(-1, 1, 1, 1), "at least 0"),
        (lambda: EquivariantLinear(2, 5, 1, 1), "allow_large"),
        (lambda: TensorizedGNN(5), "allow_large"),
        (lambda: TensorizedGNN(0), "k, width"),
        (lambda: EquivariantLinear(2, 2, 1, 1)(torch.zeros(1, 1, 3, 4)), "one size"),
        (lambda: EquivariantLinear(2, 2, 1, 1)(torch.zeros(1, 2, 3, 3)), "x: expected"),
        (lambda: TensorizedGNN(1)(torch.zeros(2, 3, 4)), "adjacency"),
        (lambda: EquivariantLinear(2, 1, 1, 1)(torch.zeros(1, 1, 3, 3), torch.ones(1, 4, dtype=torch.bool)), "n:"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_an_unknown_task_is_named():
    with pytest.raises(Exception, match="task"):
        TensorizedGNN(1, task="both")
