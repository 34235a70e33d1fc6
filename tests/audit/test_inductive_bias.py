"""Bits of inductive bias, of kernels and of networks, and the samples that architectures need."""

import json
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from erlangen.audit import Finding
from erlangen.audit.bias import inductive_bias, inductive_bias_nn, interpolants, sample_complexity
from erlangen.audit.bias.noncentral import fit_noncentral, noncentral_logcdf
from erlangen.audit.bias.posterior import rbf
from erlangen.data import DynamicSignal
from erlangen.nn.heads import ConvolutionalDSD, FullyConnectedDSD, LocallyConnectedDSD

Pairs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def teacher(n: int = 20, m: int = 6, d: int = 3, outputs: int = 2, seed: int = 0) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n + m, d, generator=generator, dtype=torch.float64)
    y = torch.sin(x @ torch.randn(d, outputs, generator=generator, dtype=torch.float64))
    return x[:n], y[:n], x[n:], y[n:]


def test_interpolants_go_through_the_training_data_and_are_the_textbook_posterior() -> None:
    x, y, x_test, y_test = teacher()
    through = interpolants(x, y, torch.cat([x, x_test]), kernel=rbf(1.0))
    torch.testing.assert_close(through.mean[:20], y, rtol=1e-6, atol=1e-6)
    assert float(through.covariance[:20].abs().max()) < 1e-6
    k = rbf(1.0)
    inverse = torch.linalg.inv(k(x, x))
    torch.testing.assert_close(through.mean[20:], k(x_test, x) @ inverse @ y, rtol=1e-6, atol=1e-7)
    expected = k(x_test, x_test) - k(x_test, x) @ inverse @ k(x, x_test)
    torch.testing.assert_close(through.covariance[20:, 20:], expected, rtol=1e-6, atol=1e-7)
    assert y_test.shape == through.mean[20:].shape


def test_all_training_inputs_as_landmarks_are_the_whole_posterior() -> None:
    x, y, x_test, _ = teacher()
    whole = interpolants(x, y, x_test, kernel=rbf(1.0), noise=0.1)
    few = interpolants(x, y, x_test, kernel=rbf(1.0), noise=0.1, landmarks=20)
    torch.testing.assert_close(few.mean, whole.mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(few.covariance, whole.covariance, rtol=1e-6, atol=1e-8)


def test_the_law_of_the_error_is_that_of_drawn_functions() -> None:
    x, y, x_test, y_test = teacher()
    posterior = interpolants(x, y, x_test, kernel=rbf(1.0))
    drawn = (posterior.draw(40_000, torch.Generator().manual_seed(0)) - y_test).square().mean((1, 2))
    for share in (0.005, 0.1, 0.5, 0.9):
        eps = float(drawn.quantile(share))
        found = inductive_bias(x, y, x_test, y_test, eps=eps)
        assert found.value == pytest.approx(-math.log2(share), abs=0.2 if share < 0.01 else 0.05)
        counted = inductive_bias(x, y, x_test, y_test, eps=eps, method="mc", samples=20_000)
        assert counted.ci is not None and counted.ci.low - 0.02 <= found.value <= counted.ci.high + 0.02
        rough = inductive_bias(x, y, x_test, y_test, eps=eps, method="saddlepoint")
        assert rough.value == pytest.approx(found.value, abs=0.03)
    fitted = inductive_bias(x, y, x_test, y_test, eps=float(drawn.median()), method="ncx2")
    assert fitted.value == pytest.approx(1.0, abs=0.1)


def test_the_curve_falls_from_not_representable_to_nothing() -> None:
    x, y, x_test, y_test = teacher()
    eps = [0.001, 0.01, 0.1, 1.0, 10.0]
    bits = inductive_bias(x, y, x_test, y_test, eps=eps).details["bits"]
    assert all(a >= b for a, b in pairwise(bits)) and bits[-1] < 1e-6 and bits[0] > 20
    # test points that are training points with other labels: every function is wrong there alike
    fixed = inductive_bias(x, y, torch.cat([x[:3], x_test]), torch.cat([y[:3] + 1.0, y_test]), eps=0.3)
    assert math.isinf(fixed.value) and "not representable" in fixed.meaning
    assert fixed.details["shared_error"] == pytest.approx(1 / 3, abs=1e-4)
    assert Finding.from_dict(json.loads(json.dumps(fixed.to_dict()))).metric == "inductive_bias.bits"


def test_more_data_needs_fewer_bits_and_more_dimensions_more() -> None:
    """For functions drawn from the same kernel; one that is wrong about the smoothness grows sure of wrong answers."""

    def bits(n: int, d: int, seed: int) -> float:
        x = torch.randn(n + 30, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        root = torch.linalg.cholesky(rbf(2.0)(x, x) + 1e-9 * torch.eye(n + 30, dtype=torch.float64))
        y = root @ torch.randn(n + 30, 1, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
        return inductive_bias(x[:n], y[:n], x[n:], y[n:], eps=0.02, bandwidth=2.0).value

    def average(n: int, d: int) -> float:
        return sum(bits(n, d, seed) for seed in range(4)) / 4

    assert average(10, 4) > average(30, 4) > average(100, 4)
    assert average(30, 2) < average(30, 4) < average(30, 8)


def test_the_fit_through_cumulants_finds_the_law_it_was_drawn_from() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(400_000, 6, generator=generator, dtype=torch.float64)
    errors = 0.3 * (normal + torch.tensor([2.0, 0, 0, 0, 0, 0])).square().sum(1)
    scale, df, nc = fit_noncentral(errors[None])[0].tolist()
    assert scale == pytest.approx(0.3, rel=0.1) and df == pytest.approx(6, rel=0.2) and nc == pytest.approx(4, rel=0.3)
    q = errors.quantile(0.01)
    logarithm = float(noncentral_logcdf(fit_noncentral(errors[None]), q[None]))
    assert logarithm == pytest.approx(math.log(0.01), abs=0.05)


class RandomFeatures(nn.Module):
    """A wide ReLU layer that stays as drawn, and a linear map on it that is trained from normal weights."""

    def __init__(self, width: int = 400) -> None:
        super().__init__()
        self.first = nn.Linear(3, width, bias=False)
        self.first.weight = nn.Parameter(torch.randn(width, 3), requires_grad=False)
        self.last = nn.Parameter(torch.randn(width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x).relu() @ self.last * (2 / len(self.last)) ** 0.5


def arc_cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """`2 E relu(w a) relu(w b)` for normal w (Cho and Saul 2009)."""
    lengths = a.norm(dim=1)[:, None] * b.norm(dim=1)
    angle = ((a @ b.T) / lengths).clamp(-1, 1).arccos()
    return lengths / math.pi * (angle.sin() + (math.pi - angle) * angle.cos())


def test_wide_networks_are_the_gaussian_process_of_their_kernel() -> None:
    x, y, x_test, y_test = (t.float() for t in teacher(6, 8, 3, 1))
    posterior = inductive_bias(x, y, x_test, y_test, eps=0.1, kernel=arc_cosine)
    trained = inductive_bias_nn(RandomFeatures, x, y, x_test, y_test, eps=0.1, members=24, steps=400, lr=0.03)
    assert trained.details["train_error"] < 1e-3
    assert trained.details["mean_error"] == pytest.approx(posterior.details["mean_error"], rel=0.35)
    assert trained.ci is not None and trained.ci.low <= trained.value <= trained.ci.high
    assert (
        trained.details["counted_bits"][1] <= trained.details["counted_bits"][0] <= trained.details["counted_bits"][2]
    )


def test_an_architecture_that_knows_the_symmetry_needs_fewer_samples() -> None:
    task = DynamicSignal(6, 6, seed=1)
    kinds = {"cnn": ConvolutionalDSD, "lcn": LocallyConnectedDSD}
    found = sample_complexity(
        {name: lambda kind=kind: kind(6, 6) for name, kind in kinds.items()},
        task,
        target=0.88,
        n_grid=(8, 32, 128, 512),
        seeds=2,
        steps=120,
        lrs=(0.1, 0.3),
    )
    assert found["cnn"].value < 0.5 * found["lcn"].value and found["cnn"].value < 128
    assert found["cnn"].figure is not None and Finding.from_dict(json.loads(json.dumps(found["cnn"].to_dict())))


def test_with_one_patch_the_three_architectures_are_one() -> None:
    task = DynamicSignal(1, 6, seed=2)
    kinds = (ConvolutionalDSD, LocallyConnectedDSD, FullyConnectedDSD)
    found = sample_complexity(
        {kind.__name__: lambda kind=kind: kind(1, 6) for kind in kinds}, task, n_grid=(16, 64), seeds=2, steps=40
    )
    curves = [finding.details["accuracy"] for finding in found.values()]
    assert curves[0] == pytest.approx(curves[1]) and curves[0] == pytest.approx(curves[2])


def test_above_the_oracle_nothing_is_trained() -> None:
    def never() -> nn.Module:
        raise AssertionError

    found = sample_complexity({"cnn": never}, DynamicSignal(1, 3, sigma=1.0), target=0.99)
    assert math.isinf(found["cnn"].value) and "Unreachable" in found["cnn"].meaning


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"eps": 0.0}, "eps"),
        ({"x_train": torch.zeros(2, 3), "y_train": torch.tensor([[0.0], [1.0]])}, "rows 0 and 1 are equal"),
        ({"x_train": torch.zeros(5001, 3), "y_train": torch.zeros(5001, 1)}, "landmarks"),
        ({"landmarks": 2}, "noise"),
        ({"noise": -1.0}, "noise"),
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"kernel": lambda a, b: -torch.ones(len(a), len(b))}, "positive definite"),
        ({"y_test": torch.zeros(4, 1)}, "y_test"),
        ({"x_train": torch.full((20, 3), math.nan)}, "x_train"),
    ],
)
def test_bad_input(change: dict[str, object], word: str) -> None:
    x, y, x_test, y_test = teacher(outputs=1)
    arguments = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test, "eps": 0.1, **change}
    with pytest.raises(ValueError, match=word):
        inductive_bias(**arguments)  # type: ignore[arg-type]


def test_equal_inputs_with_equal_labels_count_once() -> None:
    x, y, x_test, y_test = teacher()
    once = inductive_bias(x, y, x_test, y_test, eps=0.1)
    twice = inductive_bias(torch.cat([x, x]), torch.cat([y, y]), x_test, y_test, eps=0.1)
    assert twice.value == pytest.approx(once.value, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"target": 0.3}, "target"),
        ({"n_grid": (64, 16)}, "n_grid"),
        ({"models": {}}, "models"),
        ({"steps": 1}, "steps"),
    ],
)
def test_bad_input_of_sample_complexity(change: dict[str, object], word: str) -> None:
    arguments: dict[str, object] = {"models": {"cnn": lambda: ConvolutionalDSD(2, 3)}, "task": DynamicSignal(2, 3)}
    with pytest.raises(ValueError, match=word):
        sample_complexity(**{**arguments, **change})  # type: ignore[arg-type]
