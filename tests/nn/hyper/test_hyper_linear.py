"""A hyper-linear map equals the matrices it never builds, and cannot ignore its code."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.nn.hyper import HyperLinear, HyperPredictor


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_it_equals_a_matrix_per_sample(batch: int, inner: int, outer: int, code: int, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    layer = HyperLinear(inner, outer, code, bias=bias).double()
    if bias:
        torch.nn.init.normal_(layer.bias)
    x, g = torch.randn(batch, inner, dtype=torch.float64), torch.randn(batch, code, dtype=torch.float64)
    wanted = torch.stack([sum(g[i, k] * layer.weight[k] for k in range(code)) @ x[i] for i in range(batch)])
    if bias:
        wanted = wanted + g @ layer.bias
    torch.testing.assert_close(layer(x, g), wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer(x, g[0]), layer(x, g[:1].expand(batch, -1)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((layer.matrix(g) @ x[..., None]).squeeze(-1), wanted - (g @ layer.bias if bias else 0))


def test_gradients_are_right() -> None:
    for sizes in ((3, 2), (2, 4)):
        layer = HyperLinear(*sizes, 3).double()
        x, g = torch.randn(2, sizes[0], dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
        assert torch.autograd.gradcheck(layer, (x.requires_grad_(), g.requires_grad_()))


def test_the_first_outputs_are_as_large_as_the_inputs() -> None:
    torch.manual_seed(0)
    layer = HyperLinear(256, 256, 4)
    g = torch.nn.functional.normalize(torch.randn(512, 4), dim=-1)
    assert 0.9 < float(layer(torch.randn(512, 256), g).std()) < 1.1


@settings(max_examples=10, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 99))
def test_the_predictor_is_linear_in_the_code_and_cannot_ignore_it(a: float, b: float, seed: int) -> None:
    torch.manual_seed(seed)
    predictor = HyperPredictor(6, 4).double()
    z, g, h = (torch.randn(3, n, dtype=torch.float64) for n in (6, 4, 4))
    mixed = a * predictor(z, g) + b * predictor(z, h)
    torch.testing.assert_close(predictor(z, a * g + b * h), mixed, rtol=1e-10, atol=1e-10)
    assert bool((predictor(z, 0 * g) == 0).all()) and bool((predictor(0 * z, g) == 0).all())


def test_a_representation_is_predicted_without_error() -> None:
    """Embeddings made of vectors that turn with the object: some weights predict them exactly."""
    from erlangen.groups import SO

    rotation = SO(3).sample((8,), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = torch.randn(8, 2, 3, dtype=torch.float64)
    predictor = HyperPredictor(6, 9).double()
    weight = torch.zeros(9, 6, 6, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            for copy in range(2):
                weight[3 * i + j, 3 * copy + i, 3 * copy + j] = 1
    with torch.no_grad():
        predictor.linear.weight.copy_(weight)
    turned = (z @ rotation.mT).flatten(1)
    torch.testing.assert_close(predictor(z.flatten(1), rotation.flatten(1)), turned)


@pytest.mark.parametrize(
    ("x", "g", "word"), [((2, 3), (2, 4), "x:"), ((2, 5), (2, 3), "g:"), ((2, 5), (3, 4), "g:"), ((2, 5), (5,), "g:")]
)
def test_sizes_that_do_not_fit_are_named(x: tuple[int, ...], g: tuple[int, ...], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        HyperLinear(5, 2, 4)(torch.zeros(x), torch.zeros(g))
    with pytest.raises(ValueError, match="code_dim"):
        HyperLinear(5, 2, 0)
