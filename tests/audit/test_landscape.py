"""Random subspaces of weight space: the maps, the network in a subspace, the dimension that training needs."""

import json
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard
from torch import nn

from erlangen.audit import Finding
from erlangen.audit.landscape import (
    PROJECTIONS,
    SubspaceModel,
    hadamard_transform,
    intrinsic_dimension,
    make_projection,
)

few = settings(max_examples=15, deadline=None)


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.BatchNorm1d(7), nn.Linear(7, 3))


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@few
@given(st.integers(0, 9), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 99))
def test_the_transform_is_scipys_matrix_its_own_inverse_and_keeps_lengths(
    m: int, dtype: torch.dtype, seed: int
) -> None:
    size = 2**m
    x = normal(2, 3, size, seed=seed, dtype=dtype)
    y = hadamard_transform(x)
    torch.testing.assert_close(y, x @ torch.as_tensor(hadamard(size)).to(dtype), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(hadamard_transform(y), size * x, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(y.square().sum(-1), size * x.square().sum(-1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(hadamard_transform(hadamard_transform(x, normalized=True), normalized=True), x)


def test_the_transform_has_the_right_gradient_and_says_what_it_cannot_do() -> None:
    assert torch.autograd.gradcheck(hadamard_transform, normal(2, 64).requires_grad_())
    for bad, word in (
        (torch.zeros(3), "power of two"),
        (torch.zeros(4, dtype=torch.int64), "int64"),
        (torch.tensor(1.0), "axis"),
    ):
        with pytest.raises(ValueError, match=word):
            hadamard_transform(bad)


@pytest.mark.parametrize("kind", PROJECTIONS)
@few
@given(dim=st.integers(1, 40), seed=st.integers(0, 99))
def test_projections_are_linear_repeatable_and_have_unit_columns(kind: str, dim: int, seed: int) -> None:
    sizes = [300, 20, 200, 1]
    p = make_projection(kind, dim, sizes, seed=seed, dtype=torch.float64)
    columns = p(torch.eye(dim, dtype=torch.float64))
    a, b = normal(dim, seed=seed), normal(dim, seed=seed + 1)
    torch.testing.assert_close(p(2 * a - b), (2 * a - b) @ columns)
    again = make_projection(kind, dim, sizes, seed=seed, dtype=torch.float64)
    assert torch.equal(again(a), p(a)) and not torch.equal(
        make_projection(kind, dim, sizes, seed=seed + 1)(a.float()), p(a)
    )
    lengths = columns.norm(dim=1)
    tolerance = 6 / math.sqrt(1024) if kind == "fastfood" else 1e-10
    assert float((lengths - 1).abs().max()) < tolerance


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_columns_are_nearly_orthogonal(kind: str) -> None:
    size, dim = 4096, 256
    columns = make_projection(kind, dim, [size], seed=3, dtype=torch.float64)(torch.eye(dim, dtype=torch.float64))
    gram = columns @ columns.T
    if kind in ("fastfood", "orthonormal"):  # the number of weights is a power of two
        torch.testing.assert_close(gram.diagonal(), torch.ones(dim, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    square = float((gram - gram.diagonal().diag()).square().sum() / (dim * (dim - 1)))
    # E (sum G² chi)² / (sum G²)² = E G⁴ / D = 3 / D for Fastfood, and it has only 255 different entries here
    expected = {"orthonormal": 0.0, "fastfood": 3 / size}.get(kind, 1 / size)
    assert abs(square - expected) < 0.4 * expected + 1e-20


def test_fastfood_is_the_product_of_its_five_factors_and_nested_in_its_dimension() -> None:
    size, dim, full, seed = 700, 37, 1024, 5
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (full,), generator=generator).double() * 2 - 1
    order = torch.randperm(full, generator=generator)
    diagonal = torch.randn(full, generator=generator, dtype=torch.float64)
    h = torch.as_tensor(hadamard(full)).double()
    scale = math.sqrt(full * float(diagonal.square().sum())) * math.sqrt(size / full)
    expected = (h @ (diagonal[:, None] * (h @ signs.diag())[order]))[:size] / scale
    for d in (dim, 64, 3):
        columns = make_projection("fastfood", d, [size], seed=seed, dtype=torch.float64)(
            torch.eye(d, dtype=torch.float64)
        )
        torch.testing.assert_close(columns.T, expected[:, :d])


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_at_zero_it_is_the_network_itself_and_its_gradient_is_the_projected_one(kind: str) -> None:
    model = network().double()
    inside = SubspaceModel(model, 9, projection=kind, seed=2)
    x = normal(6, 5)
    assert torch.equal(inside.eval()(x), model.eval()(x))
    assert [name for name, _ in inside.named_parameters()] == ["v"] and inside.v.shape == (9,)
    (inside(x) ** 2).sum().backward()
    (model(x) ** 2).sum().backward()
    flat = torch.cat([p.grad.flatten() for p in model.parameters()])
    columns = inside.projection(torch.eye(9, dtype=torch.float64))
    torch.testing.assert_close(inside.v.grad, columns @ flat)


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_a_compact_checkpoint_is_a_seed_and_the_coordinates(kind: str, tmp_path: object) -> None:
    def build() -> SubspaceModel:
        return SubspaceModel.from_seed(network, 12, projection=kind, seed=4)

    trained, x = build(), normal(16, 5, dtype=torch.float32)
    trained.train()(x)
    with torch.no_grad():
        trained.v.normal_(generator=torch.Generator().manual_seed(0))
    state = trained.state_dict(compact=True)
    assert sum(t.numel() for t in state.values() if isinstance(t, torch.Tensor)) == 12 + 7 + 7 + 1
    path = f"{tmp_path}/v.pt"
    torch.save(state, path)
    fresh = build()
    fresh.load_state_dict(torch.load(path, weights_only=True))
    assert torch.equal(fresh.eval()(x), trained.eval()(x))
    plain = trained.materialize(network(9)).eval()
    torch.testing.assert_close(plain(x), trained(x))
    whole = SubspaceModel.from_seed(network, 12, projection=kind, seed=4)
    whole.load_state_dict(trained.state_dict())
    assert torch.equal(whole.eval()(x), trained(x))
    with pytest.raises(ValueError, match="seed is 4"):
        SubspaceModel.from_seed(network, 12, projection=kind, seed=5).load_state_dict(state)
    with pytest.raises(ValueError, match="checksum"):
        SubspaceModel(network(1), 12, projection=kind, seed=4).load_state_dict(state)


def test_tied_fixed_and_integer_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4, bias=False)
            self.b = nn.Linear(4, 4)
            self.b.weight = self.a.weight
            self.c = nn.Parameter(torch.arange(3), requires_grad=False)
            self.b.bias.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    model = Tied()
    inside = SubspaceModel(model, 16, projection="orthonormal")
    assert inside.size == 16 and set(inside.fixed) == {"b.bias", "c"}
    with torch.no_grad():
        inside.v.copy_(inside.projection.rows @ torch.ones(16))
        model.a.weight.add_(1.0)
    x = normal(3, 4, dtype=torch.float32)
    torch.testing.assert_close(inside(x), model(x))


def test_ten_constraints_on_a_thousand_weights_need_exactly_ten_dimensions() -> None:
    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(normal(1000, seed=1))

        def forward(self) -> torch.Tensor:
            return self.theta.view(10, 100).sum(1)

    for kind in PROJECTIONS:
        residuals = []
        for dim in (5, 9, 10, 11):
            inside = SubspaceModel(Toy(), dim, projection=kind, seed=0)
            # the outputs are affine in v: the least squares solution is where any training ends
            start = inside().detach()
            jacobian = torch.autograd.functional.jacobian(
                lambda v, m=inside: torch.func.functional_call(m, {"v": v}, ()), inside.v.detach()
            )
            best = torch.linalg.lstsq(jacobian, torch.arange(10).double() - start).solution
            with torch.no_grad():
                inside.v.copy_(best)
            residuals.append(float((inside().detach() - torch.arange(10)).square().mean()))
        assert min(residuals[:2]) > 1e-4 and max(residuals[2:]) < 1e-18, kind
        assert all(a >= b - 1e-18 for a, b in pairwise(residuals[2:])), kind


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: SubspaceModel(network(), 0), "dim: 0"),
        (lambda: SubspaceModel(network(), 10_000), "dim: 10000"),
        (lambda: SubspaceModel(nn.ReLU(), 1), "no trainable"),
        (lambda: SubspaceModel(nn.LazyLinear(3), 1), "run the network once"),
        (lambda: SubspaceModel(network(), 3, projection="fast"), "fastfood"),
        (lambda: SubspaceModel(network(), 3, projection=make_projection("dense", 2, [80])), "at least `dim`"),
    ],
)
def test_bad_input(build: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        build()  # type: ignore[operator]


class Sums(nn.Module):
    """Ten outputs, each the sum of a hundred weights."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(0.1 * torch.randn(1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.theta.view(10, 100).sum(1) + 0 * x


def test_the_measured_dimension_of_ten_constraints_is_between_eight_and_sixteen() -> None:
    x = torch.zeros(4, 10)
    y = normal(10, seed=3, dtype=torch.float32).expand(4, 10)
    found = intrinsic_dimension(
        Sums,
        (x, y),
        validation=(x, y),
        dims=[4, 8, 16, 32],
        loss=nn.functional.mse_loss,
        score=lambda output, target: ((output - target).square().mean(-1) < 1e-3).float(),
        steps=250,
        lr=0.01,
        seeds=2,
    )
    assert 8 < found.value <= 16 and found.details["weights"] == 1000 and found.reference is not None
    assert found.ci is not None and 8 < found.ci.low <= found.ci.high <= 16
    assert found.details["relative"] == [0, 0, 1, 1]


def test_where_there_is_nothing_to_learn_no_dimension_is_needed() -> None:
    x, y = normal(64, 5, dtype=torch.float32), torch.zeros(64, dtype=torch.int64)

    def sure() -> nn.Module:
        made = nn.Linear(5, 2)
        with torch.no_grad():
            made.bias.copy_(torch.tensor([9.0, -9.0]))
        return made

    found = intrinsic_dimension(sure, (x, y), dims=[1, 3], steps=3, seeds=2, batch_size=16)
    assert found.value == 0 and "nothing was learned" in found.meaning


def test_what_cannot_be_reached_is_infinite_and_the_record_survives_json() -> None:
    x = normal(256, 20, dtype=torch.float32)
    y = (x[:, 0] * x[:, 1] > 0).long()

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 2))

    found = intrinsic_dimension(build, (x, y), validation=(x, y), dims=[1, 2], steps=60, seeds=2, target=1.0, lr=0.02)
    assert math.isinf(found.value) and "Not even 2 of 370" in found.meaning
    assert Finding.from_dict(json.loads(json.dumps(found.to_dict()))).metric == "landscape.intrinsic_dimension_100"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"target": 1.5}, "target"),
        ({"dims": [3, 2]}, "dims"),
        ({"dims": [1, 999]}, "370"),
        ({"validation": 0.0}, "validation"),
        ({"projection": "fast"}, "projection"),
        ({"data": (torch.zeros(3, 20), torch.zeros(4))}, "data"),
    ],
)
def test_bad_input_of_the_measurement(change: dict[str, object], word: str) -> None:
    arguments: dict[str, object] = {
        "data": (torch.zeros(8, 20), torch.zeros(8, dtype=torch.int64)),
        "steps": 1,
        "dims": [1],
    }
    with pytest.raises(ValueError, match=word):
        intrinsic_dimension(
            lambda: nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 2)), **{**arguments, **change}
        )  # type: ignore[arg-type]
