"""Model selection, noise ceilings, identification and permutation: planted truths, nulls, and rsatoolbox's own numbers."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from erlangen.audit import rsa
from erlangen.stats.rdm_bootstrap import RdmResamples

STORED = Path(__file__).parent / "rsatoolbox_numbers.json"
RANKED = ("cosine", "pearson", "spearman", "rho_a", "tau_a")


def patterns(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(truth: Tensor, subjects: int, noise: float, seed: int) -> Tensor:
    """Each subject's matrix of the same patterns seen with noise of its own."""
    return rsa.rdm(truth + noise * patterns(seed, subjects, *truth.shape), "euclidean")


@pytest.fixture(scope="module")
def brain(data_root: str) -> tuple[Tensor, Tensor, list[str]]:
    with np.load(Path(data_root) / "rsa_92images" / "rsa_92images.npz") as data:
        human = torch.from_numpy(data["rdm_human_IT_subjects_sessions"]).double()
        return human, torch.from_numpy(data["rdm_models"]).double(), [str(n) for n in data["rdm_model_names"]]


@pytest.mark.data
@pytest.mark.parametrize("method", RANKED)
def test_a_bootstrap_of_the_92_images_is_that_of_rsatoolbox(
    brain: tuple[Tensor, Tensor, list[str]], method: str
) -> None:
    """Evaluations and noise ceilings of the resamples that rsatoolbox 0.3.2 drew; see `rsatoolbox_numbers.py`."""
    stored = json.loads(STORED.read_text("utf-8"))
    human, models, _ = brain
    draws = RdmResamples(torch.tensor(stored["stimuli"]), torch.tensor(stored["subjects"]))
    found = rsa.evaluate_models(models, human.flatten(0, 1), method, draws=draws)
    torch.testing.assert_close(
        found.samples, torch.tensor(stored[method]["values"], dtype=torch.float64), atol=1e-8, rtol=0
    )
    expected = torch.tensor(stored[method]["ceiling"], dtype=torch.float64)
    torch.testing.assert_close(found.ceiling_samples, expected, atol=1e-8, rtol=0)


@pytest.mark.data
def test_models_of_categories_explain_human_it_better_than_low_level_models(
    brain: tuple[Tensor, Tensor, list[str]],
) -> None:
    human, models, names = brain
    found = rsa.evaluate_models(models, human.mean(1), "spearman", names=names, resamples=100)
    assert names[found.best] in ("monkey IT", "category", "animacy", "monkeyIT") or "onkey" in names[found.best]


def test_the_true_model_is_found_and_reaches_the_ceiling() -> None:
    truth, other = patterns(0, 20, 30), patterns(1, 20, 30)
    data = measured(truth, 8, 0.7, 2)
    models = torch.stack([rsa.rdm(m, "euclidean") for m in (other, truth)])
    for method in ("pearson", "spearman"):
        found = rsa.evaluate_models(
            models, data, method, names=["other", "truth"], resamples=200, generator=torch.Generator().manual_seed(0)
        )
        assert found.best == 1 and found.winners == [1] and found.at_ceiling == [False, True]
        assert found.ceiling[0] <= found.ceiling[1] and float(found.low[1]) > float(found.high[0])
        assert float(found.p_value[0, 1]) < 0.05 and found.names[found.best] == "truth"


def test_the_upper_ceiling_is_not_exceeded_by_any_model() -> None:
    data = measured(patterns(0, 8, 10), 4, 1.0, 1)
    for method in ("cosine", "pearson"):
        lower, upper = rsa.noise_ceiling(data, method)
        unit = rsa.upper_triangle(data)
        unit = unit - unit.mean(1, keepdim=True) if method == "pearson" else unit
        best = rsa.from_upper_triangle((unit / unit.norm(dim=1, keepdim=True)).mean(0))
        assert float(rsa.compare_rdms(best, data, method).mean()) == pytest.approx(upper, abs=1e-10)
        for seed in range(20):
            model = rsa.from_upper_triangle(rsa.upper_triangle(best) + 0.05 * patterns(seed, 28))
            assert float(rsa.compare_rdms(model, data, method).mean()) <= upper + 1e-12
        rest = unit / unit.norm(dim=1, keepdim=True)
        left_out = [rsa.from_upper_triangle(rest[[t for t in range(4) if t != s]].mean(0)) for s in range(4)]
        by_hand = [float(rsa.compare_rdms(left_out[s], data[s], method)) for s in range(4)]
        assert lower == pytest.approx(np.mean(by_hand), abs=1e-10)


def test_models_without_a_difference_are_told_apart_no_more_often_than_the_level_says() -> None:
    """200 data sets with two models that know nothing of them: two-sided p below 0.05 in at most 5 % and its error."""
    wrong = 0
    for seed in range(200):
        data = rsa.rdm(patterns(seed, 4, 10, 12), "euclidean")
        models = rsa.rdm(patterns(10_000 + seed, 2, 10, 12), "euclidean")
        generator = torch.Generator().manual_seed(seed)
        found = rsa.evaluate_models(models, data, "pearson", resamples=100, generator=generator)
        wrong += len(found.winners) == 1
    assert wrong <= 18  # binomial(200, 0.05): 99 % are at most 18


def test_the_permutation_test_holds_its_level_and_finds_what_is_there() -> None:
    small = 0
    for seed in range(200):
        a, b = rsa.rdm(patterns(seed, 2, 8, 10))
        p = rsa.permutation_test(a, b, "pearson", resamples=39, generator=torch.Generator().manual_seed(seed))[1]
        small += p <= 0.05
    assert small <= 18
    x = patterns(0, 10, 20)
    value, p = rsa.permutation_test(rsa.rdm(x), rsa.rdm(x + 0.3 * patterns(1, 10, 20)), resamples=199)
    assert value > 0.5 and p == 1 / 200


def layers(seed: int, noise: float, subjects: int = 5, kinds: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    base = patterns(0, kinds, 14, 10)
    label, group = torch.arange(kinds).repeat(subjects), torch.arange(subjects).repeat_interleave(kinds)
    return rsa.rdm(base[label] + noise * patterns(seed, len(label), 14, 10)), label, group


def test_layers_with_a_signature_are_identified_and_without_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    for transform in (None, rsa.geo_topological, partial(rsa.geodesic, p=0.4)):
        found = rsa.identify(*layers(1, 0.3), transform=transform, resamples=100, generator=generator)
        assert found.accuracy == 1.0 and found.low > found.chance == 0.25 and found.separation < 0.5
        assert torch.equal(found.confusion, 5 * torch.eye(4, dtype=torch.int64))
    nothing = [rsa.identify(*layers(s, 1000.0), resamples=2, generator=generator).accuracy for s in range(60)]
    assert abs(np.mean(nothing) - 0.25) < 4 * np.std(nothing) / np.sqrt(60)


def test_identification_is_leave_one_group_out_written_out() -> None:
    rdms, label, group = layers(3, 3.0)
    told = rsa.identify(rdms, label, group, resamples=2).predicted
    x = rsa.upper_triangle(rdms)
    x = x - x.mean(1, keepdim=True)
    x = x / x.norm(dim=1, keepdim=True)
    for i in range(len(x)):
        kept = group != group[i]
        means = torch.stack([x[kept & (label == c)].mean(0) for c in range(4)])
        assert int((means @ x[i] / means.norm(dim=1)).argmax()) == int(told[i])


def test_bad_input_is_named() -> None:
    rdms, label, group = layers(1, 0.3)
    with pytest.raises(ValueError, match="at least two of both"):
        rsa.identify(rdms, torch.zeros_like(label), group)
    with pytest.raises(ValueError, match="3 occurs in one group only"):
        keep = (label != 3) | (group == 0)
        rsa.identify(rdms[keep], label[keep], group[keep])
    with pytest.raises(ValueError, match="2 subjects or more"):
        rsa.noise_ceiling(rdms[:1])
    with pytest.raises(ValueError, match="no noise ceiling"):
        rsa.noise_ceiling(rdms, "bures")
    with pytest.raises(ValueError, match="names: 1 for 2"):
        rsa.evaluate_models(rdms[:2], rdms, names=["one"])
    hollow = rdms.clone()
    hollow[0, 0, 1] = torch.nan
    with pytest.raises(ValueError, match="missing"):
        rsa.evaluate_models(rdms[:2], hollow)
