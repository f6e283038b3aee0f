"""Expected returns and risk by factors whose returns are given: r_t = alpha + B f_t + u_t."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray, centred, checked_finite, checked_returns, checked_vector, read_only
from kernel.estimation.covariance import CovarianceEstimate
from kernel.estimation.low_rank import LowRank
from kernel.factors.exposures import FactorDesign, asset_exposures

# Of the norm of an asset's returns: a residual below this is the rounding of an exact fit, and no risk.
_EXACT_FIT = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class FactorRisk:
    """A factor model of risk, annual; arrays are read-only.

    Attributes:
        names: The k factors.
        B: (n, k) exposures.
        Phi: (k, k) covariance of the factors, sample, divisor T - 1.
        specific: (n,) variances of the residuals, divisor T - k - 1; 0 for an exact fit.
        low_rank: Sigma = B Phi B' + diag(specific), with a factor of k rows.
    """

    names: tuple[str, ...]
    B: FloatArray
    Phi: FloatArray
    specific: FloatArray
    low_rank: LowRank

    def estimate(self) -> CovarianceEstimate:
        """The dense covariance beside its low-rank form; made anew at every call."""
        return CovarianceEstimate(self.low_rank.dense(), low_rank=self.low_rank)


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


def factor_covariance(R: FloatArray, design: FactorDesign) -> FactorRisk:
    """Risk by regression on the factors, the residuals taken as uncorrelated.

    Sigma = B Phi B' + diag(u'u / (T - k - 1)).  With the centred factors F = Q U and the centred returns X,
    B' = U^-1 Q'X and Phi = U'U / (T - 1), so B Phi B' = (Q'X)'(Q'X) / (T - 1). All times the factors' periods_per_year.

    Args:
        R: (T, n) simple returns per period on the factors' dates.
        design: The factorised window.

    Returns:
        The model; its covariance is made only when asked for.

    Raises:
        ProblemError: The returns do not fit the window or are not finite.

    References:
        Sharpe (1963), A simplified model for portfolio analysis; Greene (2012), sections 3.2 and 4.3.
    """
    X = centred(R)
    B = asset_exposures(X, design)
    T, k = design.Q.shape
    annual = float(design.factors.periods_per_year)
    projections = design.Q.T @ X
    residuals, norms = np.linalg.norm(X - design.Q @ projections, axis=0), np.linalg.norm(X, axis=0)
    specific = np.where(residuals > _EXACT_FIT * norms, np.square(residuals) * (annual / (T - k - 1)), 0.0)
    centred_factors = design.factors.F - design.means
    Phi = centred_factors.T @ centred_factors * (annual / (T - 1))
    low_rank = LowRank(read_only(projections * math.sqrt(annual / (T - 1))), read_only(specific))
    return FactorRisk(design.factors.names, read_only(B), read_only(Phi), low_rank.diagonal, low_rank)


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
    B = asset_exposures(checked_returns(R, minimum_periods=2), design)
    if premia is None:
        expected = design.means * design.factors.periods_per_year
    else:
        expected = checked_vector(premia, len(design.factors.names), "factor_premia").copy()
    mu = checked_finite(risk_free_rate, "risk_free_rate") + B @ expected
    return FactorReturns(read_only(mu), read_only(B), read_only(expected))
