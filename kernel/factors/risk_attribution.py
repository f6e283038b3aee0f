"""Attribution of volatility, and of tracking error, to factors and instruments, before the event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, checked_vector, read_only
from kernel.factors.model import FactorModel

# An annual volatility below this is rounding noise of weights without risk; parts of it would say nothing.
_VANISHING_VOLATILITY = 1e-12


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RiskAttribution:
    """A volatility taken apart; all numbers annual, all parts 0 where the volatility is.

    Attributes:
        volatility: sigma.
        factor_contribution: Part of the factors.
        specific_contribution: Part of what the factors leave.
        exposures: (k,) of the weights.
        factor_volatilities: (k,) of the factors.
        correlations: (k,) of the factors with the weights' return, in [-1, 1].
        factor_parts: (k,) they add up to factor_contribution.
        asset_factor_parts: (n,) of the assets through the factors; they add up to factor_contribution.
        asset_specific_parts: (n,) of the assets by themselves; they add up to specific_contribution.
        residual: Largest difference between a total and the sum of its parts.
    """

    volatility: float
    factor_contribution: float
    specific_contribution: float
    exposures: FloatArray
    factor_volatilities: FloatArray
    correlations: FloatArray
    factor_parts: FloatArray
    asset_factor_parts: FloatArray
    asset_specific_parts: FloatArray
    residual: float

    @property
    def asset_parts(self) -> FloatArray:
        """(n,) parts of the assets, both ways together; they add up to the volatility."""
        return self.asset_factor_parts + self.asset_specific_parts


def attribute_risk(model: FactorModel, w: FloatArray) -> RiskAttribution:
    """Takes the volatility of weights apart.

        x = B'w,  sigma^2 = x'Phi x + sum_i w_i^2 d_i
        factor k: x_k (Phi x)_k / sigma,  asset i: w_i (B Phi x)_i / sigma + w_i^2 d_i / sigma

    Each part is a weight, or exposure, times the derivative of sigma by it, so that they add up by Euler's theorem.

    Args:
        model: The model.
        w: (n,) weights in the order of the model's assets, cash left out; of a tracking error less the benchmark's.

    Returns:
        Parts whose sums differ from the totals by rounding, about 1e-16 for weights around one.

    Raises:
        ProblemError: Weights do not fit, are not finite, or are so large that their variance is not.

    References:
        Litterman (1996), Hot spots and hedges, JPM 22; Menchero & Davis (2011), Risk contribution is exposure times
        volatility times correlation, JPM 37(2).
    """
    weights = checked_vector(w, len(model.names), "weights")
    with np.errstate(over="ignore", invalid="ignore"):
        x = _sums((model.B * weights[:, None]).T)
        slopes = model.Phi @ x
        by_factor, by_asset = x * slopes, weights * (model.B @ slopes)
        by_itself = weights**2 * model.specific
        if not all(np.isfinite(part).all() for part in (by_factor, by_asset, by_itself)):
            raise ProblemError("weights", f"are up to {np.abs(weights).max():g} in size, too large to have a variance")
    common, own = _sum(by_factor), _sum(by_itself)
    volatility = math.sqrt(max(common + own, 0.0))
    # A power of ten away from zero, division is safe; below it there is nothing to take apart.
    scale = 1.0 / volatility if volatility > _VANISHING_VOLATILITY else 0.0
    deviations = np.sqrt(np.maximum(np.diag(model.Phi), 0.0))
    moving = np.where(deviations > 0.0, deviations, 1.0)
    parts = (by_factor * scale, by_asset * scale, by_itself * scale)
    totals = (volatility if scale else 0.0, common * scale, own * scale)
    return RiskAttribution(
        volatility=totals[0],
        factor_contribution=totals[1],
        specific_contribution=totals[2],
        exposures=read_only(x),
        factor_volatilities=read_only(deviations),
        correlations=read_only(np.clip(np.where(deviations > 0.0, slopes * scale / moving, 0.0), -1.0, 1.0)),
        factor_parts=read_only(parts[0]),
        asset_factor_parts=read_only(parts[1]),
        asset_specific_parts=read_only(parts[2]),
        residual=_residual(totals, parts),
    )


def _residual(totals: tuple[float, float, float], parts: tuple[FloatArray, FloatArray, FloatArray]) -> float:
    volatility, common, own = totals
    by_factor, by_asset, by_itself = (part.tolist() for part in parts)
    return max(
        abs(math.fsum([-volatility, common, own])),
        abs(math.fsum([-common, *by_factor])),
        abs(math.fsum([-common, *by_asset])),
        abs(math.fsum([-own, *by_itself])),
        abs(math.fsum([-volatility, *by_asset, *by_itself])),
    )


def _sum(values: FloatArray) -> float:
    return math.fsum(values.tolist())


def _sums(rows: Sequence[FloatArray] | FloatArray) -> FloatArray:
    return np.array([_sum(row) for row in rows])
