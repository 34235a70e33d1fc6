"""Permutation tensors: the basis against group averages and SVD, contraction against the basis, masks and sizes."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.functions.combinatorial.numbers import bell as sympy_bell

from erlangen.groups.permutations import (
    bell,
    contract,
    diagram_basis,
    diagram_from_orbit,
    diagrams,
    is_coarser,
    mobius,
    orbit_basis,
    orbit_from_diagram,
    orbit_index,
    perm_basis_apply,
    perm_hom_basis,
    perm_projection,
    set_partitions,
)

ORDERS = [(0, 1), (1, 0), (1, 1), (2, 0), (1, 2), (2, 1), (2, 2), (3, 1)]


def permuted(x, g, order):
    """(g·x)[g[i], g[j], ...] = x[i, j, ...] on the last `order` axes."""
    source = torch.argsort(g)
    for axis in range(1, order + 1):
        x = x.index_select(x.ndim - axis, source)
    return x


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def power_matrix(g, order):
    p = torch.eye(len(g), dtype=torch.float64)[torch.argsort(g)]
    out = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(order):
        out = torch.kron(out, p)
    return out


def test_partitions_are_counted_by_the_bell_numbers():
    for m in range(8):
        assert len(set_partitions(m)) == bell(m) == int(sympy_bell(m)) == len(set(set_partitions(m)))
    assert set_partitions(2) == (((0, 1),), ((0,), (1,)))


@pytest.mark.parametrize("m", range(6))
def test_mobius_inverts_the_refinement_order(m):
    zeta, mu = diagram_from_orbit(m), orbit_from_diagram(m)
    assert torch.equal(zeta @ mu, torch.eye(bell(m), dtype=torch.float64))
    one, singletons = set_partitions(m)[0], set_partitions(m)[-1]
    if m:
        assert mobius(singletons, one) == (-1) ** (m - 1) * math.factorial(m - 1)
        assert is_coarser(one, singletons) and not (m > 1 and is_coarser(singletons, one))


def test_named_maps_of_deep_sets_and_of_the_fifteen():
    assert [len(diagrams(*k)) for k in ((1, 1), (2, 0), (2, 1), (2, 2), (2, 3))] == [2, 2, 5, 15, 52]
    x = noise(4, 4)
    assert torch.allclose(contract(x, (0, 1), (0,), normalize=False), x.sum(1))
    assert torch.allclose(contract(x, (0, 1), (1,)), x.mean(0))
    assert torch.allclose(contract(x, (0, 0), (0,)), x.diagonal())
    assert torch.allclose(contract(x, (0, 1), (1, 0)), x.T)
    assert torch.allclose(contract(x, (0, 0), (), normalize=False), x.trace())
    assert torch.allclose(contract(x, (0, 1), (2, 2)), x.mean() * torch.eye(4, dtype=x.dtype))
    assert torch.allclose(contract(x, (0, 1), (2, 0)), x.mean(1)[None].expand(4, 4))


@pytest.mark.parametrize("k", ORDERS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_basis_is_orthonormal_equivariant_and_complete(k, n):
    k_in, k_out = k
    basis = perm_hom_basis(n, k_in, k_out)
    assert torch.allclose(torch.einsum("aoi,boi->ab", basis, basis), torch.eye(len(basis), dtype=basis.dtype))
    average = torch.zeros(basis[0].numel(), basis[0].numel(), dtype=torch.float64)
    every = [torch.tensor(g) for g in itertools.permutations(range(n))]
    for g in every:
        out, inner = power_matrix(g, k_out), power_matrix(g, k_in)
        assert torch.allclose(out @ basis, basis @ inner)
        average += torch.kron(out, inner) / len(every)  # the Reynolds operator on matrices
    assert torch.allclose(torch.einsum("aoi,apj->oipj", basis, basis).reshape(average.shape), average)
    spans = [torch.linalg.matrix_rank(f(n, *k).flatten(1)).item() for f in (orbit_basis, diagram_basis)]
    partitions = [p for p in set_partitions(sum(k)) if len(p) <= n]
    assert spans == [len(basis)] * 2 and len(basis) == len(partitions) == round(average.trace().item())


@settings(max_examples=15)
@given(st.sampled_from(ORDERS), st.integers(1, 5), st.integers(0, 99), st.sampled_from([torch.float64, torch.float32]))
def test_contraction_is_the_diagram_basis_and_commutes_with_permutations(k, n, seed, dtype):
    k_in, k_out = k
    x = noise(2, *[n] * k_in, seed=seed, dtype=dtype)
    y = perm_basis_apply(x, k_in, k_out, normalize=False, n=n)
    matrices = diagram_basis(n, k_in, k_out, dtype=dtype)
    expected = torch.einsum("doi,bi->bdo", matrices, x.reshape(2, -1)).reshape(y.shape)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    assert torch.allclose(y, expected, atol=tolerance)
    g = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = perm_basis_apply(permuted(x, g, k_in), k_in, k_out, n=n)
    assert torch.allclose(moved, permuted(perm_basis_apply(x, k_in, k_out, n=n), g, k_out), atol=tolerance)


@settings(max_examples=10)
@given(st.sampled_from(ORDERS), st.integers(1, 4), st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_padding_changes_nothing(k, n, extra, normalize, seed):
    k_in, k_out = k
    x = noise(1, 2, *[n] * k_in, seed=seed)
    padded = noise(1, 2, *[n + extra] * k_in, seed=seed + 1)  # rubbish outside the mask
    padded[(slice(None), slice(None), *[slice(n)] * k_in)] = x
    mask = (torch.arange(n + extra) < n)[None]
    y = perm_basis_apply(padded, k_in, k_out, mask=mask, normalize=normalize)
    expected = torch.zeros_like(y)
    inside = (slice(None), slice(None), slice(None), *[slice(n)] * k_out)
    expected[inside] = perm_basis_apply(x, k_in, k_out, normalize=normalize, n=n)
    assert torch.allclose(y, expected, atol=1e-10)


@settings(max_examples=10)
@given(st.sampled_from(ORDERS), st.integers(1, 4), st.integers(0, 99))
def test_projection_is_the_orthogonal_projection_on_the_basis(k, n, seed):
    basis = perm_hom_basis(n, *k)
    weight = noise(3, *basis.shape[1:], seed=seed)
    expected = torch.einsum("boi,coi,cpq->bpq", weight, basis, basis)
    assert torch.allclose(perm_projection(weight, n, *k), expected, atol=1e-10)
    once = perm_projection(weight, n, *k)
    assert torch.allclose(perm_projection(once, n, *k), once, atol=1e-12)


def test_orbit_numbers_name_the_equality_pattern():
    index = orbit_index(4, 3)
    for at in itertools.product(range(4), repeat=3):
        pattern = set_partitions(3)[index[at]]
        assert all((at[i] == at[j]) == any(i in b and j in b for b in pattern) for i in range(3) for j in range(3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: set_partitions(-1), "m:"),
        (lambda: set_partitions(40), "m:"),
        (lambda: diagrams(-1, 2), "k_in, k_out"),
        (lambda: contract(noise(3, 4), (0, 1), (0,)), "one size"),
        (lambda: contract(noise(3), (), (0,)), "n:"),
        (lambda: contract(noise(3, 3), (0, 1), (0,), n=4), "n:"),
        (lambda: contract(noise(2, 3, 3), (0, 1), (0,), mask=torch.ones(3, 3, dtype=torch.bool)), "mask"),
        (lambda: perm_hom_basis(0, 1, 1), "n, k_in, k_out"),
        (lambda: perm_hom_basis(50, 3, 3), "GiB"),
        (lambda: perm_projection(noise(3, 4), 3, 1, 1), "weight"),
        (lambda: is_coarser(((0,),), ((0,), (1,))), "different sets"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_integers_are_refused():
    with pytest.raises(TypeError, match="floating"):
        contract(torch.ones(3, 3, dtype=torch.int64), (0, 1), (0,))
