"""The k x k linear system of the Black-Litterman views, with certain views allowed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray

# Pivots of the scaled system below this mean that a certain view follows from the others.
DEPENDENT_TOLERANCE = 1e-12
# Relative difference at which two certain statements about one portfolio contradict each other.
CONFLICT_TOLERANCE = 1e-9
# A view takes part in a contradiction when its share in the combination is above this.
INVOLVED_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ViewEquations:
    """The system G z = gap of k views and what belongs to its rows.

    Attributes:
        names: k names.
        G: (k, k) P tau Sigma P' + Omega, symmetric PSD.
        A: (k, n) P tau Sigma.
        gap: (k,) Q - P pi, annual.
        magnitude: (k,) |Q| + |P| |pi|, the size of the numbers whose difference the gap is.
    """

    names: tuple[str, ...]
    G: FloatArray
    A: FloatArray
    gap: FloatArray
    magnitude: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Factor:
    """Pivoted Cholesky factor of G scaled to unit diagonal: C[chosen, chosen] = L L'."""

    C: FloatArray
    L: FloatArray
    chosen: npt.NDArray[np.intp]
    dependent: npt.NDArray[np.intp]

    def whiten(self, rows: FloatArray) -> FloatArray:
        whitened: FloatArray = solve_triangular(self.L, rows, lower=True, check_finite=False)
        return whitened

    def unwhiten(self, rows: FloatArray) -> FloatArray:
        unwhitened: FloatArray = solve_triangular(self.L, rows, lower=True, trans="T", check_finite=False)
        return unwhitened

    @property
    def shares(self) -> FloatArray:
        """(r, k - r) how each dependent row is made of the chosen ones."""
        return self.unwhiten(self.whiten(self.C[np.ix_(self.chosen, self.dependent)]))

    def solve(self, y: FloatArray) -> FloatArray:
        """(k,) the least solution of C z = d, where y is the whitened d."""
        z = np.zeros(len(self.C))
        z[self.chosen] = self.unwhiten(y)
        if self.dependent.size:
            null = np.zeros((len(self.C), len(self.dependent)))
            null[self.chosen], null[self.dependent] = self.shares, -np.eye(len(self.dependent))
            basis, _ = np.linalg.qr(null)
            z -= basis @ (basis.T @ z)
        return z


@dataclass(frozen=True, slots=True, eq=False)
class WhitenedViews:
    """Independent views made uncorrelated with unit variance.

    B'B = A' G^+ A,  B'y = A' G^+ gap = A'z

    Attributes:
        B: (r, n), r <= k the number of independent views.
        y: (r,).
        z: (k,) the solution of G z = gap that is least in units of the views' deviations, so that views which say the
            same have the same part in it; 0 for a view on a portfolio without risk.
    """

    B: FloatArray
    y: FloatArray
    z: FloatArray


def whiten(equations: ViewEquations) -> WhitenedViews:
    """Solve the system of the views.

    Args:
        equations: The system; it is singular when certain views (omega = 0) depend on each other.

    Returns:
        The independent views, and the solution over all of them.

    Raises:
        ProblemError: Certain views contradict each other, or one contradicts a return that has no risk.
    """
    deviation = np.sqrt(equations.G.diagonal())
    risky, z = deviation > 0, np.zeros(len(deviation))
    _refuse_changed_certainty(equations, ~risky)
    if not risky.any():
        return WhitenedViews(np.zeros((0, equations.A.shape[1])), np.zeros(0), z)
    scale = deviation[risky]
    factor = _factorise(equations.G[np.ix_(risky, risky)] / np.outer(scale, scale))
    B = factor.whiten((equations.A[risky] / scale[:, None])[factor.chosen])
    y = factor.whiten((equations.gap[risky] / scale)[factor.chosen])
    if factor.dependent.size:
        _refuse_contradiction(equations, factor, np.flatnonzero(risky), scale)
    z[risky] = factor.solve(y) / scale
    return WhitenedViews(B, y, z)


def solve_views(G: FloatArray, gap: FloatArray) -> FloatArray:
    """(k,) G^+ gap for a PSD matrix in whose range the gap lies, least in units of the diagonal's roots."""
    deviation = np.sqrt(G.diagonal())
    risky, z = deviation > 0, np.zeros(len(deviation))
    if risky.any():
        scale = deviation[risky]
        factor = _factorise(G[np.ix_(risky, risky)] / np.outer(scale, scale))
        z[risky] = factor.solve(factor.whiten((gap[risky] / scale)[factor.chosen])) / scale
    return z


def _factorise(C: FloatArray) -> _Factor:
    packed, pivots, rank, _ = dpstrf(C, tol=DEPENDENT_TOLERANCE, lower=1)
    order = np.asarray(pivots, dtype=np.intp) - 1  # LAPACK counts from 1
    return _Factor(C, packed[:rank, :rank], order[:rank], order[rank:])


def _refuse_changed_certainty(equations: ViewEquations, riskless: npt.NDArray[np.bool_]) -> None:
    """A certain view on a portfolio without risk says nothing, or contradicts the covariance."""
    wrong = riskless & (np.abs(equations.gap) > CONFLICT_TOLERANCE * equations.magnitude)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ProblemError(
            f"views[{equations.names[i]}]",
            f"its portfolio has no risk under the covariance, so its excess return cannot differ by "
            f"{equations.gap[i]:+.6g} from the equilibrium's; give the view a variance or leave it out",
        )


def _refuse_contradiction(
    equations: ViewEquations, factor: _Factor, rows: npt.NDArray[np.intp], scale: FloatArray
) -> None:
    """Each certain view that follows from the others must say what follows."""
    gap, size = equations.gap[rows] / scale, equations.magnitude[rows] / scale
    shares = factor.shares
    excess = gap[factor.dependent] - shares.T @ gap[factor.chosen]
    limit = CONFLICT_TOLERANCE * (size[factor.dependent] + np.abs(shares).T @ size[factor.chosen])
    wrong = np.flatnonzero(np.abs(excess) > limit)
    if wrong.size:
        column, view = int(wrong[0]), int(factor.dependent[wrong[0]])
        involved = factor.chosen[np.abs(shares[:, column]) > INVOLVED_TOLERANCE]
        names = ", ".join(repr(equations.names[i]) for i in sorted(rows[[*involved, view]]))
        raise ProblemError(
            "views",
            f"{names} are certain and contradict each other: by the others, {equations.names[rows[view]]!r} should "
            f"differ by {-excess[column] * scale[view]:+.6g}; lower a confidence or change an expected return",
        )
