"""Five Fama-French factors on every complete S&P 500 name, against statsmodels.

E. Fama, K. French, A five-factor asset pricing model, Journal of Financial Economics 116 (2015) 1-22; daily factors of
K. French's data library.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS, RegressionResults
from statsmodels.robust.norms import HuberT
from statsmodels.robust.robust_linear_model import RLM
from statsmodels.tools import add_constant

from kernel.canonical import Matrix
from kernel.factors.collinearity import collinearity
from kernel.factors.model import EstimatedModel, RiskSettings
from kernel.factors.regression import Regressions, TimeSeriesSettings, regress
from kernel.factors.time_series import time_series_model
from kernel.factors.window import FactorHistory
from tests.sp500 import FIVE_FACTORS, RISK_FREE, complete_names, factor_returns, needs_factors, needs_prices

EXACT = 1e-10
# By the rule 4 (1258 / 100)^(2/9).
LAGS = 7

pytestmark = [needs_prices, needs_factors]


@dataclass(frozen=True, slots=True)
class Market:
    """Returns above the risk-free return of the day, and the factors of the same days."""

    names: tuple[str, ...]
    sectors: tuple[str, ...]
    R: Matrix
    F: FactorHistory


@cache
def market() -> Market:
    prices = complete_names()
    days, history = factor_returns(*FIVE_FACTORS, RISK_FREE)
    rows = np.isin(days, prices.dates[1:])
    assert rows.sum() == len(prices.dates) - 1
    F, risk_free = history[rows, :-1], history[rows, -1]
    return Market(prices.names, prices.sectors, prices.returns - risk_free[:, None], FactorHistory(FIVE_FACTORS, F))


@cache
def peers(*, newey_west: bool) -> tuple[RegressionResults, ...]:
    options = {"cov_type": "HAC", "cov_kwds": {"maxlags": LAGS, "use_correction": True}} if newey_west else {}
    X = add_constant(market().F.F)
    return tuple(OLS(r, X).fit(**options) for r in market().R.T)


def found(**settings: object) -> Regressions:
    return regress(market().R, market().F, TimeSeriesSettings(**settings))


def test_all_complete_names_are_there() -> None:
    assert len(market().names) == 470
    assert market().R.shape == (1258, 470)


@pytest.mark.parametrize("method", ["classical", "newey_west"])
def test_every_figure_of_every_name_is_that_of_statsmodels(method: str) -> None:
    ours, theirs = found(standard_errors=method), peers(newey_west=method == "newey_west")
    assert ours.lags == (LAGS if method == "newey_west" else 0)
    np.testing.assert_allclose(ours.betas, [p.params[1:] for p in theirs], rtol=EXACT)
    # An alpha of 1e-7 is the difference of numbers of 1e-3, which leaves it no ten digits in either program.
    np.testing.assert_allclose(ours.alpha, [p.params[0] for p in theirs], rtol=EXACT, atol=1e-15)
    np.testing.assert_allclose(ours.standard_errors, [p.bse[1:] for p in theirs], rtol=EXACT)
    np.testing.assert_allclose(ours.alpha_errors, [p.bse[0] for p in theirs], rtol=EXACT)
    np.testing.assert_allclose(ours.t_statistics, [p.tvalues[1:] for p in theirs], rtol=EXACT)
    np.testing.assert_allclose(ours.r_squared, [p.rsquared for p in theirs], rtol=EXACT)
    np.testing.assert_allclose(ours.residual_variances, [p.mse_resid for p in theirs], rtol=EXACT)


def test_robust_exposures_are_those_of_statsmodels() -> None:
    ours = found(estimator="huber", standard_errors="classical")
    X = add_constant(market().F.F)
    for j in range(0, 470, 47):
        peer = RLM(market().R[:, j], X, M=HuberT()).fit(conv="coefs", tol=1e-14, maxiter=500)
        # Within 1e-10 of a standard error: a beta that is nearly 0 has fewer digits.
        np.testing.assert_allclose(ours.betas[j], peer.params[1:], rtol=EXACT, atol=EXACT * peer.bse[1:].min())
        np.testing.assert_allclose(ours.t_statistics[j], peer.tvalues[1:], rtol=EXACT, atol=EXACT)


def model(estimator: str = "ordinary") -> EstimatedModel:
    settings = TimeSeriesSettings(estimator)
    return time_series_model(market().names, market().R, market().F, settings, RiskSettings())


def test_exposures_are_what_a_portfolio_manager_expects() -> None:
    """The average large company moves with the market, utilities less; banks are value, technology is growth."""
    B = model().model.B
    of = {sector: B[[s == sector for s in market().sectors]].mean(axis=0) for sector in set(market().sectors)}
    assert B[:, 0].mean() == pytest.approx(1.0, abs=0.1)
    assert of["Utilities"][0] < 0.8
    assert of["Financials"][2] > 0.3
    assert of["Information Technology"][2] < 0.0
    giants = [market().names.index(name) for name in ("AAPL", "MSFT", "XOM", "JNJ", "PG")]
    assert (B[giants, 1] < 0.0).all()
    assert (found(standard_errors="newey_west").t_statistics[:, 0] > 5.0).mean() > 0.95


def test_risk_of_the_equal_portfolio_is_what_it_was() -> None:
    estimated, data = model(), market()
    w = np.full(len(data.names), 1.0 / len(data.names))
    x = w @ estimated.model.B
    variance = x @ estimated.model.Phi @ x + w**2 @ estimated.model.specific
    assert np.sqrt(variance) == pytest.approx(np.sqrt(252.0) * (data.R @ w).std(ddof=1), rel=0.02)
    assert 0.2 < estimated.r_squared.mean() < 0.5
    assert 1.0 < estimated.condition_number < 5.0
    np.testing.assert_array_equal(estimated.variance_inflation, collinearity(data.F.F).variance_inflation)


def test_missed_split_counts_less_in_robust_exposures() -> None:
    """LNT halves and doubles on two days of May 2016; without those days least squares agrees with Huber."""
    data = market()
    j = data.names.index("LNT")
    spoilt = np.abs(data.R[:, j]) > 0.3
    assert spoilt.sum() == 2
    cleaned = regress(data.R[~spoilt][:, [j]], FactorHistory(FIVE_FACTORS, data.F.F[~spoilt]), TimeSeriesSettings())
    robust = np.abs(found(estimator="huber").betas[j] - cleaned.betas[0])
    ordinary = np.abs(found().betas[j] - cleaned.betas[0])
    assert robust.max() < 0.15 < 0.3 < ordinary.max()


def test_drift_of_all_names_together() -> None:
    """Exposures of companies change slowly: the likeliest drift is small, and forgets the start within the window."""
    drift = model("kalman").diagnostics["drift"]
    assert 1e-7 < drift < 1e-3
