"""The nearest positive semidefinite (PSD) matrix, for covariances that come from outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigh

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, at, first_true, read_only

# Relative to the largest element: what is left of symmetry after a product in another order of summation.
SYMMETRY_TOLERANCE = 1e-9
# Annual; products of larger elements would leave the range of the numbers.
LARGEST_ELEMENT = 1e12


@dataclass(frozen=True, slots=True, eq=False)
class PsdMatrix:
    """A PSD matrix and how far it is from the one given.

    Attributes:
        Sigma: (n, n) exactly symmetric, PSD within the tolerance, read-only.
        distance: ||given - Sigma||_F / ||given||_F; 0 when the given matrix was PSD.
    """

    Sigma: FloatArray
    distance: float


def repair(
    Sigma: FloatArray, *, field: str = "covariance", tolerance: float = 1e-10, max_distance: float = 1e-3
) -> PsdMatrix:
    """The PSD matrix nearest in the Frobenius norm.

    min ||X - Sigma||_F  s.t. X PSD:  X = sum_i max(l_i, 0) v_i v_i'
    X - Sigma is PSD too: no variance gets smaller. An asset of zero variance and covariances stays riskless exactly.

    Args:
        Sigma: (n, n) covariance, symmetric up to rounding.
        field: What to call the matrix in an error.
        tolerance: An eigenvalue above -tolerance * (largest element) counts as zero, >= 0.
        max_distance: The largest relative distance accepted, >= 0.

    Returns:
        The matrix itself with distance 0 when it is PSD within the tolerance, else the nearest one.

    Raises:
        ProblemError: Not square, not finite or absurdly large, asymmetric beyond rounding, a negative variance (each
            names the element), or farther from PSD than max_distance.

    References:
        Higham (1988), Computing a nearest symmetric positive semidefinite matrix, theorem 2.1.
    """
    S = _symmetric(Sigma, field)
    scale = float(np.abs(S).max())
    risky = np.flatnonzero(S.any(axis=0))
    if risky.size == 0:
        return PsdMatrix(read_only(S), 0.0)
    block = np.ix_(risky, risky)
    core = S[block] / scale
    if is_psd(core, tolerance):
        return PsdMatrix(read_only(S), 0.0)
    eigenvalues, V = eigh(core)
    negative = eigenvalues < 0
    distance = float(np.linalg.norm(eigenvalues[negative]) / np.linalg.norm(eigenvalues))
    if distance > max_distance:
        raise ProblemError(field, _too_far(float(eigenvalues[0]) * scale, distance, max_distance))
    missing = V[:, negative] * np.sqrt(-eigenvalues[negative])
    S[block] = (core + missing @ missing.T) * scale
    return PsdMatrix(read_only(S), distance)


def _too_far(smallest_eigenvalue: float, distance: float, max_distance: float) -> str:
    return (
        f"is not positive semidefinite: its smallest eigenvalue is {smallest_eigenvalue:.4g}, and the nearest positive "
        f"semidefinite matrix is {distance:.3g} away (relative Frobenius distance); the limit is {max_distance:g}"
    )


def is_psd(core: FloatArray, tolerance: float) -> bool:
    """Whether core + tolerance * I has a Cholesky factor, far cheaper than by eigenvalues.

    Args:
        core: (n, n) symmetric, of elements about 1.
        tolerance: Above 0, singular matrices pass too; below 0, every eigenvalue must be above its magnitude.
    """
    shifted = core.copy()
    np.fill_diagonal(shifted, core.diagonal() + tolerance)
    try:
        cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return False
    return True


def _symmetric(Sigma: FloatArray, field: str) -> FloatArray:
    """A fresh, exactly symmetric copy of a matrix that passes for a covariance apart from its eigenvalues."""
    S = np.array(Sigma, dtype=np.float64)
    if S.ndim != 2 or S.shape[0] != S.shape[1] or S.size == 0:
        raise ProblemError(field, f"must be a square matrix; the shape is {S.shape}")
    bad = first_true(~(np.abs(S) <= LARGEST_ELEMENT))
    if bad is not None:
        raise ProblemError(at(field, bad), f"is {S[bad]:g}; it must be finite and within {LARGEST_ELEMENT:g}")
    negative = first_true(S.diagonal() < 0)
    if negative is not None:
        i = negative[0]
        raise ProblemError(at(field, (i, i)), f"is {S[i, i]:g}; a variance must be at least 0")
    difference = np.abs(S - S.T)
    if difference.max() > SYMMETRY_TOLERANCE * np.abs(S).max():
        i, j = sorted(int(k) for k in np.unravel_index(int(difference.argmax()), S.shape))
        raise ProblemError(at(field, (i, j)), f"is {S[i, j]:.12g}, but {at(field, (j, i))} is {S[j, i]:.12g}")
    return 0.5 * (S + S.T)
