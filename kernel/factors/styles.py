"""Styles: figures of instruments that explain returns, on every day from what was known on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, read_only
from kernel.factors.panel import Panel

_YEAR, _QUARTER, _MONTH = 252, 63, 21
# A style that leaves fewer days of factor returns than this is no use unless it is asked for.
_FEWEST_DAYS = 63
# Of the largest figure: instruments whose figures differ by less are alike up to rounding.
_ALIKE = 1e-12
# Of the mean square: a variance below this is rounding.
_STILL = 1e-12
# Least and largest number of standard deviations at which styles are cut.
LEAST_CUT, LARGEST_CUT = 1.0, 100.0


@dataclass(frozen=True, slots=True, eq=False)
class StyleExposures:
    """Standardised styles of n instruments on D = T + 1 - warm_up days, the last of the panel.

    Attributes:
        names: (s,) styles.
        X: (s, D, n) exposures; every day's have mean 0 by capitalisation and standard deviation 1. Read-only.
        warm_up: Returns before the first of the days.
        left_out: Styles that were not asked for by name and cannot be computed, with the reason.
    """

    names: tuple[str, ...]
    X: FloatArray
    warm_up: int
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Style:
    """A style.

    Attributes:
        warm_up: Returns that its first figure rests on.
        definition: What it is.
        figures: (T + 1 - warm_up, n) figures of a panel; row t rests on nothing after day t + warm_up.
        lacks: Why a panel does not have it, empty when it does; None = every panel has it.
    """

    warm_up: int
    definition: str
    figures: Callable[[Panel], FloatArray]
    lacks: Callable[[Panel], str] | None = None


def style_exposures(panel: Panel, wanted: tuple[str, ...] | None, cut: float) -> StyleExposures:
    """Styles of every day, cut and standardised over the instruments.

    With the figures y of a day, their mean m and standard deviation s (divisor n),
    z = min(max(y, m - cut s), m + cut s) and x_i = (z_i - sum_j w_j z_j) / (standard deviation of z),
    where w are the day's shares of the market.

    Args:
        panel: Prices and facts.
        wanted: Styles by name, without repetition; None = all that the data allow.
        cut: Standard deviations, LEAST_CUT to LARGEST_CUT.

    Returns:
        The exposures; those of a day rest on prices up to that day, but for today's shares and scores.

    Raises:
        ProblemError: A style that was asked for is not known, cannot be computed, or is the same for all instruments.

    References:
        Menchero, Orr & Wang (2011), The Barra US equity model (USE4), methodology notes, section 2.2.
    """
    if not LEAST_CUT <= cut <= LARGEST_CUT:
        raise ProblemError("winsorization", f"is {cut:g}; it must be within {LEAST_CUT:g} and {LARGEST_CUT:g}")
    shares = panel.shares_by_day()
    made: dict[str, FloatArray] = {}
    left_out: list[tuple[str, str]] = []
    for name in STYLES if wanted is None else wanted:
        if name in made:
            raise ProblemError(f"styles[{name}]", "is given twice")
        exposures = _exposures(panel, name, shares, cut, _FEWEST_DAYS if wanted is None else 1)
        if not isinstance(exposures, str):
            made[name] = exposures
        elif wanted is None:
            left_out.append((name, exposures))
        else:
            raise ProblemError(f"styles[{name}]", exposures)
    warm_up = max((_STYLES[name].warm_up for name in made), default=0)
    days = len(panel.closes) - warm_up
    X = np.array([x[-days:] for x in made.values()]).reshape(len(made), days, len(panel.names))
    return StyleExposures(tuple(made), read_only(X), warm_up, tuple(left_out))


def style_definition(name: str, cut: float, *, capitalised: bool) -> str:
    """One sentence that says what a style is.

    Args:
        name: The style.
        cut: Standard deviations at which it is cut.
        capitalised: Whether all market capitalisations are known; else all instruments count alike.
    """
    counted = "by market capitalisation" if capitalised else "with all instruments alike"
    figure = _STYLES[name].definition.format(counted=counted)
    return f"{figure}; cut at {cut:g} standard deviations, then mean 0 {counted} and standard deviation 1 on every day."


def standardised(figures: FloatArray, shares: FloatArray, cut: float) -> FloatArray:
    """(D, n) figures, cut and standardised over each row as style_exposures says; no row is constant.

    Args:
        figures: (D, n).
        shares: (D, n), rows with sum 1.
        cut: Standard deviations.
    """
    middle = figures.mean(axis=1, keepdims=True)
    reach = cut * figures.std(axis=1, keepdims=True)
    z = np.clip(figures, middle - reach, middle + reach)
    z -= (shares * z).sum(axis=1, keepdims=True)
    return np.asarray(z / z.std(axis=1, keepdims=True), dtype=np.float64)


def rolling_sum(X: FloatArray, window: int) -> FloatArray:
    """Sums of `window` rows in a row, each of its own rows alone.

    Rows are cut into blocks; a window is the end of one block and the start of the next. No sum is a difference of
    larger ones, so that an extreme row leaves no rounding in the windows after it.

    Args:
        X: (T, n), T >= window.
        window: Rows in a sum.

    Returns:
        (T - window + 1, n).

    References:
        van Herk (1992), Pattern Recognition Letters 13, for minima and maxima.
    """
    T, n = X.shape
    blocks = np.zeros((-(-T // window), window, n))
    blocks.reshape(-1, n)[:T] = X
    heads = np.cumsum(blocks, axis=1).reshape(-1, n)
    tails = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1]
    # A window that starts with its block is that block's head alone.
    tails[:, 0] = 0.0
    starts = T - window + 1
    return np.asarray(heads[window - 1 : T] + tails.reshape(-1, n)[:starts], dtype=np.float64)


def _exposures(panel: Panel, name: str, shares: FloatArray, cut: float, fewest: int) -> FloatArray | str:
    """(T + 1 - warm_up, n) exposures to one style, or why there are none."""
    if name not in _STYLES:
        return f"is not a style; they are {', '.join(STYLES)}"
    style, returns = _STYLES[name], len(panel.closes) - 1
    if returns < style.warm_up + fewest:
        return f"needs {style.warm_up} returns and {fewest} more to explain; there are {returns}"
    if style.lacks and (reason := style.lacks(panel)):
        return reason
    figures = style.figures(panel)
    alike = np.ptp(figures, axis=1) <= _ALIKE * np.abs(figures).max(axis=1)
    if alike.any():
        days = "" if alike.all() else f" on {int(alike.sum())} of {alike.size} days"
        return f"is the same for all instruments{days}"
    return standardised(figures, shares[style.warm_up :], cut)


def _market_beta(panel: Panel) -> FloatArray:
    """Slope on the market; 0 where the market does not move."""
    R = panel.returns
    market = np.sum(panel.shares_by_day()[:-1] * R, axis=1, keepdims=True)
    total, squares = rolling_sum(market, _YEAR), rolling_sum(market * market, _YEAR)
    variance = squares - total * total / _YEAR
    covariance = rolling_sum(R * market, _YEAR) - rolling_sum(R, _YEAR) * total / _YEAR
    moves = variance > _STILL * squares
    return np.asarray(np.where(moves, covariance / np.where(moves, variance, 1.0), 0.0), dtype=np.float64)


def _momentum(panel: Panel) -> FloatArray:
    closes = panel.closes
    return np.asarray(np.log(closes[_YEAR - _MONTH : -_MONTH] / closes[:-_YEAR]), dtype=np.float64)


def _volatility(panel: Panel) -> FloatArray:
    """Standard deviation, divisor of the sample; 0 for equal returns."""
    R = panel.returns
    total, squares = rolling_sum(R, _QUARTER), rolling_sum(R * R, _QUARTER)
    variance = squares - total * total / _QUARTER
    moves = variance > _STILL * squares
    return np.asarray(np.sqrt(np.where(moves, variance, 0.0)) / math.sqrt(_QUARTER - 1), dtype=np.float64)


def _size(panel: Panel) -> FloatArray:
    caps = panel.caps_by_day()
    assert caps is not None
    return np.asarray(np.log(caps), dtype=np.float64)


def _quality(panel: Panel) -> FloatArray:
    assert panel.quality is not None
    return np.broadcast_to(panel.quality, panel.closes.shape)


def _caps(panel: Panel) -> str:
    missing = panel.without_cap
    return f"the market capitalisation of {panel.some(missing)} is not known" if missing.any() else ""


def _scores(panel: Panel) -> str:
    missing = panel.without_quality
    return f"the quality score of {panel.some(missing)} is not known" if missing.any() else ""


_STYLES: Mapping[str, _Style] = MappingProxyType(
    {
        "market_beta": _Style(
            _YEAR,
            "Slope of daily returns on those of the market (the model's instruments, {counted}) over the last 252 days",
            _market_beta,
        ),
        "momentum": _Style(_YEAR, "Logarithm of the growth of the price from 252 to 21 days ago", _momentum),
        "volatility": _Style(_QUARTER, "Standard deviation of daily returns over the last 63 days", _volatility),
        "size": _Style(
            0, "Logarithm of the market capitalisation of the day: today's, moved back by the price", _size, _caps
        ),
        "quality": _Style(
            0,
            "Quality score of today, the same on every day, so that the past is seen with later knowledge",
            _quality,
            _scores,
        ),
    }
)
STYLES = tuple(_STYLES)
