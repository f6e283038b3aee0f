"""Nested clusters: each part against an independent model, and parts whose ratio has no meaning."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.hierarchy.nested import OBJECTIVES, Goal
from kernel.hierarchy.portfolio import HierarchyRequest, hierarchical_portfolio
from kernel.problem import Settings
from tests.unit.kernel.hierarchy.trees import names_of, of_covariance, returns, universe_of

SETTINGS = Settings()
FINE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
PLAIN = HierarchyRequest("nested_clusters", linkage="ward", of_columns=False)


def nested(universe, objective="minimize_risk", k=3, reference=0.0):
    asked = replace(PLAIN, clusters=k, goal=Goal(objective, reference))
    return hierarchical_portfolio(universe, asked, SETTINGS)


def least_risk(R, Sigma, measure):
    w = cp.Variable(len(Sigma), nonneg=True)
    match measure:
        case "cvar":
            t, losses = cp.Variable(), -R @ w
            risk = t + cp.sum(cp.pos(losses - t)) / (0.1 * len(R))
        case "mad":
            risk = cp.sum(cp.abs((R - R.mean(axis=0)) @ w))
        case _:
            risk = cp.quad_form(w, cp.psd_wrap(Sigma))
    cp.Problem(cp.Minimize(risk), [cp.sum(w) == 1]).solve(solver=cp.CLARABEL, **FINE)
    return w.value


def highest_ratio(Sigma, excess):
    y = cp.Variable(len(Sigma), nonneg=True)
    cp.Problem(cp.Minimize(cp.quad_form(y, cp.psd_wrap(Sigma))), [excess @ y == 1]).solve(solver=cp.CLARABEL, **FINE)
    return y.value / y.value.sum()


def parity(Sigma):
    """Cyclical coordinate descent: each weight solves its own condition, the others given."""
    y, n = 1.0 / np.sqrt(np.diag(Sigma)), len(Sigma)
    for _ in range(500):
        for i in range(n):
            others = Sigma[i] @ y - Sigma[i, i] * y[i]
            y[i] = (np.sqrt(others**2 + 4.0 * Sigma[i, i] / n) - others) / (2.0 * Sigma[i, i])
    return y / y.sum()


def by_hand(universe, labels, best):
    """Within clusters and then between them, where `best` makes weights of returns, means and a covariance."""
    R, mu, Sigma = universe.scenarios.R, universe.moments.mu, universe.moments.Sigma
    V = np.zeros((len(mu), labels.max() + 1))
    for label in range(labels.max() + 1):
        held = np.flatnonzero(labels == label)
        V[held, label] = best(R[:, held], mu[held], Sigma[np.ix_(held, held)]) if len(held) > 1 else 1.0
    return V @ best(R @ V, V.T @ mu, V.T @ Sigma @ V)


@pytest.mark.parametrize("measure", ["volatility", "variance", "cvar", "mad"])
def test_least_risk(measure):
    universe = universe_of(returns(1, n=9), measure)
    found = nested(universe)
    expected = by_hand(universe, found.clusters, lambda R, mu, Sigma: least_risk(R, Sigma, measure))
    np.testing.assert_allclose(found.weights, expected, atol=2e-6)
    assert found.note == ""


def test_highest_ratio():
    R = returns(2, n=9)
    universe = universe_of(R, mu=np.linspace(0.05, 0.25, 9))
    found = nested(universe, "maximize_sharpe", reference=0.02)
    expected = by_hand(universe, found.clusters, lambda R, mu, Sigma: highest_ratio(Sigma, mu - 0.02))
    np.testing.assert_allclose(found.weights, expected, atol=1e-6)


@pytest.mark.parametrize("measure", ["volatility", "variance"])
def test_equal_contributions(measure):
    universe = universe_of(returns(3, n=9), measure)
    found = nested(universe, "risk_parity")
    expected = by_hand(universe, found.clusters, lambda R, mu, Sigma: parity(Sigma))
    np.testing.assert_allclose(found.weights, expected, rtol=1e-9)


def test_equal_contributions_to_another_measure():
    """Within the only cluster every asset has the same part of the semi-deviation."""
    universe = universe_of(returns(4, n=5), "semi_deviation")
    w = nested(universe, "risk_parity", k=1).weights
    parts = universe.measure.contributions(w)
    np.testing.assert_allclose(parts, np.full(5, universe.measure.of(w) / 5), rtol=1e-5)


def test_simple_rules_in_closed_form():
    universe = universe_of(returns(5, n=8), "mad")
    found = nested(universe, "equal_weight", k=3)
    sizes = np.bincount(found.clusters)
    np.testing.assert_allclose(found.weights, 1.0 / (3 * sizes[found.clusters]), rtol=1e-13)
    found = nested(universe, "inverse_volatility", k=1)
    np.testing.assert_allclose(found.weights * universe.own_risks, found.weights[0] * universe.own_risks[0], rtol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("k", [1, 6])
def test_one_cluster_and_one_for_each_asset_are_the_plain_optimum(objective, k):
    universe = universe_of(returns(6, n=6), mu=np.linspace(0.05, 0.1, 6))
    one, other = (nested(universe, objective, k=count).weights for count in (1, 6))
    np.testing.assert_allclose(one, other, atol=1e-7)
    assert other.sum() == pytest.approx(1.0, abs=1e-14)
    assert (other >= 0.0).all()


def test_a_ratio_without_meaning_gives_way_to_least_risk_and_is_told():
    R = returns(7, n=9)
    first = nested(universe_of(R))
    mu = np.where(first.clusters == 1, -0.05, np.linspace(0.05, 0.25, 9))
    found = nested(universe_of(R, mu=mu), "maximize_sharpe")
    held = found.clusters == 1
    assert found.note == "of least risk instead, as their ratio has no meaning: cluster 1"
    best = least_risk(R, universe_of(R).moments.Sigma[np.ix_(held, held)], "volatility")
    if found.weights[held].sum() > 1e-6:
        np.testing.assert_allclose(found.weights[held] / found.weights[held].sum(), best, atol=1e-6)
    told = nested(universe_of(R, mu=np.full(9, -0.05)), "maximize_sharpe").note
    assert told.endswith("cluster 0, cluster 1, cluster 2, the clusters together")


def test_what_has_no_answer_is_refused():
    with pytest.raises(ProblemError, match="var is not convex"):
        nested(universe_of(returns(8), "var"))
    with pytest.raises(ProblemError, match="must be one of minimize_risk"):
        nested(universe_of(returns(8)), "maximize_return")
    riskless = of_covariance(np.diag([0.04, 0.0, 0.01]))
    asked = replace(PLAIN, codependence="spearman", clusters=1, goal=Goal("inverse_volatility"))
    with pytest.raises(ProblemError, match="A01 has a volatility of 0"):
        hierarchical_portfolio(riskless, asked, SETTINGS)


def test_no_time_is_an_outcome():
    late = Settings(deadline=0.0, clock=lambda: 1.0)
    asked = replace(PLAIN, clusters=2)
    found = hierarchical_portfolio(universe_of(returns(9), "cvar"), asked, late)
    assert found.weights is None
    assert found.failure.weights is None
    assert found.failure.message.startswith("within cluster")
    assert found.tree.names == names_of(7)
