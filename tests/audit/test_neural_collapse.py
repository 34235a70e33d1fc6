"""Neural collapse: closed forms against a solver, planted geometries, nulls, and streams."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from erlangen.audit import audit
from erlangen.audit.budget import Budget
from erlangen.audit.collapse import (
    CollapseMoments,
    etf_prediction,
    frame_distance,
    gof_prediction,
    measure_collapse,
    neural_collapse,
    orthogonal_prediction,
    seli_prediction,
    unconstrained_features,
)
from erlangen.audit.collapse.findings import plain
from erlangen.audit.collapse.moments import reduced_moments
from erlangen.audit.preserve import fingerprint
from erlangen.audit.probes.collapse import shuffled_ratios


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(means: Tensor, per_class: list[int], noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    label = torch.repeat_interleave(torch.arange(len(means)), torch.tensor(per_class))
    return means[label] + noise * torch.randn(len(label), means.shape[1], generator=generator(seed)).to(means), label


def values(x: Tensor, label: Tensor, **options: object) -> dict[str, float]:
    moments = CollapseMoments(int(label.max()) + 1, x.shape[1]).update(x, label)
    return measure_collapse(moments, **options).values  # type: ignore[arg-type]


def simplex(classes: int, dim: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator(seed), dtype=torch.float64)).Q
    return (etf_prediction(classes).mean_gram @ rotation[:classes]).to(dtype)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_closed_form_is_what_descent_finds(depth: int) -> None:
    draw = generator(10 * depth)
    counts = torch.randint(5, 60, (4,), generator=draw).double()
    lam_w = (0.004 + 0.006 * torch.rand(depth, generator=draw)).tolist()
    lam_h = float(0.5 / counts.sum() * (0.01 + 0.02 * torch.rand(1, generator=draw)))
    predicted = gof_prediction(counts, lam_w, lam_h, depth=depth)
    solved = unconstrained_features(
        counts, lam_w, lam_h, depth=depth, dim=5, restarts=2 * depth - 1, steps=150, generator=draw
    )
    torch.testing.assert_close(solved.logits, predicted.logits, atol=1e-4, rtol=0)
    last = solved.weights[-1]
    scale = float(predicted.weight_gram.max()), float(predicted.mean_gram.max())
    torch.testing.assert_close(last @ last.T, predicted.weight_gram, atol=1e-4 * max(1, scale[0]), rtol=0)
    torch.testing.assert_close(solved.means.T @ solved.means, predicted.mean_gram, atol=1e-4 * max(1, scale[1]), rtol=0)


def test_with_a_bias_the_frame_is_a_simplex() -> None:
    predicted = gof_prediction([10] * 4, 0.01, 1e-4, depth=2, bias=True)
    solved = unconstrained_features([10] * 4, 0.01, 1e-4, depth=2, bias=True, restarts=1, generator=generator())
    torch.testing.assert_close(solved.logits, predicted.logits, atol=1e-4, rtol=0)
    assert predicted.centred
    assert float(frame_distance(predicted.weight_gram, etf_prediction(4).weight_gram)) < 1e-12


def test_minority_classes_collapse_to_zero_below_the_threshold() -> None:
    predicted = gof_prediction([100, 50, 3], 0.05, 0.02)
    assert predicted.collapsed.tolist() == [False, False, True]
    solved = unconstrained_features([100, 50, 3], 0.05, 0.02, restarts=1, generator=generator())
    torch.testing.assert_close(solved.logits, predicted.logits, atol=1e-4, rtol=0)


@given(
    counts=st.lists(st.integers(1, 200), min_size=2, max_size=6),
    lam_w=st.floats(1e-4, 0.3),
    lam_h=st.floats(1e-6, 0.01),
    depth=st.integers(1, 4),
)
def test_a_class_vanishes_exactly_below_its_threshold(
    counts: list[int], lam_w: float, lam_h: float, depth: int
) -> None:
    total = sum(counts)
    predicted = gof_prediction(counts, lam_w, lam_h, depth=depth)
    for k, n in enumerate(counts):
        b = depth * total / n * (total * lam_h * lam_w**depth) ** (1 / depth)
        limit = (depth - 1) ** ((depth - 1) / depth) / depth if depth > 1 else 1.0
        if abs(b / limit - 1) > 1e-9:
            assert bool(predicted.collapsed[k]) == (b >= limit)
        grid = torch.linspace(0, 30, 30_001, dtype=torch.float64)
        x = float((predicted.logits[k, k] / (1 - predicted.logits[k, k])) ** (1 / depth))
        assert 1 / (x**depth + 1) + b * x <= float((1 / (grid**depth + 1) + b * grid).min()) + 1e-9


def test_the_lengths_for_one_layer_are_those_of_the_paper() -> None:
    counts, lam_w, lam_h = torch.tensor([40.0, 20.0, 5.0], dtype=torch.float64), 0.01, 2e-4
    total = float(counts.sum())
    square = (counts * lam_h / lam_w).sqrt() - total * lam_h
    predicted = gof_prediction(counts, lam_w, lam_h)
    torch.testing.assert_close(predicted.weight_gram.diagonal(), square)
    torch.testing.assert_close(predicted.mean_gram.diagonal(), square / (square + total * lam_h) ** 2)
    torch.testing.assert_close(predicted.logits.diagonal(), square / (square + total * lam_h))


def test_equal_counts_give_the_symmetric_frames() -> None:
    gof, of = gof_prediction([30] * 5, 0.01, 1e-4, depth=3), orthogonal_prediction(5)
    assert float(frame_distance(gof.mean_gram, of.mean_gram)) < 1e-12
    assert float(frame_distance(gof.weight_gram, of.weight_gram)) < 1e-12
    seli, etf = seli_prediction([7] * 5), etf_prediction(5)
    for name in ("mean_gram", "weight_gram", "logits"):
        assert float(frame_distance(getattr(seli, name), getattr(etf, name))) < 1e-12
    kept = gof_prediction([40, 30, 20], 0.001, 1e-6, rank=2).mean_gram.diagonal()
    assert (kept > 0).tolist() == [True, True, False]


def test_seli_is_the_decomposition_of_the_centred_labels() -> None:
    counts = [4, 2, 1]
    label = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    z = torch.eye(3, dtype=torch.float64)[:, label] - 1 / 3
    v, scale, ut = torch.linalg.svd(z, full_matrices=False)
    first = torch.tensor([0, 4, 6])
    features = (ut.T * scale) @ ut
    predicted = seli_prediction(counts)
    torch.testing.assert_close(predicted.weight_gram, (v * scale) @ v.T)
    torch.testing.assert_close(predicted.mean_gram, features[first][:, first])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_simplex_without_scatter_is_collapsed(dtype: torch.dtype) -> None:
    x, label = clouds(simplex(5, 8, dtype), [6] * 5, 0.0)
    limit = 1e-12 if dtype == torch.float64 else 1e-6
    found = values(x, label, weight=simplex(5, 8).to(dtype), targets=("etf",))
    assert found["nc1"] < limit and found["cdnv"] < limit
    assert found["nc2.etf"] < limit and found["nc2_weights.etf"] < limit and found["nc3.etf"] < limit
    assert found["nc3_angle"] < 0.1


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_rotating_and_scaling_the_features_changes_nothing(seed: int, scale: float) -> None:
    means = torch.randn(4, 6, generator=generator(seed), dtype=torch.float64)
    x, label = clouds(means, [9, 12, 5, 7], 0.3, seed)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator(seed + 1), dtype=torch.float64)).Q
    before, after = values(x, label), values(scale * x @ rotation, label)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-8, abs=1e-10), name


def test_shards_give_the_statistics_of_one_pass_and_of_the_batch() -> None:
    x, label = clouds(100 + torch.randn(3, 5, generator=generator(), dtype=torch.float64), [40, 17, 31], 1.0)
    order = torch.randperm(len(x), generator=generator(1))
    x, label = x[order], label[order]
    whole = CollapseMoments(3, 5).update(x, label).compute()
    first, second = CollapseMoments(3, 5).update(x[:30], label[:30]), CollapseMoments(3, 5).update(x[30:], label[30:])
    first._absorb_pending()
    merged = first.merge(second).compute()
    streamed = CollapseMoments(3, 5)
    for row, own in zip(x.split(7), label.split(7), strict=True):
        streamed.update(row, own)._absorb_pending()
    for k in range(3):
        own = x[label == k]
        torch.testing.assert_close(whole.means[k], own.mean(0), rtol=1e-10, atol=0)
        torch.testing.assert_close(whole.spread[k], (own - own.mean(0)).square().sum(), rtol=1e-10, atol=0)
    scatter = sum((x[label == k] - x[label == k].mean(0)).T @ (x[label == k] - x[label == k].mean(0)) for k in range(3))
    torch.testing.assert_close(whole.scatter, scatter, rtol=1e-10, atol=1e-8)
    for other in (merged, streamed.compute()):
        torch.testing.assert_close(other.scatter, whole.scatter, rtol=1e-10, atol=1e-8)
        torch.testing.assert_close(other.means, whole.means, rtol=1e-10, atol=0)
    left = CollapseMoments(3, 5).update(x, label).compute(without=3)
    assert int(left.counts.sum()) < len(x)


def test_wide_features_lose_nothing_in_the_directions_that_matter() -> None:
    x, label = clouds(torch.randn(3, 70, generator=generator(), dtype=torch.float64), [21, 14, 33], 0.7)
    weight = torch.randn(3, 70, generator=generator(1), dtype=torch.float64)
    moments, basis = reduced_moments(x, label, 3, weight=weight)
    assert basis is not None and moments.means.shape[2] == 33
    wide = measure_collapse(CollapseMoments(3, 70).update(x, label), weight=weight)
    narrow = measure_collapse(moments, weight=weight @ basis)
    assert wide.values.keys() == narrow.values.keys()
    for name, value in wide.values.items():
        assert narrow.values[name] == pytest.approx(value, rel=1e-8, abs=1e-8), name
        if name in wide.intervals:
            assert narrow.intervals[name] == pytest.approx(wide.intervals[name], rel=1e-6, abs=1e-8), name
    few = shuffled_ratios(x, label, draws=4, generator=generator(7))
    many = shuffled_ratios(x, label, draws=39, generator=generator(7))
    torch.testing.assert_close(few, many[:4])


def test_nc1_is_that_of_the_pseudo_inverse() -> None:
    x, label = clouds(torch.randn(4, 6, generator=generator(), dtype=torch.float64), [20] * 4, 0.5)
    means = torch.stack([x[label == k].mean(0) for k in range(4)])
    within = (x - means[label]).T @ (x - means[label]) / len(x)
    centred = means - means.mean(0)
    between = centred.T @ centred / 4
    expected = float((within @ torch.linalg.pinv(between, hermitian=True, rtol=1e-8)).trace() / 4)
    assert values(x, label)["nc1"] == pytest.approx(expected, rel=1e-9)


def test_the_nearest_geometry_is_the_planted_one() -> None:
    counts = [80, 40, 20, 10]
    planted = gof_prediction(counts, 0.01, 1e-5)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator(), dtype=torch.float64)).Q[:4]
    means, weight = planted.mean_gram.sqrt() @ rotation, planted.weight_gram.sqrt() @ rotation
    x, label = clouds(means, counts, 0.01 * float(means.norm(dim=1).mean()))
    given_decays = values(x, label, weight=weight, lam_w=0.01, lam_h=1e-5)
    estimated = values(x, label, weight=weight)
    for found in (given_decays, estimated):
        for other in ("etf", "of", "seli"):
            assert found["nc2.gof"] < 0.2 * found[f"nc2.{other}"]
            assert found["nc2_weights.gof"] < 0.2 * found[f"nc2_weights.{other}"]


def test_a_simplex_may_be_anywhere_an_orthogonal_frame_may_not() -> None:
    x, label = clouds(simplex(5, 8), [6] * 5, 0.0)
    assert values(x + 3, label, targets=("etf",))["nc2.etf"] < 1e-10
    frame = torch.linalg.qr(torch.randn(8, 8, generator=generator(), dtype=torch.float64)).Q[:5]
    x, label = clouds(frame, [6] * 5, 0.0)
    assert values(x, label, targets=("of",))["nc2.of"] < 1e-10
    assert values(x + 3, label, targets=("of",))["nc2.of"] > 0.5


def test_noise_of_the_means_is_taken_out_of_nc2() -> None:
    found = [values(*clouds(simplex(4, 30), [20] * 4, 0.3, seed), targets=("etf",)) for seed in range(20)]
    raw = sum(f["nc2.etf"] ** 2 for f in found) / 20
    debiased = sum(f["nc2_debiased.etf"] ** 2 for f in found) / 20
    assert debiased < 0.5 * raw


def test_intervals_hold_the_truth() -> None:
    means = torch.randn(3, 4, generator=generator(5), dtype=torch.float64)
    centred = means - means.mean(0)
    truth = float((0.25 * torch.linalg.pinv(centred.T @ centred / 3, hermitian=True, rtol=1e-8)).trace() / 3)
    inside = 0
    for seed in range(60):
        x, label = clouds(means, [100] * 3, 0.5, seed)
        moments = CollapseMoments(3, 4).update(x, label)
        low, high = measure_collapse(moments, targets=()).intervals["nc1"]
        inside += low <= truth <= high
    assert inside >= 51  # 95 % of 60 is 57; below 51 has probability 0.002


def test_shuffling_counts_as_measuring_does() -> None:
    x, label = clouds(torch.randn(3, 5, generator=generator(), dtype=torch.float64), [12, 9, 15], 0.5)
    draw = generator(7)
    found = shuffled_ratios(x, label, draws=4, generator=generator(7))
    for value in found:
        again = label[torch.randperm(len(label), generator=draw)]
        assert float(value) == pytest.approx(values(x, again, targets=())["nc1"], rel=1e-8)


def test_shuffled_labels_are_called_structure_no_more_often_than_stated() -> None:
    passed = 0
    for seed in range(200):
        x = torch.randn(60, 5, generator=generator(seed), dtype=torch.float64)
        label = torch.arange(60) % 3
        moments = CollapseMoments(3, 5, folds=5).update(x, label)
        passed += measure_collapse(moments, targets=()).values["nc1"] < float(
            shuffled_ratios(x, label, generator=generator(seed + 1)).min()
        )
    assert passed <= 11  # the stated level is 2.5 %: 5 of 200; above 11 has probability 0.005


class Classifier(nn.Module):
    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(means.shape[1], means.shape[1]), nn.Identity())
        self.head = nn.Linear(means.shape[1], len(means), bias=False)
        with torch.no_grad():
            self.body[0].weight.copy_(torch.eye(means.shape[1]))
            self.body[0].bias.zero_()
            self.head.weight.copy_(means)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def test_the_probe_finds_the_head_and_judges_against_shuffled_labels() -> None:
    means = simplex(4, 6, torch.float32)
    model = Classifier(means).train()
    before = fingerprint(model)
    report = audit(
        model, clouds(means, [30] * 4, 0.05), probes=["collapse"], layers=["body"], budget=Budget(samples=100)
    )
    assert fingerprint(model) == before
    found = {f.key: f for f in report.findings}
    assert found["collapse.nc1@body"].verdict == "pass"
    assert found["collapse.nc2@body"].details["nearest"] in ("etf", "seli")
    assert found["collapse.nc4@body"].value == 1.0
    assert found["collapse.nc2@body"].figure is not None
    assert "collapse.nc2@embedding" not in found


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_probe_finds_the_head_of_a_model_in_any_precision(dtype: torch.dtype) -> None:
    means = simplex(4, 6, torch.float32)
    report = audit(
        Classifier(means).to(dtype), clouds(means, [30] * 4, 0.05), probes=["collapse"], layers=["body"], reference=None
    )
    found = {f.key: f for f in report.findings}
    assert found["collapse.nc1@body"].verdict == "pass" and found["collapse.nc4@body"].value == 1.0


def test_the_probe_finds_a_head_that_knows_of_more_classes_than_the_samples_have() -> None:
    means = simplex(4, 6, torch.float32)
    x, label = clouds(means, [30] * 4, 0.05)
    part = x[label < 3], label[label < 3]
    report = audit(Classifier(means), part, probes=["collapse"], layers=["body"], reference=None)
    found = {f.key: f for f in report.findings}
    assert "collapse.nc2@body" in found and "class 3 has no sample: left out" in found["collapse.nc2@body"].warnings
    model = Classifier(means)
    report = audit(model.body, part, probes=["collapse"], layers=[], reference=None, classifier=model.head)
    assert "collapse.nc2@embedding" in {f.key for f in report.findings}


def test_where_all_class_means_coincide_nothing_else_is_said() -> None:
    model = Classifier(simplex(4, 6, torch.float32))
    x = torch.zeros(40, 6)
    report = audit(model, (x, torch.arange(40) % 4), probes=["collapse"], layers=["body"], reference=None)
    assert {f.metric for f in report.findings} == {"collapse.nc1"}
    assert all(f.verdict == "fail" for f in report.findings)


def test_ratios_are_written_as_they_are_read() -> None:
    assert [plain(v) for v in (0.0, 0.2857, 850.3, 4.1e7, 3e-9)] == ["0", "0.29", "850", "10^7.6", "10^-8.5"]


def test_the_probe_says_that_random_labels_have_no_structure() -> None:
    x = torch.randn(200, 6, generator=generator(3))
    report = audit(
        Classifier(simplex(4, 6, torch.float32)), (x, torch.arange(200) % 4), probes=["collapse"], layers=["body"]
    )
    assert all(f.verdict != "pass" for f in report.findings)


def test_a_model_in_one_pass_and_left_as_it_was() -> None:
    means = simplex(3, 5, torch.float32)
    model = Classifier(means).train()
    before = fingerprint(model)
    x, label = clouds(means, [20] * 3, 0.1)
    batches = list(zip(x.split(16), label.split(16), strict=True))
    found = {f.key: f for f in neural_collapse(model, batches)}
    assert fingerprint(model) == before
    direct = {f.metric: f for f in neural_collapse(x, label, classifier=model.head)}
    assert found["collapse.nc2@input of head"].value == pytest.approx(direct["collapse.nc2"].value, rel=1e-4)
    with pytest.raises(ValueError, match="x: contains NaN"):
        neural_collapse(model, [(x * math.nan, label)])
    assert fingerprint(model) == before


def test_classes_that_cannot_be_measured_are_named() -> None:
    x, label = clouds(torch.randn(3, 4, generator=generator(), dtype=torch.float64), [10, 1, 10], 0.1)
    collapse = measure_collapse(CollapseMoments(4, 4).update(x, label))
    assert collapse.classes == [0, 2]
    assert "class 1 has one sample, so no scatter: left out" in collapse.notes
    assert "class 3 has no sample: left out" in collapse.notes
    with pytest.raises(ValueError, match="at least two"):
        measure_collapse(CollapseMoments(1, 4).update(x, torch.zeros(len(x), dtype=torch.int64)))
    with pytest.raises(ValueError, match="targets: 'cube'"):
        values(x, label, targets=("cube",))
    same = values(torch.ones(8, 3), torch.arange(8) % 2)
    assert math.isnan(same["nc1"])


def test_too_few_dimensions_for_a_simplex_use_the_nearest_of_lower_rank() -> None:
    angles = torch.arange(5, dtype=torch.float64) * 2 * math.pi / 5
    x, label = clouds(torch.stack([angles.cos(), angles.sin()], 1), [4] * 5, 0.0)
    assert values(x, label, targets=("etf",))["nc2.etf"] < 1e-10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([5], 0.1, 0.1), "counts"),
        (([5, 0], 0.1, 0.1), "counts"),
        (([5, 5], -0.1, 0.1), "lam_w, lam_h"),
        (([5, 5], [0.1, 0.1], 0.1), "lam_w: 2 values for 1"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gof_prediction(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="equal size only"):
        gof_prediction([5, 6], 0.1, 0.1, bias=True)
