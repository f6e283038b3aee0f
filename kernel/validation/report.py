"""What a walk-forward validation found: realised against predicted risk, return, turnover and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtr

from kernel.errors import ProblemError
from kernel.performance import maximum_drawdown
from kernel.validation.simulation import Realised, Trade

Floats = npt.NDArray[np.float64]

# Annual; below it a volatility is rounding noise.
_VANISHING = 1e-12


@dataclass(frozen=True, slots=True)
class Band:
    """Ratios of realised over predicted volatility that count as inside, limits included."""

    minimum: float = 0.5
    maximum: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.minimum <= self.maximum < math.inf:
            reason = f"must have 0 < minimum <= maximum, both finite, not {self.minimum:g} and {self.maximum:g}"
            raise ProblemError("band", reason)

    def holds(self, predicted: float, volatility: float) -> bool:
        """Whether a realised volatility lies inside; a portfolio without risk predicted and realised does."""
        low, high = self.minimum * predicted - _VANISHING, self.maximum * predicted + _VANISHING
        return low <= volatility <= high

    def expected_share(self, days: int) -> float:
        """Probability that a perfect prediction lies inside.

            (m - 1) s^2 / sigma^2 ~ chi^2_{m-1}:   P(minimum^2 <= s^2 / sigma^2 <= maximum^2)

        Args:
            days: m independent normal returns, >= 2.
        """
        freedom = days - 1
        low, high = freedom * self.minimum**2, freedom * self.maximum**2
        return float(chdtr(freedom, high) - chdtr(freedom, low))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an optimization stated of its weights: annual expected return and volatility."""

    expected_return: float
    volatility: float


@dataclass(frozen=True, slots=True)
class Judged:
    """One window; `prediction` is None where its optimization had no answer."""

    prediction: Prediction | None
    trade: Trade
    realised: Realised


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """The conventions of a report; the risk-free rate is annual."""

    band: Band
    risk_free_rate: float
    periods_per_year: float = 252.0

    def inside(self, window: Judged) -> bool | None:
        """Whether a window lies inside the band; None without a prediction."""
        if window.prediction is None:
            return None
        return self.band.holds(window.prediction.volatility, window.realised.volatility(self.periods_per_year))


@dataclass(frozen=True, slots=True)
class Report:
    """All windows together. Rates are annual fractions; None = there is nothing to tell it from.

    Attributes:
        wealth: (days,) value of one unit after costs at the end of every judged day.
        expected_share_inside: Of independent normal returns and perfect predictions.
        realised_volatility: Over all days, before costs; return, ratio and drawdown are after costs.
        turnover_per_year: One way.
    """

    wealth: Floats
    share_inside: float | None
    expected_share_inside: float | None
    predicted_volatility: float | None
    predicted_return: float | None
    realised_volatility: float
    realised_return: float
    realised_sharpe: float | None
    turnover_per_year: float
    cost_per_year: float
    max_drawdown: float


def summarize(windows: Sequence[Judged], settings: ReportSettings) -> Report:
    """Put the windows together.

    Args:
        windows: At least one, in order of time, each of 2 days or more.
        settings: The conventions.
    """
    gross = np.concatenate([window.realised.gross for window in windows])
    net = np.concatenate([window.realised.net for window in windows])
    years = len(net) / settings.periods_per_year
    volatility = Realised(gross, net).volatility(settings.periods_per_year)
    mean = settings.periods_per_year * float(net.mean())
    stated = [(w, w.prediction) for w in windows if w.prediction is not None]
    return Report(
        wealth=np.asarray(np.cumprod(1.0 + net)),
        share_inside=_mean([float(bool(settings.inside(w))) for w, _ in stated]),
        expected_share_inside=_mean([settings.band.expected_share(len(w.realised.net)) for w, _ in stated]),
        predicted_volatility=_mean([prediction.volatility for _, prediction in stated]),
        predicted_return=_mean([prediction.expected_return for _, prediction in stated]),
        realised_volatility=volatility,
        realised_return=mean,
        realised_sharpe=(mean - settings.risk_free_rate) / volatility if volatility > _VANISHING else None,
        turnover_per_year=sum(w.trade.turnover for w in windows) / years,
        cost_per_year=sum(w.trade.cost for w in windows) / years,
        max_drawdown=maximum_drawdown(net),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
