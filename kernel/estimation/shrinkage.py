"""How much of a sample covariance to replace by the average variance times the identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class Spread:
    """What the intensities need of centred returns X and S = X'X / T, per period; norms are Frobenius norms.

    Attributes:
        periods: T.
        assets: n.
        m: Average variance, tr(S) / n.
        square: ||S||^2.
        deviation: ||S - m I||^2.
        fourth: sum_t (x_t'x_t)^2.
    """

    periods: int
    assets: int
    m: float
    square: float
    deviation: float
    fourth: float


def spread(X: FloatArray, S: FloatArray) -> Spread:
    """The spread of centred returns, from the smaller of two matrices when there is a choice.

    X'X / T and XX' / T share their non-zero eigenvalues, so that with k the size of the one given
    ||X'X / T - m I_n||^2 = ||S - m I_k||^2 + (n - k) m^2.

    Args:
        X: (T, n) centred returns.
        S: (n, n) X'X / T, or (T, T) XX' / T.

    Returns:
        The numbers, the same up to rounding for both.
    """
    T, n = X.shape
    m = float(S.trace()) / n
    deviation = S.copy()
    np.fill_diagonal(deviation, S.diagonal() - m)
    return Spread(
        periods=T,
        assets=n,
        m=m,
        square=float(np.vdot(S, S)),
        deviation=float(np.vdot(deviation, deviation)) + (n - len(S)) * m * m,
        fourth=float(np.square(np.einsum("ti,ti->t", X, X)).sum()),
    )


def ledoit_wolf_intensity(s: Spread) -> float:
    """Weight of the target by Ledoit & Wolf.

    rho = min(1, (fourth - T ||S||^2) / (T^2 ||S - m I||^2))

    Args:
        s: The spread of the returns.

    Returns:
        rho in [0, 1]; 0 where S already is a multiple of the identity.

    References:
        Ledoit & Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, JMVA 88,
        section 3.2.
    """
    if s.deviation == 0.0:
        return 0.0
    error = max(s.fourth - s.periods * s.square, 0.0) / s.periods**2
    return min(error / s.deviation, 1.0)


def oas_intensity(s: Spread) -> float:
    """Weight of the target by the oracle approximating shrinkage.

    rho = min(1, ((1 - 2/n) tr(S^2) + tr(S)^2) / ((T + 1 - 2/n) (tr(S^2) - tr(S)^2 / n)))
    The difference in the denominator is ||S - m I||^2. Some implementations leave out the terms in 2/n.

    Args:
        s: The spread of the returns.

    Returns:
        rho in [0, 1]; 0 where S already is a multiple of the identity, above 0 elsewhere.

    References:
        Chen, Wiesel, Eldar & Hero (2010), Shrinkage algorithms for MMSE covariance estimation, equation 23.
    """
    if s.deviation == 0.0:
        return 0.0
    part = 2.0 / s.assets
    gain = (1.0 - part) * s.square + (s.assets * s.m) ** 2
    return min(gain / ((s.periods + 1.0 - part) * s.deviation), 1.0)
