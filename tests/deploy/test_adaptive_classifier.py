"""The cascade over prefixes: what it promises on held-out samples, and what it refuses."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erlangen.deploy import AdaptiveClassifier
from erlangen.nn import MatryoshkaHead

DIMS = (2, 4, 8)


def fitted(seed: int, *, tied: bool = False, count: int = 300) -> tuple[MatryoshkaHead, torch.Tensor, torch.Tensor]:
    """Samples around class means, noisier for some, and the head that ridge regression gives each length."""
    g = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(5, DIMS[-1], generator=g)
    label = torch.randint(5, (count,), generator=g)
    z = means[label] + torch.randn(count, DIMS[-1], generator=g) * (0.2 + 2 * torch.rand(count, 1, generator=g))
    head = MatryoshkaHead(DIMS, 5, tied=tied).requires_grad_(False)
    with torch.no_grad():
        for layer in head.heads:
            layer.weight.copy_(means[:, : layer.in_features])
            layer.bias.copy_(-means[:, : layer.in_features].square().sum(1) / 2)
    return head, z, label


@given(seed=st.integers(0, 999), tied=st.booleans(), tolerance=st.sampled_from([0.0, 0.01, 0.05, 0.5]))
def test_on_the_samples_it_was_fitted_with_it_loses_at_most_the_tolerance(
    seed: int, tied: bool, tolerance: float
) -> None:
    head, z, label = fitted(seed, tied=tied)
    found = AdaptiveClassifier.fit(head, z, label, tolerance=tolerance)(z)
    whole = head.at(z, DIMS[-1]).argmax(1)
    loss = (whole == label).double().mean() - (found.label == label).double().mean()
    assert float(loss) <= tolerance + 1e-12


@given(seed=st.integers(0, 999), tied=st.booleans())
def test_every_sample_is_decided_by_the_first_length_that_is_sure(seed: int, tied: bool) -> None:
    head, z, label = fitted(seed, tied=tied)
    cascade = AdaptiveClassifier.fit(head, z, label, tolerance=0.02)
    found = cascade(z)
    for i in range(len(z)):  # one at a time, by the words of the definition
        sure = [head.at(z[i : i + 1], dim).softmax(1)[0].max(0) for dim in DIMS]
        limits = [*cascade.thresholds.values(), 0.0]
        if any(abs(float(one.values) - limit) < 1e-5 for one, limit in zip(sure, limits, strict=True)):
            continue  # round-off decides
        first = next(j for j, limit in enumerate(limits) if float(sure[j].values) >= limit)
        assert int(found.dim[i]) == DIMS[first] and int(found.label[i]) == int(sure[first].indices)


@given(seed=st.integers(0, 99))
def test_what_may_all_be_lost_is_decided_at_once_and_infinite_thresholds_decide_nothing(seed: int) -> None:
    head, z, label = fitted(seed, tied=True)
    careless = AdaptiveClassifier.fit(head, z, label, tolerance=2.0)  # each length may lose every sample
    assert bool((careless(z).dim == DIMS[0]).all())
    assert careless.multiply_adds(z) == {"cascade": 5.0 * DIMS[0], "whole": 5.0 * DIMS[-1]}
    whole = AdaptiveClassifier(head, {2: float("inf"), 4: float("inf")})
    assert torch.equal(whole(z).label, head.at(z, DIMS[-1]).argmax(1)) and bool((whole(z).dim == 8).all())
    assert whole.multiply_adds(z)["cascade"] == whole.multiply_adds(z)["whole"]


def test_labels_that_say_nothing_stop_nobody_whom_the_whole_embedding_gets_right() -> None:
    """The null case: a first length without information, tolerance 0."""
    head, z, label = fitted(3)
    z[:, :4] = torch.randn(len(z), 4, generator=torch.Generator().manual_seed(1))
    cascade = AdaptiveClassifier.fit(head, z, label, tolerance=0.0)
    found, whole = cascade(z), head.at(z, DIMS[-1]).argmax(1)
    early = found.dim < DIMS[-1]
    assert int((whole[early] == label[early]).sum()) <= int((found.label[early] == label[early]).sum())


def test_thresholds_stay_with_the_head_they_were_learned_for(tmp_path: Path) -> None:
    head, z, label = fitted(0)
    cascade = AdaptiveClassifier.fit(head, z, label)
    again = AdaptiveClassifier.open(cascade.save(tmp_path / "c.json"), head)
    assert again.thresholds == cascade.thresholds and torch.equal(again(z).label, cascade(z).label)
    with pytest.raises(ValueError, match=r"head: lengths \[4, 8\] and 5 classes; the thresholds were learned for"):
        AdaptiveClassifier.open(tmp_path / "c.json", MatryoshkaHead((4, 8), 5))
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ValueError, match="not an adaptive classifier"):
        AdaptiveClassifier.open(tmp_path / "c.json", head)


def test_bad_input_is_refused_by_name() -> None:
    head, z, label = fitted(0)
    with pytest.raises(ValueError, match=r"thresholds: for the lengths \[2\]"):
        AdaptiveClassifier(head, {2: 0.5})
    with pytest.raises(ValueError, match="thresholds: nan at 4"):
        AdaptiveClassifier(head, {2: 0.5, 4: float("nan")})
    with pytest.raises(ValueError, match="tolerance: -1"):
        AdaptiveClassifier.fit(head, z, label, tolerance=-1.0)
    with pytest.raises(ValueError, match=r"label: .* at least one"):
        AdaptiveClassifier.fit(head, z[:0], label[:0])
    with pytest.raises(ValueError, match="z: NaN"):
        AdaptiveClassifier.fit(head, z / 0, label)
    with pytest.raises(ValueError, match="z: 4 dimensions"):
        AdaptiveClassifier.fit(head, z, label)(z[:, :4])
