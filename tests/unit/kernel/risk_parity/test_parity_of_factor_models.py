"""Budgets of the factors of a factor model: the shares beside the model's own parts of the variance."""

import numpy as np
import pytest

from kernel.canonical import Quadratic
from kernel.constraints import WeightBounds, budget
from kernel.factors.model import FactorModel
from kernel.measures import Volatility
from kernel.methods.budgets import factor_budgets
from kernel.methods.risk_parity import risk_parity
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.status import Status
from tests.unit.kernel.zoo import SETTINGS, asset_names

N, K = 500, 12
BUDGETS = np.linspace(1.0, 2.0, K)


def model_of(specific):
    rng = np.random.default_rng(1)
    B = np.column_stack([rng.normal(1.0, 0.3, N), rng.normal(0.0, 0.6, (N, K - 1))])
    M = rng.normal(size=(K, K))
    Phi = 0.02 * (M @ M.T / K + np.eye(K))
    variances = specific * rng.uniform(0.05, 0.3, N) ** 2
    return FactorModel(tuple(f"f{j}" for j in range(K)), asset_names(N), B, (Phi + Phi.T) / 2, variances)


def balanced(model):
    """Weights with the budgets of the model's factors, long and short, and their shares."""
    low = model.low_rank()
    moments = Moments(model.names, np.zeros(N), Quadratic(None, low.factor, low.diagonal))
    box = WeightBounds(np.full(N, -1.0), np.full(N, 1.0), ("low",) * N, ("high",) * N)
    problem = Problem(moments, MinimizeRisk(), Volatility(moments), (budget(N), box))
    found = risk_parity(problem, factor_budgets(model.factors, BUDGETS, model.B.T, np.ones(N, dtype=bool)), SETTINGS)
    assert found.solution.status is Status.OPTIMAL, found.solution.message
    return found.solution.weights, found.shares


def parts(model, w):
    """(k,) x_k (Phi x)_k over the variance, with the covariance written out."""
    x = model.B.T @ w
    return x * (model.Phi @ x) / (w @ (model.B @ model.Phi @ model.B.T + np.diag(model.specific)) @ w)


@pytest.mark.parametrize("specific", [0.0, 1.0])
def test_the_budgets_are_met(specific):
    _, shares = balanced(model_of(specific))
    np.testing.assert_allclose(shares, BUDGETS / BUDGETS.sum(), rtol=1e-8)


def test_without_specific_risk_shares_are_the_parts_of_the_model():
    model = model_of(0.0)
    w, shares = balanced(model)
    np.testing.assert_allclose(shares, parts(model, w), atol=1e-10)
    assert parts(model, w).sum() == pytest.approx(1.0, abs=1e-12)


def test_with_specific_risk_shares_hold_what_it_adds_along_the_factors():
    model = model_of(1.0)
    w, shares = balanced(model)
    Sigma = model.B @ model.Phi @ model.B.T + np.diag(model.specific)
    along = (model.B.T @ w) * np.linalg.lstsq(model.B, model.specific * w)[0] / (w @ Sigma @ w)
    np.testing.assert_allclose(shares, parts(model, w) + along, atol=1e-12)
    assert along.max() > 1e-6, "or the case says nothing"
    assert parts(model, w).sum() < shares.sum()
