"""Volatility, variance and tracking error: the measures that are a norm ``||root w - shift||`` or its square, annual.

    volatility     sqrt(w'Sigma w)
    variance       w'Sigma w
    tracking error sqrt((w - b)'Sigma (w - b)), or the sample deviation of ``R w - r_b`` from its mean

References: Markowitz (1952); Roll (1992) for the tracking error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import Cone, Matrix, Quadratic, Vector
from kernel.measures.base import EpigraphMeasure
from kernel.problem import Moments

_ONE = np.ones(1)


class RootOfSquare:
    """A risk r that enters programs through r^2 / 2."""

    def penalty(self, risk: float) -> float:
        """r^2 / 2."""
        return 0.5 * risk**2

    def from_program(self, value: float) -> float:
        """Sqrt(2 value)."""
        return float(np.sqrt(max(2.0 * value, 0.0)))

    def slope(self, risk: float) -> float:
        """1/risk; zero risk has no slope and gives zero."""
        return 1.0 / risk if risk > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Volatility(RootOfSquare):
    """The standard deviation of the annual return."""

    moments: Moments
    name: str = "volatility"
    unit: str = "volatility"

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight/2 w'Sigma w``."""
        builder.minimize_quadratic(self.moments.quadratic.scaled(weight))

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add ``(limit, root w)`` in the second-order cone."""
        _limit_norm(builder, name, compact_root(self.moments.quadratic), limit)

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable t >= ||root w||."""
        root = compact_root(self.moments.quadratic)
        return [(builder.add_norm([(builder.weights, root)], np.zeros(root.shape[0])), _ONE)]

    def of(self, w: Vector) -> float:
        """sqrt(w'Sigma w)."""
        return self.moments.volatility(w)

    def support(self, w: Vector) -> Vector:
        """Sigma w / volatility."""
        risk = self.of(w)
        return self.moments.quadratic.times(w) / risk if risk > 0 else np.zeros(len(w))

    def contributions(self, w: Vector) -> Vector | None:
        """w_i (Sigma w)_i / volatility."""
        return w * self.support(w)


@dataclass(frozen=True, slots=True)
class Variance(EpigraphMeasure):
    """The variance of the annual return; of degree two, so that a ratio over it prefers less of everything."""

    moments: Moments
    name: str = "variance"
    unit: str = "variance"

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight/2 w'Sigma w``, and to a ratio program half its perspective ``y'Sigma y / kappa``."""
        if builder.kappa is None:
            builder.minimize_quadratic(self.moments.quadratic.scaled(weight))
        else:
            builder.minimize_form(self.epigraph(builder), 0.5 * weight)

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable e >= t^2 beside t >= ||root w||, in units of the assets' size."""
        size = self.moments.typical_volatility or 1.0
        root = compact_root(self.moments.quadratic.scaled(1.0 / size**2))
        t = builder.add_norm([(builder.weights, root)], np.zeros(root.shape[0]))
        return [(builder.add_squares(t, 1.0), size**2 * _ONE)]

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add ``2 sqrt(limit) (sqrt(limit), root w)`` in the second-order cone: the multiplier is of the variance."""
        scale = 2.0 * float(np.sqrt(limit))
        _limit_norm(builder, name, scale * compact_root(self.moments.quadratic), 2.0 * limit)

    def of(self, w: Vector) -> float:
        """W'Sigma w."""
        return max(float(w @ self.moments.quadratic.times(w)), 0.0)

    def penalty(self, risk: float) -> float:
        """Half the variance, as for volatility."""
        return 0.5 * risk

    def from_program(self, value: float) -> float:
        """2 value."""
        return 2.0 * value

    def slope(self, risk: float) -> float:
        """2."""
        return 2.0

    def contributions(self, w: Vector) -> Vector | None:
        """w_i (Sigma w)_i, which add up to the variance."""
        return w * self.moments.quadratic.times(w)


@dataclass(frozen=True, slots=True)
class TrackingError(RootOfSquare):
    """The standard deviation of the annual return's difference to a benchmark: ``||root w - shift||``.

    Attributes:
        root: (k, n).
        shift: (k,).
    """

    root: Matrix | sp.csr_array
    shift: Vector
    name: str = "tracking_error"
    unit: str = "volatility"

    @classmethod
    def against_weights(cls, moments: Moments, benchmark: Vector) -> TrackingError:
        """Ex ante, against a benchmark of weights (n,)."""
        root = compact_root(moments.quadratic)
        return cls(root, root @ benchmark)

    @classmethod
    def against_weights_beyond(cls, moments: Moments, benchmark: Vector, common: Vector, own: float) -> TrackingError:
        """Ex ante, against a benchmark that has further assets, of which no weights can be.

        Args:
            moments: n assets, whose covariance is kept as factor (k, n) and diagonal.
            benchmark: (n,) its weights in these.
            common: (k,) the further assets' part of the factor times their weights in the benchmark.
            own: Variance of what is specific to the further assets, annual, 0 or more.
        """
        within = cls.against_weights(moments, benchmark)
        root = sp.vstack([sp.csr_array(within.root), sp.csr_array((1, moments.n))], format="csr")
        shift = np.append(within.shift, np.sqrt(own))
        shift[: len(common)] += common
        return cls(sp.csr_array(root), shift)

    @classmethod
    def against_returns(cls, R: Matrix, benchmark: Vector, periods_per_year: float) -> TrackingError:
        """Ex post, against a series (T,) of the benchmark's returns per period beside the assets' R (T, n)."""
        both = np.column_stack([R, benchmark])
        centred = (both - both.mean(axis=0)) * np.sqrt(periods_per_year / (len(both) - 1))
        compressed = scipy.linalg.qr(centred, mode="r", check_finite=False)[0][: both.shape[1]]
        return cls(compressed[:, :-1], compressed[:, -1])

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight/2 ||root w - shift||^2``."""
        builder.minimize_square(self.root, self.shift, weight)

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add ``(limit, shift - root w)`` in the second-order cone."""
        _limit_norm(builder, name, self.root, limit, self.shift)

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable t >= ||root w - shift||."""
        return [(builder.add_norm([(builder.weights, self.root)], self.shift), _ONE)]

    def of(self, w: Vector) -> float:
        """||root w - shift||."""
        return float(np.linalg.norm(self.root @ w - self.shift))

    def contributions(self, w: Vector) -> Vector | None:
        """None: it is homogeneous in the active weights, not in the weights."""
        return None


def _limit_norm(
    builder: ProgramBuilder, name: str, root: Matrix | sp.csr_array, limit: float, shift: Vector | None = None
) -> None:
    if isinstance(root, np.ndarray):
        rows: Matrix | sp.csr_array = np.vstack([np.zeros((1, builder.n)), root])
    else:
        rows = sp.csr_array(sp.vstack([sp.csr_array((1, builder.n)), root], format="csr"))
    b = np.append(limit, np.zeros(root.shape[0]) if shift is None else shift)
    builder.add_rows((name,), Cone.SECOND_ORDER, [(builder.weights, rows)], b)


def covariance_root(quadratic: Quadratic) -> Matrix:
    """A matrix M (k, n) with M'M = Sigma: the factor it came with, or else Cholesky or eigenvalues.

    Rows that belong to eigenvalues of rounding size are left out, so k is the numerical rank.
    """
    if quadratic.factor is not None:
        if quadratic.diagonal is None:
            return quadratic.factor
        kept = quadratic.diagonal > 0
        return np.vstack([quadratic.factor, np.diag(np.sqrt(quadratic.diagonal))[kept]])
    Sigma = quadratic.dense
    try:
        return np.asarray(np.linalg.cholesky(Sigma).T, dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(Sigma)
        kept = values > values[-1] * len(values) * np.finfo(float).eps
        return np.asarray(np.sqrt(values[kept])[:, None] * vectors[:, kept].T, dtype=np.float64)


def compact_root(quadratic: Quadratic) -> Matrix | sp.csr_array:
    """The same M; without its zeros where a diagonal beside a low-rank factor makes most of it zeros."""
    if quadratic.factor is None or quadratic.diagonal is None:
        return covariance_root(quadratic)
    diagonal = sp.diags_array(np.sqrt(quadratic.diagonal), format="csr")[quadratic.diagonal > 0.0]
    return sp.csr_array(sp.vstack([sp.csr_array(quadratic.factor), diagonal], format="csr"))
