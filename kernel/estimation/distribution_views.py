"""Views on a distribution, and what they may say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import LARGEST_RETURN, FloatArray

# Least and most combinations of each kind.
_LEGS = {"mean": (1, 1), "volatility": (1, 1), "correlation": (2, 2), "cvar": (1, 1), "ranking": (2, 10**6)}
_SENSES = ("=", "<=", ">=")


@dataclass(frozen=True, slots=True, eq=False)
class DistributionView:
    """One opinion on the distribution of returns.

    Attributes:
        name: The caller's name for it, unique.
        kind: ``mean``, ``volatility``, ``correlation``, ``cvar`` or ``ranking``.
        legs: (m, n) weights of the combinations: one of a mean, volatility or cvar, two of a correlation, and of a
            ranking two or more from the highest expected return to the lowest.
        value: Annual; of a correlation in [-1, 1], of a cvar the loss per period, of a ranking the least difference of
            neighbours.
        sense: ``=``, ``<=`` or ``>=`` the value; of a ranking always the last.
        confidence_level: Of a cvar, in (0, 1).
    """

    name: str
    kind: str
    legs: FloatArray
    value: float
    sense: str = "="
    confidence_level: float = 0.95


def checked_views(views: tuple[DistributionView, ...], n: int) -> tuple[DistributionView, ...]:
    """The views themselves, once each has been checked.

    Args:
        views: One or more.
        n: Number of assets.

    Raises:
        ProblemError: Names the view and what is wrong with it.
    """
    if not views:
        raise ProblemError("views", "must have at least one view")
    names: set[str] = set()
    for view in views:
        if view.name in names:
            raise ProblemError(f"views[{view.name}]", "two views have this name; names must be unique")
        names.add(view.name)
        _check_legs(view, n)
        _check_value(view)
    return views


def _check_legs(view: DistributionView, n: int) -> None:
    field = f"views[{view.name}]"
    if view.kind not in _LEGS or view.sense not in _SENSES:
        raise ProblemError(field, f"is of the kind {view.kind!r} and sense {view.sense!r}; there are no such views")
    least, most = _LEGS[view.kind]
    if view.legs.ndim != 2 or view.legs.shape[1] != n or not least <= len(view.legs) <= most:
        shape = f"{least}" if least == most else f"{least} or more"
        raise ProblemError(field, f"must have {shape} combinations of {n} assets; the shape is {view.legs.shape}")
    if not (np.abs(view.legs) <= LARGEST_RETURN).all():
        raise ProblemError(field, f"must have weights that are finite and within {LARGEST_RETURN:g}")
    if not view.legs.any(axis=1).all():
        raise ProblemError(field, "must have a weight other than zero in every combination")
    if len(np.unique(view.legs, axis=0)) < len(view.legs):
        raise ProblemError(field, "names the same combination twice")


def _check_value(view: DistributionView) -> None:
    field, value, c = f"views[{view.name}]", view.value, view.confidence_level
    if not (math.isfinite(value) and abs(value) <= LARGEST_RETURN):
        raise ProblemError(f"{field}.value", f"is {value:g}; it must be finite and within {LARGEST_RETURN:g}")
    if view.kind == "volatility" and value <= 0.0:
        raise ProblemError(f"{field}.value", f"is {value:g}; a volatility must be above 0")
    if view.kind == "correlation" and abs(value) > 1.0:
        raise ProblemError(f"{field}.value", f"is {value:g}; a correlation must be from -1 to 1")
    if view.kind == "ranking" and (value < 0.0 or view.sense != ">="):
        raise ProblemError(f"{field}.value", "is the least difference of a ranking: 0 or more, with the sense at least")
    if view.kind == "cvar" and not 0.0 < c < 1.0:
        raise ProblemError(f"{field}.confidence_level", f"is {c:g}; it must lie strictly between 0 and 1")
