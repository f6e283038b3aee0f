"""The optimal schedule of a large trade under linear impact: how much when, at what expected cost and variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from kernel.errors import ProblemError


@dataclass(frozen=True, slots=True)
class LinearImpact:
    """Impact that is linear in the rate of trading.

    Attributes:
        volatility: sigma, money per share and square root of a period of time, >= 0.
        half_spread: epsilon, money per share, >= 0.
        temporary: eta, money per share for a rate of one share per unit of time, > 0.
        permanent: gamma, money per share for each share traded, >= 0.
    """

    volatility: float
    half_spread: float
    temporary: float
    permanent: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0.0:
                raise ProblemError(f"impact.{name}", f"must be finite and zero or more, got {value}")

    def adjusted(self, tau: float) -> float:
        """eta~ = eta - gamma tau / 2, the temporary impact beside the permanent one of the same period.

        Raises:
            ProblemError: It is not positive, so that no schedule is best.
        """
        eta = self.temporary - self.permanent * tau / 2.0
        if eta <= 0.0:
            raise ProblemError("impact.temporary", f"must exceed permanent * tau / 2, got {self.temporary}")
        return eta


@dataclass(frozen=True, slots=True)
class Schedule:
    """A trade over periods.

    Attributes:
        trades: Shares in each period; they add up to the trade.
        expected_cost: gamma X^2 / 2 + epsilon X + eta~ / tau sum n_k^2, money.
        variance: sigma^2 tau sum x_k^2 over the shares x_k left after each period, money^2.
        kappa: Urgency per unit of time; 0 for equal parts.
        half_life: 1 / kappa, the time in which the position shrinks by the factor e without an end in time; infinite
            for equal parts.
    """

    trades: tuple[float, ...]
    expected_cost: float
    variance: float
    kappa: float
    half_life: float


def almgren_chriss(shares: float, periods: int, impact: LinearImpact, risk_aversion: float, tau: float) -> Schedule:
    """The schedule that minimises E + lambda Var for linear impact, exact for discrete periods.

        x_k = X sinh(kappa (T - t_k)) / sinh(kappa T),   2 / tau^2 (cosh(kappa tau) - 1) = lambda sigma^2 / eta~

    Without aversion to risk the parts are equal: they have the least expected cost.

    Args:
        shares: X, > 0.
        periods: N, >= 1; T = N tau.
        impact: sigma, epsilon, eta and gamma.
        risk_aversion: lambda per unit of money, >= 0.
        tau: Length of a period, > 0.

    Returns:
        The schedule.

    Raises:
        ProblemError: A number is out of range.

    References:
        Almgren & Chriss (2000), Optimal Execution of Portfolio Transactions, section 2.
    """
    _check(shares, periods, risk_aversion, tau)
    eta = impact.adjusted(tau)
    kappa = urgency(impact.volatility, eta, risk_aversion, tau)
    trades = decreasing(shares, periods, kappa * tau)
    return Schedule(
        trades=trades,
        expected_cost=(
            impact.permanent * shares**2 / 2.0
            + impact.half_spread * shares
            + eta / tau * math.fsum(trade * trade for trade in trades)
        ),
        variance=impact.volatility**2 * tau * math.fsum(left * left for left in shares_left(trades)),
        kappa=kappa,
        half_life=1.0 / kappa if kappa else math.inf,
    )


def urgency(volatility: float, eta: float, risk_aversion: float, tau: float) -> float:
    """Urgency kappa of Almgren and Chriss, from cosh(y) - 1 = 2 sinh(y / 2)^2, which keeps its digits for small y.

    Args:
        volatility: sigma, money per share and square root of time.
        eta: eta~, > 0.
        risk_aversion: lambda, >= 0.
        tau: Length of a period.

    Returns:
        kappa per unit of time, >= 0.
    """
    return 2.0 / tau * math.asinh(tau * volatility / 2.0 * math.sqrt(risk_aversion / eta))


def shares_left(trades: tuple[float, ...]) -> tuple[float, ...]:
    """Shares that are still to be traded after each period; zero after the last.

    Args:
        trades: Shares in each period.

    Returns:
        As many numbers.
    """
    return tuple(math.fsum(trades[k + 1 :]) for k in range(len(trades)))


def decreasing(shares: float, periods: int, urgency_per_period: float) -> tuple[float, ...]:
    """Parts n_k = x_{k-1} - x_k of the schedule.

    The quotient of sinh is written with exponentials of negative numbers, which cannot overflow.

    Args:
        shares: X.
        periods: N, >= 1.
        urgency_per_period: kappa tau, >= 0.

    Returns:
        N parts, none larger than the one before; they add up to X.
    """
    y = urgency_per_period
    if y * periods < 1e-8:
        return (shares / periods,) * periods
    left = [math.exp(-y * k) * math.expm1(-2.0 * y * (periods - k)) for k in range(periods + 1)]
    whole = math.expm1(-2.0 * y * periods)
    return tuple(shares * (before - after) / whole for before, after in pairwise(left))


def _check(shares: float, periods: int, risk_aversion: float, tau: float) -> None:
    for name, value, low in (("shares", shares, 0.0), ("tau", tau, 0.0)):
        if not math.isfinite(value) or value <= low:
            raise ProblemError(name, f"must be positive and finite, got {value}")
    if periods < 1:
        raise ProblemError("periods", f"must be at least 1, got {periods}")
    if not math.isfinite(risk_aversion) or risk_aversion < 0.0:
        raise ProblemError("risk_aversion", f"must be finite and zero or more, got {risk_aversion}")
