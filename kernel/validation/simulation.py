"""A portfolio that is rebalanced and then left alone: its drift, its costs, and what was realised.

Weights have n + 1 entries, cash last; trading cash costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernel.performance import maximum_drawdown

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trade:
    """A rebalance: turnover one way, and its cost as a fraction of the portfolio's value."""

    turnover: float
    cost: float


@dataclass(frozen=True, slots=True)
class Path:
    """A portfolio left alone.

    Attributes:
        wealth: (m,) value at the end of each day, of 1 at the start.
        weights: (m, n + 1) weights then.
    """

    wealth: Floats
    weights: Floats

    @property
    def returns(self) -> Floats:
        """(m,) simple returns per day."""
        return np.asarray(self.wealth / np.concatenate(([1.0], self.wealth[:-1])) - 1.0)


@dataclass(frozen=True, slots=True)
class Realised:
    """What came of a rebalance.

    Attributes:
        gross: (m,) simple returns per day before the cost.
        net: (m,) the same after it: the cost is paid at the close before the first day.
    """

    gross: Floats
    net: Floats

    @property
    def total(self) -> float:
        """Return over all days, compounded, after costs."""
        return float(np.prod(1.0 + self.net) - 1.0)

    @property
    def maximum_drawdown(self) -> float:
        """Largest fall from a peak, after costs, the value before the rebalance included."""
        return maximum_drawdown(self.net)

    def volatility(self, periods_per_year: float) -> float:
        """Annual standard deviation around the mean, before costs."""
        return math.sqrt(periods_per_year) * float(np.std(self.gross, ddof=1))


def trade(drifted: Floats, target: Floats, cost_rate: float) -> Trade:
    """What it takes to go from one weight vector to another.

        turnover = 1/2 sum |w - w0|,   cost = rate * sum over instruments |w - w0|

    Args:
        drifted: (n + 1,) weights before.
        target: (n + 1,) weights wanted.
        cost_rate: Fraction of the traded value, in [0, 1].
    """
    change = np.abs(target - drifted)
    return Trade(0.5 * float(change.sum()), cost_rate * float(change[:-1].sum()))


def drift(w: Floats, R: Floats) -> Path:
    """Leave a portfolio alone.

        W_t = sum_i w_i prod_{s <= t} (1 + R_si),   w_ti = w_i prod_{s <= t} (1 + R_si) / W_t

    Args:
        w: (n + 1,) weights at the start, adding to 1.
        R: (m, n + 1) simple returns per day.

    Returns:
        The path. Where debt exceeds what is held, wealth is not positive and the weights mean nothing.
    """
    values = w * np.cumprod(1.0 + R, axis=0)
    wealth = values.sum(axis=1)
    # A ruined path is the caller's to refuse; here it only must not warn.
    divisor = np.where(wealth == 0.0, 1.0, wealth)
    return Path(wealth, values / divisor[:, None])


def realised(path: Path, cost: float) -> Realised:
    """What a path realised whose rebalance cost a fraction `cost` of the value."""
    gross = path.returns
    net = gross.copy()
    net[0] = (1.0 - cost) * (1.0 + gross[0]) - 1.0
    return Realised(gross, net)
