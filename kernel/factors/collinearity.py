"""How well factors can be told apart by their returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray, centred, read_only

# Of the largest singular value: a dependence that is closer than this is exact up to rounding.
_ROUNDING = 1e-9
# A factor that moves less than this fraction of its size is constant up to rounding.
_CONSTANT = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Collinearity:
    """How much the factors repeat each other.

    Attributes:
        condition_number: Largest over smallest singular value of the standardised factors, >= 1.
        variance_inflation: (k,) how many times larger the variance of a beta is because of the other factors, >= 1.
    """

    condition_number: float
    variance_inflation: FloatArray


def collinearity(F: FloatArray) -> Collinearity:
    """Condition number and variance inflation factors by the singular values of the standardised factors.

    Z = U S V', the centred factors divided by their norms;  condition number = S_1 / S_k,
    VIF_i = (Z'Z)^-1_ii = sum_j V_ij^2 / S_j^2 = 1 / (1 - R_i^2), R_i^2 of factor i on all others.

    Args:
        F: (T, k) factor returns. Where they are exactly dependent both figures are large, not infinite; a factor that
            never moves counts as one that depends on no other.

    Returns:
        The figures, finite, read-only.

    Raises:
        ProblemError: Fewer than two periods, no factor, or a return that is not finite.

    References:
        Belsley, Kuh & Welsch (1980), Regression diagnostics, chapter 3; Marquardt (1970) for the inflation factors.
    """
    X = centred(F)
    largest = np.abs(X).max(axis=0)
    moving = largest > _CONSTANT * np.abs(F).max(axis=0)
    inflation = np.ones(X.shape[1])
    if not moving.any():
        return Collinearity(1.0, read_only(inflation))
    Z = X[:, moving] / largest[moving]
    _, S, Vt = np.linalg.svd(np.linalg.qr(Z / np.linalg.norm(Z, axis=0), mode="r"))
    values = np.zeros(len(Vt))
    values[: len(S)] = S
    values = np.maximum(values, _ROUNDING * values[0])
    inflation[moving] = np.maximum(np.square(1.0 / values) @ np.square(Vt), 1.0)
    return Collinearity(float(values[0] / values[-1]), read_only(inflation))
