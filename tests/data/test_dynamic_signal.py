"""The dynamic signal task and the three networks over patches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erlangen.data import DynamicSignal
from erlangen.nn.heads import ConvolutionalDSD, FullyConnectedDSD, LocallyConnectedDSD
from erlangen.testing import check
from erlangen.train.ensemble import fit_ensemble

few = settings(max_examples=15, deadline=None)


@few
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 41), st.integers(0, 99))
def test_labels_balance_and_without_noise_one_patch_is_the_signal(k: int, d: int, n: int, seed: int) -> None:
    task = DynamicSignal(k, d, n=n, seed=seed, sigma=0.0, dtype=torch.float64)
    assert task.x.shape == (n, k, d) and abs(int(task.y.sum())) == n % 2 and set(task.y.tolist()) <= {-1.0, 1.0}
    torch.testing.assert_close(task.signal.norm(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(task.x.sum(1), task.y[:, None] * task.signal)
    assert int((task.x.norm(dim=2) > 0.5).sum()) == n and task.oracle_accuracy() == 1.0
    again = DynamicSignal(k, d, n=n, seed=seed, sigma=0.0, dtype=torch.float64)
    assert torch.equal(again.x, task.x) and task.group.order == math.factorial(k)


def test_the_noise_and_the_places_are_as_said() -> None:
    task = DynamicSignal(5, 4, n=40_000, seed=1, sigma=0.5)
    mean = task.x.mean(1) * 5 - task.y[:, None] * task.signal
    assert float(mean.std()) == pytest.approx(0.5 * math.sqrt(5), rel=0.02)
    places = (task.x @ task.signal * task.y[:, None]).argmax(1).bincount().float() / 40_000
    assert float((places - 0.2).abs().max()) < 0.01


def test_the_oracle_of_one_patch_is_the_normal_law() -> None:
    for sigma in (0.4, 0.7, 1.5):
        exact = 0.5 * (1 + math.erf(1 / (sigma * math.sqrt(2))))
        task = DynamicSignal(1, 3, sigma=sigma)
        assert task.oracle_accuracy() == pytest.approx(exact, abs=0.004)
        assert task.oracle_accuracy(bayes=True) == pytest.approx(exact, abs=0.004)
    task = DynamicSignal(12, 3, sigma=0.5)
    assert task.oracle_accuracy(bayes=True) > task.oracle_accuracy() - 0.002


@few
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_the_three_networks_contain_each_other(k: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(7, k, d, generator=generator, dtype=torch.float64)
    one, own, full = (kind(k, d).double() for kind in (ConvolutionalDSD, LocallyConnectedDSD, FullyConnectedDSD))
    with torch.no_grad():
        own.weight.copy_(one.weight.expand(k, d))
        full.weight.copy_(torch.block_diag(*own.weight))
    torch.testing.assert_close(own(x), one(x))
    torch.testing.assert_close(full(x), own(x))
    assert k > 1 or one.weight.numel() == own.weight.numel() == full.weight.numel()
    order = torch.randperm(k, generator=generator)
    torch.testing.assert_close(one(x[:, order]), one(x), rtol=1e-13, atol=1e-13)


def test_only_the_convolutional_one_has_the_symmetry_of_the_task() -> None:
    task = DynamicSignal(4, 6, n=16)
    assert check(ConvolutionalDSD(4, 6), task.symmetry, (task.x,)).verdict == "exact"
    for other in (LocallyConnectedDSD(4, 6), FullyConnectedDSD(4, 6)):
        assert check(other, task.symmetry, (task.x,)).verdict == "broken"


@pytest.mark.parametrize("kind", [FullyConnectedDSD, LocallyConnectedDSD, ConvolutionalDSD])
def test_gradient_descent_commutes_with_the_rotations_of_the_architecture(kind: type) -> None:
    k, d, generator = 3, 4, torch.Generator().manual_seed(0)
    task = DynamicSignal(k, d, n=40, dtype=torch.float64)

    def rotation(n: int) -> torch.Tensor:
        return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(-target * output).mean()

    model = kind(k, d, threshold=0.05, generator=generator).double()
    turned = kind(k, d, threshold=0.05).double()
    if kind is FullyConnectedDSD:
        q = rotation(k * d)
        x, weight = (task.x.flatten(1) @ q.T).view_as(task.x), model.weight @ q.T
    elif kind is LocallyConnectedDSD:
        q = torch.stack([rotation(d) for _ in range(k)])
        x, weight = torch.einsum("kij,nkj->nki", q, task.x), torch.einsum("kij,kj->ki", q, model.weight)
    else:
        q = rotation(d)
        x, weight = task.x @ q.T, q @ model.weight
    with torch.no_grad():
        turned.weight.copy_(weight)
    losses = [
        torch.stack(
            fit_ensemble(
                [m], z, task.y, loss=loss, steps=60, lr=0.1, momentum=0.9, optimizer="sgd", record_every=1
            ).losses
        )
        for m, z in ((model, task.x), (turned, x))
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-8, atol=1e-10)
    adam = [
        fit_ensemble([m], z, task.y, loss=loss, steps=60, lr=0.1, record_every=1).losses[-1]
        for m, z in ((model, task.x), (turned, x))
    ]
    assert float((adam[0] - adam[1]).abs()) > 1e-6  # the control: Adam does not commute


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: DynamicSignal(0, 3), "k, d, n"),
        (lambda: DynamicSignal(2, 3, sigma=-1.0), "sigma"),
        (lambda: ConvolutionalDSD(2, 0), "k, d"),
        (lambda: FullyConnectedDSD(2, 3)(torch.zeros(4, 3, 3)), "2, 3"),
    ],
)
def test_bad_input(build: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        build()  # type: ignore[operator]
