"""Returns of factors by regression of the instruments' returns on their exposures, day by day.

r_i = f_market + sum_s x_is f_s + f_(sector of i) + sum_g b_ig f_g + u_i, by weighted least squares over instruments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, read_only
from kernel.factors.panel import listed

MARKET = "market"
# Of the length of a column of exposures: what the others leave of it is rounding.
_COLLINEAR = 1e-9
# Others with a smaller coefficient are not named beside a collinear factor.
_NAMED_COEFFICIENT = 1e-6


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CrossSection:
    """Exposures of n instruments on D days.

    The order of the k factors is the market, styles, industries, given ones.

    Attributes:
        market: Whether all instruments have exposure 1 to a common factor; always with industries, whose sum it is.
        style_names, styles: (s,) and (s, D, n) exposures that change.
        industry_names, industries: (m,) and (n, m), one 1 in every row; m = 0 or m >= 2.
        given_names, given: (g,) and (n, g) exposures that do not change.
        shares: (D, n) shares of the market by capitalisation, every day's with sum 1.
    """

    market: bool
    style_names: tuple[str, ...]
    styles: FloatArray
    industry_names: tuple[str, ...]
    industries: FloatArray
    given_names: tuple[str, ...]
    given: FloatArray
    shares: FloatArray

    @property
    def factors(self) -> tuple[str, ...]:
        """(k,) names of the factors."""
        market = (MARKET,) if self.market else ()
        return (*market, *self.style_names, *self.industry_names, *self.given_names)

    @property
    def rank(self) -> int:
        """Factors that the instruments can tell apart: k, less the one that the condition on industries takes."""
        return len(self.factors) - (1 if self.industry_names else 0)

    @property
    def constant(self) -> bool:
        """Whether the exposures are the same on all days."""
        return not self.style_names

    def exposures(self, day: int) -> FloatArray:
        """(n, k) exposures of a day."""
        return np.hstack(
            [np.ones((len(self.given), int(self.market))), self.styles[:, day].T, self.industries, self.given]
        )

    def weighted(self, day: int, weights: FloatArray) -> WeightedSection:
        """One day, factorised.

        Args:
            day: 0 to D - 1.
            weights: (n,) above 0.

        Returns:
            The factorised exposures.

        Raises:
            ProblemError: A factor is a combination of others on this day; they are named.
        """
        basis = self._basis(day)
        root = np.sqrt(weights)
        Q, U = np.linalg.qr(basis * root[:, np.newaxis])
        size = np.linalg.norm(U, axis=0)
        dependent = np.abs(np.diag(U)) <= _COLLINEAR * size
        if dependent.any():
            column = int(np.argmax(dependent))
            raise ProblemError(f"factors[{self._basis_names[column]}]", self._dependence(U, column))
        return WeightedSection(self, basis, weights, Q, U, self.shares[day] @ self.industries)

    def _basis(self, day: int) -> FloatArray:
        """(n, rank) columns that span the exposures: without the market where it is the sum of the industries."""
        first = self.industries if self.industry_names else np.ones((len(self.given), int(self.market)))
        return np.hstack([first, self.styles[:, day].T, self.given])

    @property
    def _basis_names(self) -> tuple[str, ...]:
        first = self.industry_names or ((MARKET,) if self.market else ())
        return (*first, *self.style_names, *self.given_names)

    def _dependence(self, U: FloatArray, column: int) -> str:
        """What a column is made of; equal parts of all industries are the market."""
        if not np.abs(U[:, column]).any():
            return "is 0 for all instruments"
        coefficients = solve_triangular(U[:column, :column], U[:column, column])
        used = np.abs(coefficients) > _NAMED_COEFFICIENT * np.abs(coefficients).max()
        others = [name for name, there in zip(self._basis_names, used, strict=False) if there]
        m = len(self.industry_names)
        if m and used[:m].all() and np.ptp(coefficients[:m]) <= _NAMED_COEFFICIENT * np.abs(coefficients[:m]).max():
            others = [MARKET, *others[m:]]
        return f"is a linear combination of {listed(others)} over the instruments"


@dataclass(frozen=True, slots=True, eq=False)
class WeightedSection:
    """A day's exposures H, factorised: V^(1/2) H = Q U.

    Attributes:
        section: All days.
        basis: (n, p) H, columns that span the exposures.
        weights: (n,) diagonal of V.
        Q: (n, p) orthonormal columns.
        U: (p, p) upper triangle.
        industry_shares: (m,) shares of the industries in the market.
    """

    section: CrossSection
    basis: FloatArray
    weights: FloatArray
    Q: FloatArray
    U: FloatArray
    industry_shares: FloatArray

    def coefficients(self, R: FloatArray) -> FloatArray:
        """(p, ...) least squares on the basis: U^-1 Q' V^(1/2) R.

        Args:
            R: (n,) or (n, t) returns.
        """
        rows = self.Q.T * np.sqrt(self.weights)
        return np.asarray(solve_triangular(self.U, rows @ R, check_finite=False), dtype=np.float64)

    def factor_returns(self, g: FloatArray) -> FloatArray:
        """(k, ...) returns of all factors from the coefficients on the basis.

        The basis has what a sector earns as a whole, h_j = f_market + f_j. The condition sum_j w_j f_j = 0, w being the
        sectors' shares in the market, then gives f_market = sum_j w_j h_j and f_j = h_j - f_market.

        Args:
            g: (p,) or (p, t) coefficients.

        References:
            Heston & Rouwenhorst (1994), section 2; Menchero, Orr & Wang (2011), USE4 methodology notes, section 2.5.
        """
        return _all_factors(self.section, g, self.industry_shares @ g[: len(self.industry_shares)])

    def variance_inflation(self) -> FloatArray:
        """(k,) how many times larger the variance of a factor's return is because of the other factors, at least 1.

        The variance of the estimate over that with the market as the only other factor, residuals being independent
        with variances inverse to the weights; by Gauss and Markov it is no smaller.
        """
        inverse = solve_triangular(self.U, np.eye(len(self.U)), check_finite=False)
        full: FloatArray = np.square(self.factor_returns(inverse)).sum(axis=1)
        alone = self._alone()
        # A sector of all the weight is the market; up to rounding nothing is left to inflate.
        return np.maximum(np.divide(full, alone, out=np.ones(len(full)), where=alone > 0.0), 1.0)

    def condition_number(self) -> float:
        """Of the weighted basis with columns of length 1, at least 1; Belsley, Kuh & Welsch (1980), section 3.3."""
        values = np.linalg.svd(self.U / np.linalg.norm(self.U, axis=0), compute_uv=False)
        return max(float(values[0] / values[-1]), 1.0)

    def _alone(self) -> FloatArray:
        """(k,) variances of the factors' returns without the other factors, but for the market."""
        section, v = self.section, self.weights
        columns = self.basis[:, len(section.industry_names) or int(section.market) :]
        squares = _squares(columns, v, market=section.market)
        # One sector beside all others: h_j less their common return, times what the market without it is.
        rest, own = np.square(1.0 - self.industry_shares), _squares(section.industries, v, market=True)
        sectors = np.divide(rest, own, out=np.zeros(len(own)), where=own > 0.0)
        styles = len(section.style_names)
        first = np.full(int(section.market), 1.0 / v.sum())
        return np.concatenate([first, 1.0 / squares[:styles], sectors, 1.0 / squares[styles:]])


@dataclass(frozen=True, slots=True, eq=False)
class SectionFit:
    """Regressions of all days; arrays are read-only.

    Attributes:
        F: (T, k) returns of the factors.
        residuals: (T, n).
        r_squared: Mean over the days of 1 - sum v u^2 / sum v r^2; 0 when nothing moves.
    """

    F: FloatArray
    residuals: FloatArray
    r_squared: float


def fit_sections(section: CrossSection, R: FloatArray, weights: FloatArray) -> SectionFit:
    """Factor returns of T days from the exposures of the days before.

    min_f sum_i v_i (r_i - x_i'f)^2  subject to  sum_j w_j f_j = 0 over the industries j

    Args:
        section: Exposures of at least T days; day t explains the returns of row t.
        R: (T, n) simple returns.
        weights: (n,) the same on all days, or (T, n); above 0.

    Returns:
        The fit.

    Raises:
        ProblemError: A factor is a combination of others on a day.

    References:
        Grinold & Kahn (2000), Active portfolio management, chapter 3; Menchero, Orr & Wang (2011), section 2.
    """
    every_day = np.broadcast_to(weights, R.shape)
    if section.constant and weights.ndim == 1:
        first = section.weighted(0, weights)
        g = first.coefficients(R.T)
        fitted = (first.basis @ g).T
    else:
        days = [_day(section, t, R[t], every_day[t]) for t in range(len(R))]
        g = np.array([coefficients for coefficients, _ in days]).T
        fitted = np.array([values for _, values in days])
    shares = (section.shares[: len(R)] @ section.industries).T
    F = _all_factors(section, g, (shares * g[: len(shares)]).sum(axis=0))
    residuals = R - fitted
    total, left = (every_day * np.square(R)).sum(axis=1), (every_day * np.square(residuals)).sum(axis=1)
    moves = total > 0.0
    r_squared = float(np.mean(1.0 - left[moves] / total[moves])) if moves.any() else 0.0
    return SectionFit(read_only(F.T.copy()), read_only(residuals), r_squared)


def _all_factors(section: CrossSection, g: FloatArray, market: FloatArray) -> FloatArray:
    """(k, ...) factor returns from (p, ...) coefficients on the basis and the (...) return of the market of sectors."""
    m = len(section.industry_names)
    if not m:
        return g
    styles = m + len(section.style_names)
    return np.concatenate([market[np.newaxis], g[m:styles], g[:m] - market, g[styles:]])


def _day(section: CrossSection, day: int, r: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(p,) coefficients and (n,) fitted returns of one day."""
    weighted = section.weighted(day, weights)
    g = weighted.coefficients(r)
    return g, weighted.basis @ g


def _squares(columns: FloatArray, v: FloatArray, *, market: bool) -> FloatArray:
    """Weighted sums of squares of columns, about their weighted mean where there is a market."""
    middle = (v @ columns) / v.sum() if market else 0.0
    return np.asarray(v @ np.square(columns - middle), dtype=np.float64)
