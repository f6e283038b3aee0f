"""Whether views and equilibrium can be true together, and which views pull against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from kernel.estimation.arrays import FloatArray
from kernel.estimation.view_equations import DEPENDENT_TOLERANCE, ViewEquations, WhitenedViews

# In standard deviations: a view is contradicted when another one moves it beyond the first, by more than the second.
FAR = 2.0
FARTHER = 1.0
# Pairs kept, the strongest ones.
MOST_CONFLICTS = 100


@dataclass(frozen=True, slots=True)
class ViewConflict:
    """Given one view, another is farther from what is then expected than it was from the equilibrium.

    Attributes:
        given: The view taken as given.
        view: The view that it contradicts.
        alone: (q - p' pi) / sqrt(G_ii), the standard score of that view.
        together: (gap_i - G_ij gap_j / G_jj) / sqrt(G_ii - G_ij^2 / G_jj), the same given the other view.
    """

    given: str
    view: str
    alone: float
    together: float


@dataclass(frozen=True, slots=True)
class ViewConsistency:
    """Theil's test of the views against the equilibrium.

    Attributes:
        statistic: gap' G^+ gap >= 0, chi-square when views and equilibrium are both right.
        degrees_of_freedom: Number of independent views.
        probability: Of a statistic at least as large, in [0, 1].
        conflicts: Pairs with abs(together) > FAR and abs(together) > abs(alone) + FARTHER, the strongest first, at most
            MOST_CONFLICTS.
    """

    statistic: float
    degrees_of_freedom: int
    probability: float
    conflicts: tuple[ViewConflict, ...]


def measure_consistency(equations: ViewEquations, found: WhitenedViews) -> ViewConsistency:
    """Test the views against the equilibrium, all together and in pairs.

    Args:
        equations: G and the gap of k views.
        found: Their solution.

    Returns:
        The statistic, its probability and the conflicts.

    References:
        Theil (1971), Principles of econometrics, section 7.8.
    """
    statistic, rank = float(found.y @ found.y), len(found.y)
    probability = float(chi2.sf(statistic, rank)) if rank else 1.0
    return ViewConsistency(statistic, rank, probability, _conflicts(equations))


def _conflicts(equations: ViewEquations) -> tuple[ViewConflict, ...]:
    alone, together = _scores(equations)
    found = (np.abs(together) > FAR) & (np.abs(together) > np.abs(alone)[None, :] + FARTHER)
    pairs = np.argwhere(found)
    strength = np.abs(together[found])
    return tuple(
        ViewConflict(equations.names[j], equations.names[i], float(alone[i]), float(together[j, i]))
        for j, i in pairs[np.argsort(-strength, kind="stable")[:MOST_CONFLICTS]].tolist()
    )


def _scores(equations: ViewEquations) -> tuple[FloatArray, FloatArray]:
    """(k,) each view's standard score, and (k, k) that of the column's view given the row's; 0 where it has none."""
    variance = equations.G.diagonal()
    risky = variance > 0
    deviation = np.sqrt(np.where(risky, variance, 1.0))
    alone = np.where(risky, equations.gap / deviation, 0.0)
    C = equations.G / np.outer(deviation, deviation)
    left = 1.0 - C**2
    known = (left > DEPENDENT_TOLERANCE) & risky[:, None] & risky[None, :]
    residual = alone[None, :] - C * alone[:, None]
    together: FloatArray = np.where(known, residual / np.sqrt(np.where(known, left, 1.0)), 0.0)
    return alone, together
