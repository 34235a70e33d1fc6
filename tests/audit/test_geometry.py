"""Task geometry: cube and one-hot codes, invariances, scikit-learn's classifier, nulls."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.audit import audit
from erlangen.audit.geometry import (
    balanced_dichotomies,
    ccgp,
    condition_means,
    input_alignment,
    parallelism_score,
    shattering_dimension,
    target_alignment,
)
from erlangen.audit.preserve import fingerprint
from erlangen.audit.probes.geometry import Geometry
from erlangen.data.factored_task import FactoredTask


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(task: FactoredTask, count: int = 160, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, _, condition = task.sample(count, generator=generator(seed))
    return x, condition


BITS = ((0,), (1,), (2,))


def test_a_cube_is_abstract_and_its_bits_are_parallel() -> None:
    task = FactoredTask(3, 0.0, targets=BITS, noise=0.02, generator=generator())
    x, condition = rows(task)
    sides = task.targets.T
    torch.testing.assert_close(
        parallelism_score(task.means, sides), torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0
    )
    assert ccgp(x, sides, condition).accuracy.tolist() == [1.0, 1.0, 1.0]
    assert float(ccgp(x, task.bits.prod(1), condition).accuracy) < 0.5  # parity does not carry over


def test_one_hot_conditions_shatter_and_have_no_parallel_directions() -> None:
    task = FactoredTask(3, 1.0, noise=0.02, generator=generator())
    x, condition = rows(task)
    sides = balanced_dichotomies(8)
    assert float(shattering_dimension(x, condition).accuracy.mean()) == 1.0
    torch.testing.assert_close(
        parallelism_score(task.means, sides), torch.zeros(35, dtype=torch.float64), atol=1e-5, rtol=0
    )


def test_a_cube_cannot_be_shattered() -> None:
    task = FactoredTask(3, 0.0, noise=0.02, generator=generator())
    assert float(shattering_dimension(*rows(task)).accuracy.mean()) < 0.95


def test_all_dichotomies_are_listed_once() -> None:
    sides = balanced_dichotomies(8)
    assert len(sides) == math.comb(8, 4) // 2 and bool((sides.sum(1) == 4).all())
    assert len({tuple(s) for s in sides.tolist()} | {tuple(s) for s in (~sides).tolist()}) == 70
    some = balanced_dichotomies(16, most=50, generator=generator())
    assert len({tuple(s) for s in some.tolist()}) == 50 and bool((some.sum(1) == 8).all())


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_rotation_translation_and_scale_change_nothing(seed: int, scale: float, dtype: torch.dtype) -> None:
    draw = generator(seed)
    x = torch.randn(48, 5, generator=draw, dtype=torch.float64)
    condition = torch.arange(48) % 8
    x += 2 * torch.randn(8, 5, generator=draw, dtype=torch.float64)[condition]
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=draw, dtype=torch.float64)).Q
    moved = (scale * (x @ rotation + torch.randn(5, generator=draw, dtype=torch.float64))).to(dtype)
    x = x.to(dtype)
    sides = balanced_dichotomies(8)
    close = {"atol": 1e-8 if dtype == torch.float64 else 2e-3, "rtol": 0.0}
    mean, other = condition_means(x, condition), condition_means(moved, condition)
    torch.testing.assert_close(parallelism_score(mean, sides), parallelism_score(other, sides), **close)
    assert target_alignment(x, condition) == pytest.approx(target_alignment(moved, condition), abs=close["atol"])
    loose = {"atol": 0.0 if dtype == torch.float64 else 0.05, "rtol": 0.0}
    torch.testing.assert_close(ccgp(x, sides, condition).accuracy, ccgp(moved, sides, condition).accuracy, **loose)
    one, two = shattering_dimension(x, condition), shattering_dimension(moved, condition)
    torch.testing.assert_close(one.accuracy, two.accuracy, **loose)


def test_renaming_the_conditions_changes_nothing() -> None:
    task = FactoredTask(3, 0.4, noise=0.3, generator=generator())
    x, condition = rows(task, 240)
    order = torch.randperm(8, generator=generator(1))
    sides = balanced_dichotomies(8)
    renamed = torch.argsort(order)[condition]
    assert torch.allclose(parallelism_score(task.means, sides), parallelism_score(task.means[order], sides[:, order]))
    torch.testing.assert_close(ccgp(x, sides, condition).accuracy, ccgp(x, sides[:, order], renamed).accuracy)


def test_more_conditions_than_pairings_can_be_listed() -> None:
    task = FactoredTask(4, 0.1, targets=((0,), (3,)), dim=30, generator=generator())
    scores = parallelism_score(task.means, task.targets.T)
    # bit differences have length 2 sqrt(.9/4), own directions sqrt(.2): cosine .9 / (.9 + .2) for the right pairing
    torch.testing.assert_close(scores, torch.full((2,), 0.9 / 1.1, dtype=torch.float64), atol=1e-5, rtol=0)


def test_the_classifier_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    task = FactoredTask(3, 0.5, targets=((0, 1),), noise=0.25, generator=generator())
    x, condition = rows(task, 320)
    side = task.targets[:, 0] > 0
    accuracies = []
    for a, b in itertools.product(side.nonzero().flatten().tolist(), (~side).nonzero().flatten().tolist()):
        train = (condition != a) & (condition != b)
        centred = x[train] - x[train].mean(0)
        alpha = 1e-3 * float(centred.square().sum()) / x.shape[1]  # 40 rows a condition: the ridge in units of rows
        fitted = linear_model.RidgeClassifier(alpha=alpha).fit(x[train].double(), side[condition[train]])
        for own in (a, b):
            asked = condition == own
            accuracies.append(fitted.score(x[asked].double(), side[condition[asked]]))
    assert float(ccgp(x, side, condition).accuracy) == pytest.approx(sum(accuracies) / len(accuracies), abs=1e-6)


def test_a_linear_network_from_zero_takes_on_the_geometry_of_the_targets() -> None:
    task = FactoredTask(3, 0.3, targets=((0,), (0, 1)), generator=generator())
    x = task.means.double()
    first = (1e-5 * torch.randn(30, 30, generator=generator(1), dtype=torch.float64)).requires_grad_()
    last = (1e-5 * torch.randn(30, 2, generator=generator(2), dtype=torch.float64)).requires_grad_()
    whitened = torch.linalg.svd(x - x.mean(0), full_matrices=False).U[:, :7]
    optimizer = torch.optim.SGD([first, last], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        ((whitened @ first[:7] @ last - task.targets.double()) ** 2).sum().backward()
        optimizer.step()
    assert target_alignment(whitened @ first[:7].detach(), task.targets) > 0.999


def test_alignment_is_cka_and_one_for_the_same_geometry() -> None:
    z = torch.randn(12, 5, generator=generator(), dtype=torch.float64)
    y = torch.randn(12, 3, generator=generator(1), dtype=torch.float64)
    k = (z - z.mean(0)) @ (z - z.mean(0)).T
    l = (y - y.mean(0)) @ (y - y.mean(0)).T
    assert target_alignment(z, y) == pytest.approx(float((k * l).sum() / (k.norm() * l.norm())), rel=1e-10)
    assert input_alignment(z, z.reshape(12, 5, 1)) == pytest.approx(1.0)


def test_noise_is_at_chance() -> None:
    right = []
    for seed in range(40):
        x = torch.randn(64, 6, generator=generator(seed))
        right.append(float(shattering_dimension(x, torch.arange(64) % 4).accuracy.mean()))
    mean = torch.tensor(right)
    assert abs(float(mean.mean()) - 0.5) < 3 * float(mean.std()) / math.sqrt(40)


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(30, 12)
        self.last = nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).tanh())


def test_the_probe_sees_named_groupings_and_leaves_the_model_alone() -> None:
    task = FactoredTask(3, 0.0, targets=BITS, noise=0.05, generator=generator())
    x, condition = rows(task, 240)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Body().train()
    before = fingerprint(model)
    bits = {f"bit {i}": (task.bits[:, i] > 0).int().tolist() for i in range(3)}
    report = audit(model, (x, condition), probes=[Geometry(bits)], layers=["first"])
    assert fingerprint(model) == before
    found = {f.key: f for f in report.findings}
    assert found["geometry.ccgp@first"].verdict == "pass" and found["geometry.ccgp@first"].value > 0.95
    assert found["geometry.target_alignment@first"].verdict == "pass"
    assert found["geometry.parallelism@first"].value > 0.8
    assert found["geometry.parallelism@embedding"].figure is not None


def test_the_probe_passes_noise_no_more_often_than_stated() -> None:
    passed = tried = 0
    for seed in range(20):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Body()
        x = torch.randn(96, 30, generator=generator(seed))
        report = audit(model, (x, torch.arange(96) % 4), probes=["geometry"], layers=[], seed=seed)
        judged = [f for f in report.findings if f.metric in ("geometry.target_alignment", "geometry.shattering")]
        passed += sum(f.verdict == "pass" for f in judged)
        tried += len(judged)
    assert tried == 40 and passed <= 4  # at 2.5 % each; above 4 of 40 has probability 0.004


@pytest.mark.parametrize("live", [1, 2])
def test_conditions_that_are_all_alike_teach_nothing(live: int) -> None:
    condition = torch.arange(80) % 8
    x = torch.randn(80, 6, generator=generator()).relu() * (condition < live).unsqueeze(1)
    found = ccgp(x, balanced_dichotomies(8), condition)
    assert bool(torch.isfinite(found.accuracy).all()) and float(found.accuracy.mean()) == pytest.approx(0.5, abs=0.05)


def test_the_probe_takes_classes_that_coincide_many_classes_and_rare_ones() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Body()
    x = torch.randn(4, 30, generator=generator())[torch.arange(80) % 4 // 2 * 2]
    twins = audit(model, (x, torch.arange(80) % 4), probes=["geometry"], layers=[], reference=None)
    found = {f.metric: f for f in twins.findings}
    assert "geometry.parallelism" not in found and "the same mean" in found["geometry.ccgp"].warnings[-1]
    x = torch.randn(240, 30, generator=generator())
    many = audit(model, (x, torch.arange(240) % 60), probes=["geometry"], layers=[], reference=None)
    ccgp_of = {f.metric: f for f in many.findings}["geometry.ccgp"]
    assert "14 classes with most samples were looked at, of 60" in ccgp_of.warnings[0]
    rare = audit(model, (x, (torch.arange(240) < 2).long()), probes=["geometry"], layers=[], reference=None)
    assert {f.metric for f in rare.findings} == {"geometry.target_alignment", "geometry.input_alignment"}


def test_what_is_undefined_says_why() -> None:
    condition = torch.arange(16) % 4
    x = torch.randn(16, 3, generator=generator())
    with pytest.raises(ValueError, match="halves are needed"):
        ccgp(x, torch.tensor([1, 0, 0, 0]), condition)
    with pytest.raises(ValueError, match="constant"):
        ccgp(torch.ones(16, 3), torch.tensor([1, 1, 0, 0]), condition)
    with pytest.raises(ValueError, match="number 3 has 1 rows"):
        shattering_dimension(x[:13], torch.tensor([0, 1, 2] * 4 + [3]))
    with pytest.raises(ValueError, match="even number"):
        balanced_dichotomies(5)
    with pytest.raises(ValueError, match="the same mean"):
        parallelism_score(torch.zeros(4, 3), torch.tensor([1, 1, 0, 0]))
    with pytest.raises(ValueError, match="z: constant"):
        target_alignment(torch.ones(4, 2), torch.arange(4))
    with pytest.raises(ValueError, match="x: contains NaN"):
        ccgp(x * math.nan, torch.tensor([1, 1, 0, 0]), condition)
    with pytest.raises(ValueError, match="separation"):
        FactoredTask(3, 1.5)
    with pytest.raises(ValueError, match="targets"):
        FactoredTask(3, 0.5, targets=((3,),))
