"""Expected returns and risk by factors whose returns are given: r_t = alpha + B f_t + u_t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernel.estimation.arrays import FloatArray, checked_finite, checked_vector, read_only
from kernel.factors.factor_moments import factor_covariance_of
from kernel.factors.least_squares import least_squares
from kernel.factors.model import FactorModel, RiskSettings
from kernel.factors.specific_risk import specific_risk
from kernel.factors.window import FactorDesign


@dataclass(frozen=True, slots=True, eq=False)
class FactorReturns:
    """Expected returns by a factor model, annual; arrays are read-only.

    Attributes:
        mu: (n,) expected returns, the risk-free rate included.
        B: (n, k) exposures.
        premia: (k,) expected factor returns.
    """

    mu: FloatArray
    B: FloatArray
    premia: FloatArray


def factor_covariance(names: Sequence[str], R: FloatArray, design: FactorDesign) -> FactorModel:
    """Risk by ordinary least squares on the factors, all periods alike and nothing shrunk.

    Sigma = B Phi B' + diag(u'u / (T - k - 1)),  Phi = F'F / (T - 1) of the centred factors, times the factors'
    periods_per_year; residuals u of different assets are taken as uncorrelated.

    Args:
        names: (n,) assets.
        R: (T, n) simple returns per period on the factors' dates.
        design: The factorised window, all periods alike.

    Returns:
        The model, annual, as time_series_model has it without half-lives and shrinkage.

    Raises:
        ProblemError: The returns do not fit the window or are not finite.

    References:
        Sharpe (1963), A simplified model for portfolio analysis; Greene (2012), sections 3.2 and 4.3.
    """
    settings = RiskSettings(specific_shrinkage=0.0, periods_per_year=float(design.factors.periods_per_year))
    fits = least_squares(R, design, ridge_penalty=0.0, lags=None)
    specific = specific_risk(fits.residuals, fits.divisor, settings)
    Phi = factor_covariance_of(design.factors.F, settings)
    return FactorModel(design.factors.names, tuple(names), fits.betas, Phi, specific.variances)


def factor_expected_returns(
    R: FloatArray, design: FactorDesign, *, premia: FloatArray | None = None, risk_free_rate: float = 0.0
) -> FactorReturns:
    """Expected returns as pay for exposures; what the regression leaves (alpha) is not expected again.

    mu = r_f + B premia;  premia = periods_per_year * mean f unless given.

    Args:
        R: (T, n) simple returns per period on the factors' dates.
        design: The factorised window; its factors are excess returns or differences of returns.
        premia: (k,) expected annual factor returns, in the order of the design; the factors' past means by default.
        risk_free_rate: r_f, annual.

    Returns:
        The expected returns with the exposures and premia they come from.

    Raises:
        ProblemError: The returns do not fit the window, or a number is not finite.

    References:
        Ross (1976), The arbitrage theory of capital asset pricing.
    """
    B = least_squares(R, design, ridge_penalty=0.0, lags=None).betas
    if premia is None:
        expected = design.means * design.factors.periods_per_year
    else:
        expected = checked_vector(premia, len(design.factors.names), "factor_premia").copy()
    mu = checked_finite(risk_free_rate, "risk_free_rate") + B @ expected
    return FactorReturns(read_only(mu), read_only(B), read_only(expected))
