"""Whose risk it is: the shares of assets or factors in a risk of degree one.

    assets     w_i g_i / risk
    factors    (Aw)_j (pinv(A')g)_j / risk,      A the factors' exposures; what is left is not the factors'

with g the gradient of the risk at w. Of the variance B Phi B' + D of a factor model with these exposures, B = A', and
x = B'w, a factor's share is ``x_j (Phi x + pinv(B) D w)_j``: its own part of the variance and what the specific risk
adds along its direction. An attribution to factors and specific risk keeps the second with the specific risk; without
any the two are the same.

Measures that are made of planes have kinks, and portfolios of given shares often lie on them. There every g of the
subdifferential is a gradient, and the shares are those nearest to the budgets.

References: Tasche (1999); Roncalli & Weisang (2012), section 2, for factors; Wolfe (1976) for the nearest point of a
polytope that is known by its extreme points in given directions.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize

from kernel.canonical import Matrix, Vector
from kernel.errors import ProblemError
from kernel.measures import RiskMeasure
from kernel.methods.budgets import Budgets

_WITH_KINKS = frozenset({"mad", "gini", "cvar", "worst_realization", "max_drawdown", "average_drawdown", "cdar"})
# Stands for a weight of zero where a gradient is read off a contribution.
_NOTHING = 1e-150
# How far to the side of a kink, relative to the largest weight, a gradient is taken.
_ASIDE = 1e-8
_ENOUGH = 1e-12
_MOST_POINTS = 300
# By how much more than its parts a sum of weights counts that is to be one.
_EXACTLY = 1e3


def gradient(measure: RiskMeasure, w: Vector) -> Vector:
    """(n,) a (sub)gradient of the risk at w.

    Raises:
        ProblemError: The measure has no contributions.
    """
    held = np.where(w == 0.0, _NOTHING, w)
    contributions = measure.contributions(held)
    if contributions is None:
        raise ProblemError("risk_measure", f"{measure.name} has no contributions that add up to it")
    return np.asarray(contributions / held)


def risk_shares(measure: RiskMeasure, w: Vector, budgets: Budgets) -> Vector:
    """(k,) shares of the risk at w, of several possible ones those nearest to the budgets.

    Args:
        measure: Of degree one and positive at w.
        w: (n,).
        budgets: Of whom, and what they are to be.
    """
    sharing = (budgets.exposures @ w)[:, None] * budgets.dual / measure.of(w)
    shares = np.asarray(sharing @ gradient(measure, w))
    if measure.name not in _WITH_KINKS:
        return shares
    return budgets.b + _nearest(measure, w, sharing, shares - budgets.b, budgets.b)


def _nearest(measure: RiskMeasure, w: Vector, sharing: Matrix, first: Vector, b: Vector) -> Vector:
    """(k,) the smallest among the averages of ``shares - b`` to all sides of w."""
    step = _ASIDE * float(np.abs(w).max())
    points, nearest = first[None, :], first
    for _ in range(_MOST_POINTS):
        towards = -(nearest @ sharing)
        length = float(np.abs(towards).max())
        if length == 0.0 or float(np.abs(nearest).max()) <= _ENOUGH:
            break
        point = sharing @ gradient(measure, w + step / length * towards) - b
        if float(nearest @ (nearest - point)) <= _ENOUGH * float(np.abs(nearest).max()):
            break
        points = np.vstack([points, point])
        nearest = _average(points) @ points
    return nearest


def _average(points: Matrix) -> Vector:
    """(m,) weights >= 0, adding up to 1, of the smallest average of the rows."""
    size = float(np.abs(points).max())
    rows = np.vstack([points.T / size, np.full((1, len(points)), _EXACTLY)])
    weights, _ = scipy.optimize.nnls(rows, np.append(np.zeros(points.shape[1]), _EXACTLY))
    return np.asarray(weights / weights.sum())
