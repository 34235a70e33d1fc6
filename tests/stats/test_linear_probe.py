"""Probes agree with scikit-learn's, survive constant features, and do not depend on the scale of a feature."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from erlangen.stats import fit_logistic, fit_ridge


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (120,), generator=generator)
    x = torch.randn(120, 5, generator=generator, dtype=torch.float64)
    x[:, :3] += torch.eye(3, dtype=torch.float64)[label]
    return x * torch.tensor([1.0, 100.0, 1e-3, 1.0, 5.0]) + 7, label


def scaled(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(StandardScaler().fit_transform(x.numpy())) * ((len(x) - 1) / len(x)) ** 0.5


def test_ridge_predicts_what_scikit_learn_predicts() -> None:
    x, _ = data()
    target = torch.randn(120, 2, dtype=torch.float64)
    theirs = Ridge(alpha=3.0).fit(scaled(x).numpy(), target.numpy()).predict(scaled(x).numpy())
    torch.testing.assert_close(fit_ridge(x, target, penalty=3.0)(x), torch.from_numpy(theirs))


def test_logistic_regression_is_scikit_learns_optimum() -> None:
    x, label = data()
    ours = fit_logistic(x, label, 3)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(scaled(x).numpy(), label.numpy())
    assert ours.converged
    torch.testing.assert_close(
        ours(x).softmax(1), torch.from_numpy(theirs.predict_proba(scaled(x).numpy())), atol=1e-3, rtol=0
    )


def test_the_chosen_penalty_shrinks_noise_and_keeps_signal() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 20, generator=generator, dtype=torch.float64)
    signal = x[:, :1] * 3
    assert float((fit_ridge(x, signal)(x) - signal).square().mean()) < 1e-6
    noise = torch.randn(200, 1, generator=generator, dtype=torch.float64)
    assert float(fit_ridge(x, noise)(x).var()) < 0.1


def test_constant_features_are_ignored_and_nan_is_an_error() -> None:
    x, label = data()
    with_constant = torch.cat([x, torch.full((120, 1), 3.3, dtype=torch.float64)], 1)
    torch.testing.assert_close(fit_logistic(with_constant, label, 3)(with_constant), fit_logistic(x, label, 3)(x))
    with pytest.raises(ValueError, match="NaN"):
        fit_logistic(torch.full((4, 2), torch.nan), torch.zeros(4, dtype=torch.long), 2)
    with pytest.raises(ValueError, match="label: 0 to 5"):
        fit_logistic(x, torch.arange(120) % 6, 3)
