"""Training together gives what training one by one gives."""

import copy

import pytest
import torch
from torch import nn

from erlangen.train.ensemble import Ensemble, fit_ensemble


def networks(count: int, dtype: torch.dtype = torch.float64) -> list[nn.Module]:
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype))
    return made


def data(seed: int = 0, count: int = 40, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator, dtype=dtype), torch.randint(3, (count,), generator=generator)


def alone(model: nn.Module, x: torch.Tensor, y: torch.Tensor, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "options", "make"),
    [
        ("sgd", {"momentum": 0.9}, lambda p, lr, wd: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=wd)),
        ("sgd", {}, lambda p, lr, wd: torch.optim.SGD(p, lr, weight_decay=wd)),
        ("adam", {}, lambda p, lr, wd: torch.optim.Adam(p, lr, weight_decay=wd)),
        ("adamw", {}, lambda p, lr, wd: torch.optim.AdamW(p, lr, weight_decay=wd)),
    ],
)
def test_together_equals_one_by_one(name: str, options: dict[str, float], make: object) -> None:
    models, (x, y), rates, decays = networks(3), data(), [0.01, 0.05, 0.1], [0.0, 0.1, 0.2]
    run = fit_ensemble(models, x, y, steps=20, lr=rates, weight_decay=decays, optimizer=name, **options)  # type: ignore[arg-type]
    for model, trained, rate, decay in zip(models, run.models, rates, decays, strict=True):
        single = copy.deepcopy(model)
        alone(single, x, y, make(single.parameters(), rate, decay), 20)  # type: ignore[operator]
        for p, q in zip(single.parameters(), trained.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


def test_in_float32_it_agrees_to_a_hundred_thousandth() -> None:
    models, (x, y) = networks(4, torch.float32), data(dtype=torch.float32)
    run = fit_ensemble(models, x, y, steps=50, lr=0.05, optimizer="sgd")
    for model, trained in zip(models, run.models, strict=True):
        single = copy.deepcopy(model)
        alone(single, x, y, torch.optim.SGD(single.parameters(), 0.05), 50)
        for p, q in zip(single.parameters(), trained.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)


def test_every_member_may_have_data_of_its_own() -> None:
    models, sets = networks(2), [data(0), data(1)]
    x, y = torch.stack([s[0] for s in sets]), torch.stack([s[1] for s in sets])
    run = fit_ensemble(models, x, y, each=True, steps=30, batch_size=8, lr=0.1, optimizer="sgd", seeds=[3, 4])
    for place in range(2):
        one = fit_ensemble(
            models[place : place + 1], *sets[place], steps=30, batch_size=8, lr=0.1, optimizer="sgd", seeds=3 + place
        )
        for p, q in zip(one.models[0].parameters(), run.models[place].parameters(), strict=True):
            torch.testing.assert_close(p, q)


def test_losses_fall_and_outputs_are_those_of_the_members() -> None:
    models, (x, y) = networks(3), data()
    run = fit_ensemble(models, x, y, steps=200, lr=0.05, record_every=50)
    assert run.steps == [0, 50, 100, 150, 199] and bool((run.losses[-1] < run.losses[0]).all())
    outputs = run.ensemble(x)
    for place, model in enumerate(run.models):
        torch.testing.assert_close(outputs[place], model(x))
    assert not torch.equal(models[0][0].weight, run.models[0][0].weight)  # the originals stay


def test_frozen_weights_and_statistics_are_kept_apart() -> None:
    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
        model[0].requires_grad_(False)
        return model

    models, (x, y) = [make(0), make(1)], data()
    trained = fit_ensemble(models, x, y, steps=5, lr=0.1).models
    for before, after in zip(models, trained, strict=True):
        assert torch.equal(before[0].weight, after[0].weight) and not torch.equal(before[2].weight, after[2].weight)
        single = copy.deepcopy(before).train()
        for _ in range(5):
            single[:2](x)
        torch.testing.assert_close(single[1].running_mean, after[1].running_mean)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"models": []}, "models"),
        ({"models": [nn.Linear(6, 3), nn.Linear(6, 4)]}, "number 1"),
        ({"models": [nn.Linear(6, 3).requires_grad_(False)] * 2}, "nothing to train"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 41}, "batch_size"),
        ({"y": torch.zeros(39, dtype=torch.int64)}, "y:"),
        ({"lr": [0.1, 0.2]}, "lr"),
        ({"seeds": [1]}, "seeds"),
        ({"each": True}, "each=True"),
    ],
)
def test_bad_input(change: dict[str, object], word: str) -> None:
    x, y = data()
    with pytest.raises(ValueError, match=word):
        fit_ensemble(**{"models": networks(3), "x": x, "y": y, "steps": 1, **change})  # type: ignore[arg-type]


def test_an_ensemble_can_go_on() -> None:
    x, y = data()
    ensemble = Ensemble(networks(2))
    first = fit_ensemble(ensemble, x, y, steps=10, lr=0.1, optimizer="sgd")
    fit_ensemble(first.ensemble, x, y, steps=10, lr=0.1, optimizer="sgd")
    whole = fit_ensemble(networks(2), x, y, steps=20, lr=0.1, optimizer="sgd")
    torch.testing.assert_close(first.ensemble(x), whole.ensemble(x))


class Scaled(nn.Module):
    """A layer with a fixed table that may be shared, and one that is never saved."""

    def __init__(self, seed: int, table: torch.Tensor) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(6, 3).double()
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("own", torch.full((3,), 1.0 + seed, dtype=torch.float64), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.table * self.own


def test_a_tensor_that_all_members_hold_is_kept_once_and_one_that_is_not_saved_is_not_lost() -> None:
    table, (x, y) = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), data()
    models: list[nn.Module] = [Scaled(0, table), Scaled(1, table)]
    ensemble = Ensemble(models)
    assert set(ensemble.shared) == {"table"} and set(ensemble.buffers) == {"own"}
    outputs = ensemble(x)
    for place, member in enumerate(ensemble.members()):
        torch.testing.assert_close(outputs[place], models[place](x))
        torch.testing.assert_close(member(x), models[place](x))
        assert member.table is table  # type: ignore[comparison-overlap]
    apart: list[nn.Module] = [Scaled(0, table.clone()), Scaled(1, table.clone())]
    together, separate = fit_ensemble(models, x, y, steps=5), fit_ensemble(apart, x, y, steps=5)
    torch.testing.assert_close(together.ensemble(x), separate.ensemble(x))
    assert not Ensemble([models[0]] * 2).shared  # the same network twice: statistics must not be tied


@pytest.mark.parametrize("ignored", [False, True])
def test_the_entropy_of_classes_is_that_of_torch(ignored: bool) -> None:
    models, (x, y) = networks(3), data()
    if ignored:
        y[::3] = -100
    run = fit_ensemble(models, 100 * x, y, steps=1)
    for model, loss in zip(models, run.losses[0], strict=True):
        torch.testing.assert_close(nn.functional.cross_entropy(model(100 * x), y), loss)
