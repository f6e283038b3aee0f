"""Attribution of a return to factors and to the specific part, over the window of the regression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.factors.exposures import FactorDesign, FactorFit, FloatArray

# A total smaller than this per year is rounding; a percentage of it would say nothing.
_VANISHING_TOTAL = 1e-12


@dataclass(frozen=True, slots=True)
class Contribution:
    """One part of a return.

    Attributes:
        factor: The factor's name; empty for the specific part.
        value: Annual contribution, arithmetic.
        fraction: Of the total return (1 = all of it), None when the total vanishes.
    """

    factor: str
    value: float
    fraction: float | None


@dataclass(frozen=True, slots=True)
class ReturnAttribution:
    """An annual return taken apart.

        total = sum of factor parts + specific + residual

    Attributes:
        total: Annual arithmetic mean return.
        factors: One part per factor, in the order of the window.
        specific: What the factors do not explain (alpha).
        residual: What rounding left over; a measure of the arithmetic, not of the portfolio.
    """

    total: float
    factors: tuple[Contribution, ...]
    specific: Contribution
    residual: float


def attribute_return(returns: FloatArray, design: FactorDesign, fit: FactorFit) -> ReturnAttribution:
    """Takes the mean return of the window apart.

        mean(r) = sum_k beta_k mean(f_k) + alpha, times periods per year

    Args:
        returns: (T,) simple returns per period that ``fit`` was made from.
        design: The factor window.
        fit: The regression of ``returns`` on ``design``.

    Returns:
        Annual parts whose sum with the residual is the total; |residual| is of the order of rounding.

    References:
        Grinold & Kahn (2000), Active Portfolio Management, chapter 17.
    """
    periods = design.factors.periods_per_year
    total = periods * float(np.mean(returns))
    parts = (fit.betas * design.means * periods).tolist()
    specific = periods * fit.intercept.value
    return ReturnAttribution(
        total=total,
        factors=tuple(_part(name, value, total) for name, value in zip(design.factors.names, parts, strict=True)),
        specific=_part("", specific, total),
        residual=math.fsum([total, -specific, *(-value for value in parts)]),
    )


def _part(factor: str, value: float, total: float) -> Contribution:
    return Contribution(factor, value, value / total if abs(total) > _VANISHING_TOTAL else None)
