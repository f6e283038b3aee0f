"""The Gerber statistic: co-movement counted over the periods in which both assets moved enough to matter."""

from __future__ import annotations

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, centred, checked_positive, gram, read_only
from kernel.estimation.covariance import CovarianceEstimate
from kernel.estimation.psd import repair


def gerber(R: FloatArray, threshold: float = 0.5, periods_per_year: float = 252.0) -> CovarianceEstimate:
    """Covariance by the Gerber statistic, annualised.

    r_it is up when r_it >= c s_i, down when r_it <= -c s_i, else neutral; s_i is the sample deviation (divisor T - 1).
    g_ij = (n_UU + n_DD - n_UD - n_DU) / (T - n_NN),  g_ii = 1,  Sigma_ij = periods_per_year * s_i s_j g_ij
    with n_UU the number of periods in which both are up, and so on. With the signs A (T, n) and the neutral marks N
    the counts are A'A and N'N. The matrix of 1 / (T - n_NN) is a power series in N'N / T with coefficients above 0,
    so g is an elementwise product of PSD matrices and PSD itself; the repair finds no more than rounding.

    Args:
        R: (T, n) simple returns per period, T >= 2.
        threshold: c in (0, 1], in sample deviations.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The estimate with the distance of its repair, that of g. A pair that never moved enough has no covariance.

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, threshold outside (0, 1], or
            periods_per_year not positive.

    References:
        Gerber, Markowitz, Ernst, Miao, Javid & Sargen (2022), The Gerber statistic: a robust co-movement measure for
        portfolio optimization, JPM 48(3), in the form with the denominator T - n_NN; Schur (1911) for products.
    """
    if not 0 < threshold <= 1:
        raise ProblemError("threshold", f"is {threshold:g}; it must be above 0 and at most 1")
    annual = checked_positive(periods_per_year, "periods_per_year")
    X = centred(R)
    T = len(X)
    deviations = np.linalg.norm(X, axis=0) / np.sqrt(T - 1)
    table = np.asarray(R, dtype=np.float64)
    moved = (np.abs(table) >= threshold * deviations) & (deviations > 0)
    agreement = gram(np.where(moved, np.sign(table), 0.0))
    counted = T - gram((~moved).astype(np.float64))
    statistic = np.divide(agreement, counted, out=np.zeros_like(agreement), where=counted > 0)
    np.fill_diagonal(statistic, 1.0)
    repaired = repair(statistic, field="gerber_statistic")
    volatilities = deviations * np.sqrt(annual)
    Sigma = np.outer(volatilities, volatilities) * repaired.Sigma
    return CovarianceEstimate(read_only(Sigma), repair_distance=repaired.distance)
