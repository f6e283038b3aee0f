"""Linking of daily parts of returns, so that they add up to the compounded return of the period.

    c_t = (ln(1+r_t) / r_t) / (ln(1+R) / R)                                portfolio or benchmark
    c_t = (ln(1+r_t) - ln(1+b_t)) / (r_t - b_t) / ((ln(1+R) - ln(1+B)) / (R - B))      active

Carino's coefficients treat all days alike, whatever their order, and leave no residual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, checked_vector, read_only

# Logarithm of the largest growth; beyond it a compounded return is no number.
LARGEST_GROWTH = 700.0


@dataclass(frozen=True, slots=True, eq=False)
class Linking:
    """Coefficients that turn parts of daily returns into parts of the compounded return.

    Attributes:
        total: Compounded return of the period, a fraction; for active returns the difference of two.
        coefficients: (T,) > 0; the sum of coefficient times daily return is the total, up to rounding.
    """

    total: float
    coefficients: FloatArray

    def link(self, parts: FloatArray) -> FloatArray:
        """Parts of the compounded return.

        Args:
            parts: (T, m) parts of the daily returns.

        Returns:
            (m,) sums over the days, each rounded once.
        """
        weighted = parts * self.coefficients[:, None]
        return read_only(np.array([math.fsum(column) for column in weighted.T.tolist()]))


def single_linking(r: FloatArray, days: Sequence[str], field: str) -> Linking:
    """Links the daily returns of one portfolio.

        1 + R = prod_t (1 + r_t),  c_t = (ln(1+r_t) / r_t) / (ln(1+R) / R)

    Args:
        r: (T,) simple returns per day, fractions.
        days: (T,) names of the days.
        field: What the returns are called in an error.

    Returns:
        R and c; the rounding of sum c_t r_t against R is about 1e-15 (1 + R).

    Raises:
        ProblemError: There is no day, a return is not finite or loses everything, or they compound beyond all numbers;
            the day is named.

    References:
        Carino (1999), Combining attribution effects over time, Journal of Performance Measurement 3(4).
    """
    growth = _log_growth(r, days, field)
    return Linking(math.expm1(growth), read_only(_log_ratio(r) * _growth_ratio(growth)))


def active_linking(r: FloatArray, b: FloatArray, days: Sequence[str]) -> Linking:
    """Links the daily differences of a portfolio and its benchmark.

        c_t = (ln(1+r_t) - ln(1+b_t)) / (r_t - b_t) / ((ln(1+R) - ln(1+B)) / (R - B)),  limits 1/(1+r_t) and 1/(1+R)

    With u = (r - b) / (1 + b) the difference of logarithms is ln(1+u), which is exact where r and b are close.

    Args:
        r: (T,) simple returns of the portfolio per day.
        b: (T,) those of the benchmark.
        days: (T,) names of the days.

    Returns:
        R - B and c.

    Raises:
        ProblemError: There is no day, a return is not finite or loses everything, or they compound beyond all numbers;
            the day is named.

    References:
        Carino (1999), Combining attribution effects over time, Journal of Performance Measurement 3(4).
    """
    held, reference = _log_growth(r, days, "portfolio"), _log_growth(b, days, "benchmark")
    relative = (r - b) / (1.0 + b)
    growth = math.fsum(np.log1p(relative).tolist())
    # (R - B) / ln((1+R) / (1+B)) from the larger of the two, so that the smaller may vanish.
    scale = math.exp(max(held, reference)) * _growth_ratio(-abs(growth))
    total = math.expm1(held) - math.expm1(reference)
    return Linking(total, read_only(_log_ratio(relative) / (1.0 + b) * scale))


def _log_growth(r: FloatArray, days: Sequence[str], field: str) -> float:
    """ln(1+R), summed without loss: a product of 8,000 rounded factors would lose three more digits."""
    returns = checked_vector(r, len(days), field)
    if not days:
        raise ProblemError(field, "there is no day to link")
    if (lost := returns <= -1.0).any():
        day = int(np.argmax(lost))
        raise ProblemError(
            field, f"loses {-returns[day]:.1%} on {days[day]}; a return of -100% or less can't be linked"
        )
    growth = math.fsum(np.log1p(returns).tolist())
    if growth > LARGEST_GROWTH:
        raise ProblemError(field, f"compounds to e^{growth:.0f} times its value, more than a number can hold")
    return growth


def _log_ratio(x: FloatArray) -> FloatArray:
    """ln(1+x) / x, exact down to the smallest x, as log1p is; 1 at 0."""
    safe = np.where(x == 0.0, 1.0, x)
    return np.asarray(np.where(x == 0.0, 1.0, np.log1p(safe) / safe))


def _growth_ratio(growth: float) -> float:
    """R / ln(1+R) of a growth ln(1+R); 1 at 0."""
    return math.expm1(growth) / growth if growth else 1.0
