"""Budgets of risk: who is to carry which share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernel.canonical import Mask, Matrix, Vector
from kernel.errors import ProblemError

# Smaller shares than this, but for none, make weights that are lost in rounding.
SMALLEST_SHARE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Budgets:
    """Shares of the risk, of assets or of factors.

    Attributes:
        field: Where they come from, in the caller's words.
        names: (k,) who has one.
        b: (k,) > 0, adding up to 1.
        exposures: (k, n) rows that must be positive: of an asset its weight, negative where it is short; of a factor
            the portfolio's exposure.
        members: (n,) the assets that make up the portfolio without limits.
        short: (n,) assets to be held short.
        unheld: (n,) assets whose budget is zero.
        of_factors: Whether they are budgets of factors.
    """

    field: str
    names: tuple[str, ...]
    b: Vector
    exposures: Matrix
    members: Mask
    short: Mask
    unheld: Mask
    of_factors: bool

    @property
    def long(self) -> Mask:
        """(n,) assets to be held long."""
        return np.zeros(len(self.members), dtype=bool) if self.of_factors else self.members & ~self.short

    @property
    def dual(self) -> Matrix:
        """(k, n) pinv(A'), which turns the risk's gradient by assets into that by exposures; A for assets."""
        if not self.of_factors:
            return self.exposures
        sizes = np.abs(self.exposures).max(axis=1)
        return np.asarray(np.linalg.pinv((self.exposures / sizes[:, None]).T) / sizes[:, None])


def asset_budgets(
    names: Sequence[str],
    shares: Vector,
    *,
    short: Mask | None = None,
    cash: int | None = None,
    field: str = "risk_budgeting.instrument_budgets",
) -> Budgets:
    """Budgets of assets, divided by their sum.

    Args:
        names: (n,) of all assets.
        shares: (n,) >= 0; 0 = is not held.
        short: (n,) assets to be held short; None = none.
        cash: The place of cash, whose share of zero does not say that there is none of it; None = there is no cash.
        field: Where they come from, in the caller's words.

    Raises:
        ProblemError: A share is negative or not finite, too small beside the others, or none is positive.
    """
    b = _shares(field, names, shares)
    held = np.flatnonzero(b > 0.0).tolist()
    short = np.zeros(len(b), dtype=bool) if short is None else short & (b > 0.0)
    exposures = (np.where(short, -1.0, 1.0)[:, None] * np.eye(len(b)))[held]
    return Budgets(
        field=field,
        names=tuple(names[i] for i in held),
        b=b[held],
        exposures=exposures,
        members=b > 0.0,
        short=short,
        unheld=(b == 0.0) & (np.arange(len(b)) != cash),
        of_factors=False,
    )


def factor_budgets(
    names: Sequence[str],
    shares: Vector,
    exposures: Matrix,
    members: Mask,
    *,
    field: str = "risk_budgeting.factor_budgets",
) -> Budgets:
    """Budgets of factors, divided by their sum.

    Args:
        names: (k,) of the factors.
        shares: (k,) > 0.
        exposures: (k, n) of every asset to every factor.
        members: (n,) the assets that may be held.
        field: Where they come from, in the caller's words.

    Raises:
        ProblemError: A share is not positive and finite, or too small beside the others; an exposure is not finite; a
            factor has no exposure, or one that is a combination of the others'.
    """
    b = _shares(field, names, shares)
    for j, name in enumerate(names):
        if not b[j] > 0.0:
            raise ProblemError(f"{field}[{name}]", "must be above 0: leave out the factors that are to have none")
        if not np.isfinite(exposures[j]).all():
            raise ProblemError(f"{field}[{name}]", "has exposures that are not finite")
    inside = np.where(members, exposures, 0.0)
    sizes = np.abs(inside).max(axis=1, initial=0.0)
    for j in np.flatnonzero(sizes == 0.0).tolist():
        raise ProblemError(f"{field}[{names[j]}]", "has no exposure to anything that may be held")
    if np.linalg.matrix_rank(inside / sizes[:, None]) < len(names):
        reason = "the exposures of these factors are combinations of each other: their shares cannot be told apart"
        raise ProblemError(field, reason)
    none = np.zeros(exposures.shape[1], dtype=bool)
    return Budgets(field, tuple(names), b, inside, members, none, none, of_factors=True)


def _shares(field: str, names: Sequence[str], shares: Vector) -> Vector:
    for name, share in zip(names, shares.tolist(), strict=True):
        if not (np.isfinite(share) and share >= 0.0):
            raise ProblemError(f"{field}[{name}]", f"must be finite and not negative, not {share:g}")
    # Divided by the largest first: a sum of huge shares may be no number.
    relative = shares / shares.max() if shares.max(initial=0.0) > 0.0 else shares
    total = float(relative.sum())
    if not total > 0.0:
        raise ProblemError(field, "must not all be 0: somebody must carry the risk")
    b = relative / total
    for i in np.flatnonzero((shares > 0.0) & (b < SMALLEST_SHARE)).tolist():
        reason = f"is {b[i]:.1g} of the sum of all; must be 0, or at least {SMALLEST_SHARE:g} of it"
        raise ProblemError(f"{field}[{names[i]}]", reason)
    return np.asarray(b)
