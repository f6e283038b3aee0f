"""Factor models from given factor returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, read_only
from kernel.factors.collinearity import collinearity
from kernel.factors.factor_moments import factor_covariance_of
from kernel.factors.model import EstimatedModel, FactorModel, RiskSettings
from kernel.factors.regression import TimeSeriesSettings, regress
from kernel.factors.specific_risk import specific_risk
from kernel.factors.window import FactorHistory


def time_series_model(
    names: Sequence[str], R: FloatArray, factors: FactorHistory, settings: TimeSeriesSettings, risk: RiskSettings
) -> EstimatedModel:
    """Exposures by regression, covariance from the factors' returns, specific risk from the residuals.

    Sigma = B Phi B' + diag(specific): residuals of different assets are taken as uncorrelated.

    Args:
        names: (n,) assets.
        R: (T, n) simple returns per period, or those above the risk-free return.
        factors: (T, k) factor returns of the same periods.
        settings: How exposures are estimated.
        risk: How the covariance is made; its periods per year count, not those of the factors.

    Returns:
        The model, annual.

    Raises:
        ProblemError: As regress and specific_risk raise it; an asset whose return is not finite is named.

    References:
        Sharpe (1963), A simplified model for portfolio analysis; Grinold & Kahn (2000), Active Portfolio Management,
        chapter 3.
    """
    _check_names(names, R)
    found = regress(R, factors, settings)
    specific = specific_risk(found.residuals, found.divisor, risk)
    evidence = collinearity(factors.F)
    return EstimatedModel(
        model=FactorModel(
            factors.names, tuple(names), found.betas, factor_covariance_of(factors.F, risk), specific.variances
        ),
        F=read_only(np.array(factors.F, dtype=np.float64)),
        alpha=read_only(found.alpha * risk.periods_per_year),
        standard_errors=found.standard_errors,
        r_squared=found.r_squared,
        unshrunk=specific.unshrunk,
        shrinkage=specific.shrinkage,
        condition_number=evidence.condition_number,
        variance_inflation=evidence.variance_inflation,
        diagnostics=found.diagnostics,
    )


def _check_names(names: Sequence[str], R: FloatArray) -> None:
    if R.ndim != 2 or R.shape[1] != len(names):
        raise ProblemError("returns", f"of shape {R.shape} do not fit {len(names)} assets")
    wrong = ~np.isfinite(R).all(axis=0)
    if wrong.any():
        raise ProblemError(f"returns[{names[int(np.argmax(wrong))]}]", "contain a number that is not finite")
