"""The covariance of factor returns, of one form for every kind of model."""

from __future__ import annotations

import numpy as np

from kernel.estimation.arrays import FloatArray, read_only
from kernel.estimation.covariance import exponentially_weighted, sample
from kernel.factors.model import RiskSettings


def factor_covariance_of(F: FloatArray, settings: RiskSettings) -> FloatArray:
    """Annual covariance of factor returns, unbiased for returns that do not depend on each other over time.

    Phi = a sum_t w_t x_t x_t' / (1 - sum_t w_t^2),  x_t = f_t - sum_s w_s f_s,  a = periods_per_year,
    with weights that halve every half-life and add up to 1; with equal ones the divisor is that of the sample, T - 1.
    No correction is made for factor returns that depend on each other over time.

    Args:
        F: (T, k) returns per period, the oldest first, T >= 2.
        settings: Half-life and periods per year.

    Returns:
        (k, k) Phi, annual, exactly symmetric, read-only.

    Raises:
        ProblemError: Fewer than two periods, a return that is not finite, or a half-life that is too small.

    References:
        J.P. Morgan/Reuters (1996), RiskMetrics technical document, section 5.2, with the mean taken off.
    """
    annual, half_life = settings.periods_per_year, settings.factor_half_life
    Phi = sample(F, annual).Sigma if half_life is None else exponentially_weighted(F, half_life, annual).Sigma
    return read_only(np.array(Phi))
