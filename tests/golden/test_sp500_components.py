"""Principal components of every complete S&P 500 name, against scikit-learn and the rules' papers written down anew."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn.decomposition import PCA

from kernel.canonical import Matrix
from kernel.factors.model import EstimatedModel, RiskSettings
from kernel.factors.statistical import StatisticalSettings, statistical_model
from tests.sp500 import complete_names, needs_prices

pytestmark = needs_prices


@cache
def returns() -> tuple[tuple[str, ...], Matrix]:
    found = complete_names()
    return found.names, found.returns


@cache
def model(rule: str = "fixed", count: int = 10, *, standardize: bool = False) -> EstimatedModel:
    names, R = returns()
    return statistical_model(names, R, StatisticalSettings(rule, count, standardize=standardize), RiskSettings())


def test_ten_components_are_those_of_scikit_learn() -> None:
    names, R = returns()
    found, oracle = model(), PCA(10, svd_solver="full").fit(R)
    signs = np.sign(oracle.components_.sum(axis=1))
    expected = (signs[:, None] * oracle.components_).T * np.sqrt(len(names))
    np.testing.assert_allclose(found.model.B, expected, atol=1e-10)
    np.testing.assert_allclose(np.diag(found.model.Phi), 252 * oracle.explained_variance_ / len(names), rtol=1e-10)
    share = oracle.explained_variance_ratio_.sum()
    assert found.diagnostics["explained_share"] == pytest.approx(share, rel=1e-10)


def test_the_first_component_is_the_market() -> None:
    _, R = returns()
    found = model()
    assert np.corrcoef(found.F[:, 0], R.mean(axis=1))[0, 1] > 0.99
    assert (found.model.B[:, 0] > 0.0).mean() > 0.99
    assert 0.1 < np.sqrt(found.model.Phi[0, 0]) < 0.2


def test_the_rules_count_what_their_papers_count() -> None:
    _, R = returns()
    T, n = R.shape
    X = R - R.mean(axis=0)
    values = np.linalg.eigvalsh(X @ X.T / (n * T))[::-1]
    criteria = [np.log(values[k:].sum()) + k * (n + T) / (n * T) * np.log(min(n, T)) for k in range(21)]
    assert len(model("bai_ng", 20).model.factors) == int(np.argmin(criteria))
    assert len(model("eigenvalue_ratio", 20).model.factors) == 1 + int(np.argmax(values[:20] / values[1:21]))
    noise = (1.0 + np.sqrt(n / T)) ** 2
    above = int(np.sum(np.linalg.eigvalsh(np.corrcoef(R.T)) > noise))
    assert len(model("marchenko_pastur", 100).model.factors) == above
    assert 3 < above < 40


@pytest.mark.parametrize("standardize", [False, True])
def test_the_model_has_the_variance_of_every_name(standardize: bool) -> None:
    """But for the degrees of freedom that components take, which are of all names together, not of each."""
    _, R = returns()
    implied = np.diag(model(standardize=standardize).model.low_rank().dense())
    ratios = implied / (252 * R.var(axis=0, ddof=1))
    assert ratios.min() > 0.98
    assert ratios.max() < 1.05
    assert ratios.mean() == pytest.approx(1.0, abs=0.02)
