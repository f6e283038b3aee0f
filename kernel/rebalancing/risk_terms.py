"""Tracking risk in the program of a trade plan: one square per factor and one per instrument.

    V = y'y + sum_i d_i z_i^2,   y = F'z,   z = w - reference

Each square is a curve of one expression, so that few tangents hold it. The squares of the instruments are taken per
side in perspective of its flag: this is what the relaxation borrows from the risk model against the kink between
selling at a loss and not trading.

References: Moehle, Kochenderfer, Boyd & Ang (2021), Tax-Aware Portfolio Construction via Convex Optimization.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kernel.rebalancing.curves import Affine, Bowl, Curve, shifted_square, square
from kernel.rebalancing.sides import Frame

# Variances are counted in squares of one percent: near 1, as the solver's tolerances expect.
PERCENT = 100.0
# More factors than these are turned to their principal axes; beyond the main ones they share one square.
_MOST_FACTORS, _MAIN_FACTORS = 120, 60
# Exposures below this do not move the tracking error by a digit that counts.
_NOTHING = 1e-12


def add_risk(frame: Frame) -> Affine:
    """Adds the squares to a program.

    Args:
        frame: The program; its sides are there.

    Returns:
        The variance in squares of one percent, which the program may not make less than it is.
    """
    risk, book, assembly = frame.book.risk, frame.book, frame.assembly
    assert risk is not None
    row = {name: k for k, name in enumerate(risk.names)}
    active, total = -risk.reference.astype(float), book.total_value
    for position in book.positions:
        active[row[position.instrument_id]] += float(position.value / total)
    factors, rest = _largest_first(risk.factors)
    exposures = [Affine(constant=PERCENT * float(start)) for start in factors.T @ active]
    variance = Affine(constant=PERCENT**2 * float(risk.specific @ active**2))
    for side in frame.sides:
        k = row[book.positions[side.index].instrument_id]
        for exposure, loading in zip(exposures, factors[k], strict=True):
            if abs(loading) > _NOTHING:
                exposure.add(side.value(side.sign / frame.total), PERCENT * float(loading))
        if risk.specific[k] > 0.0:
            moved, start = side.sign * side.scale.step / frame.total, float(active[k])
            weight = PERCENT**2 * float(risk.specific[k])
            least = min(side.most, max(0.0, -start / moved))
            # In units of its own size: for one of many instruments the square is far below the solver's tolerances.
            size = weight * max(start**2, (moved * min(side.scale.smallest, side.most)) ** 2)
            value = assembly.column(math.inf, lower=-weight / size * start**2)
            change = shifted_square(weight / size, start, moved)
            seeds = tuple(sorted({0.0, least / 2.0, least, side.most}))
            assembly.curves.append(Curve(value, side.quantity, 0.0, change, side.flag, seeds, size))
            variance.add({value: size})
    for exposure in exposures:
        if not exposure.terms:
            variance.constant += exposure.constant**2
            continue
        value, loaded = assembly.column(math.inf), assembly.column(math.inf, lower=-math.inf)
        exposure.add({loaded: -1.0})
        assembly.equal(exposure.terms, -exposure.constant)
        seeds = (exposure.constant, exposure.constant / 2.0)
        assembly.curves.append(Curve(value, {loaded: 1.0}, 0.0, square(), seeds=seeds))
        variance.add({value: 1.0})
    if rest.shape[1]:
        value = assembly.column(math.inf)
        assembly.bowls.append(_bowl(frame, value, rest, active))
        variance.add({value: 1.0})
    return variance


def _largest_first(factors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The factors turned to their principal axes where they are many: the largest, and the rest of them."""
    if factors.shape[1] <= _MOST_FACTORS:
        return factors, factors[:, :0]
    _, _, axes = np.linalg.svd(factors, full_matrices=False)
    turned = factors @ axes.T
    return turned[:, :_MAIN_FACTORS], turned[:, _MAIN_FACTORS:]


def _bowl(frame: Frame, value: int, factors: NDArray[np.float64], active: NDArray[np.float64]) -> Bowl:
    """All small factors in one square."""
    risk = frame.book.risk
    assert risk is not None
    row = {name: k for k, name in enumerate(risk.names)}
    columns: list[int] = []
    loadings: list[NDArray[np.float64]] = []
    for side in frame.sides:
        name = frame.book.positions[side.index].instrument_id
        for column, weight in side.value(side.sign / frame.total).items():
            columns.append(column)
            loadings.append(PERCENT * weight * factors[row[name]])
    matrix = np.array(loadings).T.reshape(factors.shape[1], len(columns))
    return Bowl(value, np.array(columns, dtype=np.intp), matrix, PERCENT * (factors.T @ active))
