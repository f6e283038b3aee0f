"""Reading portfolios off an exact frontier: between turning points weights are linear, variance is quadratic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.canonical import Vector
from kernel.frontier.critical_line import TurningPoints
from kernel.problem import Moments

_RISKLESS = 1e-9


@dataclass(frozen=True, slots=True)
class FrontierPath:
    """Turning points with their returns and risks. A *place* k + t means t of the way from corner k to corner k+1."""

    moments: Moments
    corners: TurningPoints
    returns: Vector
    risks: Vector

    @classmethod
    def of(cls, moments: Moments, corners: TurningPoints) -> FrontierPath:
        """Measure the corners."""
        products = corners.W @ moments.Sigma
        risks = np.sqrt(np.maximum(np.einsum("kn,kn->k", products, corners.W), 0.0))
        return cls(moments, corners, corners.W @ moments.mu, risks)

    def at(self, place: float) -> tuple[Vector, float, float]:
        """Weights, lambda and the budget's multiplier at `place`."""
        k, t = self._split(place)
        if t == 0.0:
            return self.corners.W[k], float(self.corners.multipliers[k]), float(self.corners.budget_multipliers[k])
        w, lam, nu = (
            (1 - t) * values[k] + t * values[k + 1]
            for values in (self.corners.W, self.corners.multipliers, self.corners.budget_multipliers)
        )
        return w, float(lam), float(nu)

    def place_of_return(self, value: float) -> float:
        """Where the expected return is `value`; the nearest end outside the frontier."""
        k = int(np.clip(np.searchsorted(self.returns, value, side="right") - 1, 0, max(len(self.returns) - 2, 0)))
        if len(self.returns) == 1:
            return 0.0
        rise = self.returns[k + 1] - self.returns[k]
        return k + float(np.clip((value - self.returns[k]) / rise, 0.0, 1.0)) if rise > 0 else float(k)

    def return_at_risk(self, risk: float) -> float | None:
        """The expected return where the risk is `risk`: the highest within it; None below the least risk."""
        if risk < self.risks[0]:
            return None
        if risk >= self.risks[-1]:
            return float(self.returns[-1])
        k = int(np.searchsorted(self.risks, risk, side="right") - 1)
        base, cross, square = self._variance(k)
        # The root of square t^2 + 2 cross t + base = risk^2 in [0, 1], in the form without cancellation.
        missing = risk**2 - base
        t = missing / (cross + np.sqrt(max(cross**2 + square * missing, 0.0))) if missing > 0 else 0.0
        return float((1 - t) * self.returns[k] + t * self.returns[k + 1])

    def place_of_highest_ratio(self, risk_free: float) -> float | None:
        """Where (return - risk_free)/risk is highest; None when no return, or a riskless one, exceeds `risk_free`.

        On segment k the derivative of the ratio vanishes where
        ``t [dm c - (m - rf) d] = (m - rf) c - dm v`` with return m + t dm and variance v + 2tc + t^2 d.
        """
        risky = self.risks > _RISKLESS * self.risks[-1]
        if self.returns[-1] <= risk_free or not risky.any() or (~risky & (self.returns > risk_free)).any():
            return None
        best = int(np.argmax((self.returns - risk_free) / np.where(risky, self.risks, np.inf)))
        places = [float(best)]
        beside = [k for k in (best - 1, best) if 0 <= k < len(self.returns) - 1]
        places += [k + self._best_on_segment(k, risk_free) for k in beside]
        return max(places, key=lambda place: self._ratio(place, risk_free))

    def _best_on_segment(self, k: int, risk_free: float) -> float:
        base, cross, square = self._variance(k)
        rise, excess = self.returns[k + 1] - self.returns[k], self.returns[k] - risk_free
        slope = rise * cross - excess * square
        return float(np.clip((excess * cross - rise * base) / slope, 0.0, 1.0)) if slope != 0 else 0.0

    def _ratio(self, place: float, risk_free: float) -> float:
        w, _, _ = self.at(place)
        risk = self.moments.volatility(w)
        return (float(self.moments.mu @ w) - risk_free) / risk if risk > _RISKLESS * self.risks[-1] else -np.inf

    def _variance(self, k: int) -> tuple[float, float, float]:
        w, step = self.corners.W[k], self.corners.W[k + 1] - self.corners.W[k]
        product = self.moments.Sigma @ step
        return float(w @ self.moments.Sigma @ w), float(w @ product), float(step @ product)

    def _split(self, place: float) -> tuple[int, float]:
        k = min(int(place), len(self.returns) - 1)
        return k, (place - k if k < len(self.returns) - 1 else 0.0)
