"""The risk measures from their definitions in the textbooks, on given weights: numpy alone."""

from __future__ import annotations

import numpy as np
import scipy.optimize

from tests.unit.kernel.contract.markets import PERIODS_PER_YEAR, Market

MEASURES = (
    "volatility",
    "variance",
    "semi_deviation",
    "mad",
    "cvar",
    "evar",
    "cdar",
    "max_drawdown",
    "average_drawdown",
    "ulcer",
    "worst_realization",
    "gini",
    "var",
    "tracking_error",
    "semi_deviation below target",
)
# Those that programs hold through half of their square.
QUADRATIC = ("volatility", "tracking_error")
_TAILS = ("var", "cvar", "evar", "worst_realization")
PATHS = ("max_drawdown", "average_drawdown", "ulcer", "cdar")
_ROOT_OF_YEAR = np.sqrt(PERIODS_PER_YEAR)


def risk(word: str, market: Market, w: np.ndarray) -> float:
    """The risk of w."""
    if word == "tracking_error":
        return risk("volatility", market, w - market.benchmark)
    r = market.R @ w
    if word in _TAILS:
        return _of_losses(word, -r, market)
    return _of_drawdowns(word, r, market) if word in PATHS else _of_spread(word, r, market)


def _of_spread(word: str, r: np.ndarray, market: Market) -> float:
    p = market.p
    mean = p @ r
    match word:
        case "volatility":
            return float(np.sqrt(PERIODS_PER_YEAR * (p @ (r - mean) ** 2)))
        case "variance":
            return float(PERIODS_PER_YEAR * (p @ (r - mean) ** 2))
        case "semi_deviation":
            return float(_ROOT_OF_YEAR * np.sqrt(p @ np.minimum(r - mean, 0.0) ** 2))
        case "semi_deviation below target":
            return float(_ROOT_OF_YEAR * np.sqrt(p @ np.minimum(r - market.target, 0.0) ** 2))
        case "mad":
            return float(_ROOT_OF_YEAR * (p @ np.abs(r - mean)))
    assert word == "gini", word
    return float(_ROOT_OF_YEAR * (p @ np.abs(r[:, None] - r) @ p))


def _of_losses(word: str, losses: np.ndarray, market: Market) -> float:
    p, c = market.p, market.confidence
    match word:
        case "var":
            return _value_at_risk(losses, p, c)
        case "cvar":
            return _mean_of_worst(losses, p, c)
        case "evar":
            return _entropic(losses, p, c)
    assert word == "worst_realization", word
    return float(losses[p > 0].max())


def _of_drawdowns(word: str, r: np.ndarray, market: Market) -> float:
    wealth, peak, falls = 0.0, 0.0, []
    for change in r.tolist():
        wealth += change
        peak = max(peak, wealth)
        falls.append(peak - wealth)
    d, p = np.array(falls), market.p
    match word:
        case "max_drawdown":
            return float(d.max())
        case "average_drawdown":
            return float(p @ d)
        case "ulcer":
            return float(np.sqrt(p @ d**2))
    assert word == "cdar", word
    return _mean_of_worst(d, p, market.confidence)


def _value_at_risk(losses: np.ndarray, p: np.ndarray, c: float) -> float:
    """The smallest loss that is not exceeded with probability c."""
    return min(float(x) for x in losses if p[losses <= x].sum() >= c - 1e-12)


def _mean_of_worst(losses: np.ndarray, p: np.ndarray, c: float) -> float:
    """Fill a tail of probability 1 - c from the worst on."""
    left, total = 1.0 - c, 0.0
    for t in np.argsort(-losses):
        taken = min(left, p[t])
        total += taken * losses[t]
        left -= taken
    return float(total / (1.0 - c))


def _entropic(losses: np.ndarray, p: np.ndarray, c: float) -> float:
    """inf over z of z ln(E exp(L / z) / (1 - c)), of which z has a single valley."""
    worst = losses[p > 0].max()
    excess = losses - worst
    spread = np.sqrt(p @ (losses - p @ losses) ** 2)

    def bound(log_z: float) -> float:
        z = spread * np.exp(log_z)
        return float(worst + z * np.log(p @ np.exp(np.minimum(excess / z, 0.0)) / (1.0 - c)))

    if spread == 0.0:
        return float(worst)
    ends = np.log(1e-9), np.log(1e3)
    found = scipy.optimize.minimize_scalar(bound, bounds=ends, method="bounded", options={"xatol": 1e-8})
    return min(float(found.fun), bound(ends[0]))


def penalty(word: str, value: float) -> float:
    """What a utility takes off for a risk: half the square of a volatility, half a variance, else the risk itself."""
    if word in QUADRATIC:
        return 0.5 * value**2
    return 0.5 * value if word == "variance" else value
