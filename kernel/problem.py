"""A portfolio problem in the caller's terms: frozen data, no mathematics.

optimise    an Objective over Moments
subject to  Constraints, each with the caller's name
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kernel.canonical import Matrix, Vector
from kernel.errors import ProblemError

if TYPE_CHECKING:
    from kernel.constraints import Constraint
    from kernel.measures import RiskMeasure


@dataclass(frozen=True, slots=True)
class Moments:
    """Expected returns `mu` (n,) and covariance `Sigma` (n, n), both annual, of the named assets.

    Raises:
        ProblemError: Shapes differ, a number is not finite, or Sigma is not symmetric.
    """

    names: tuple[str, ...]
    mu: Vector
    Sigma: Matrix

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0:
            raise ProblemError("universe", "has no assets")
        if self.mu.shape != (n,) or self.Sigma.shape != (n, n):
            raise ProblemError("moments", f"{n} assets, but mu {self.mu.shape} and Sigma {self.Sigma.shape}")
        for i in np.flatnonzero(~np.isfinite(self.mu)).tolist():
            raise ProblemError(f"expected_returns[{self.names[i]}]", f"must be finite, not {self.mu[i]}")
        if not np.isfinite(self.Sigma).all():
            i, j = (int(indices[0]) for indices in np.nonzero(~np.isfinite(self.Sigma)))
            raise ProblemError(f"covariance[{self.names[i]}, {self.names[j]}]", "must be finite")
        if not np.array_equal(self.Sigma, self.Sigma.T):
            raise ProblemError("covariance", "must be symmetric")
        _require_semidefinite(self.Sigma)
        self.mu.flags.writeable = False
        self.Sigma.flags.writeable = False

    @property
    def n(self) -> int:
        """Number of assets."""
        return len(self.names)

    @property
    def typical_volatility(self) -> float:
        """Root mean variance of the assets: against it a volatility is large or small."""
        return math.sqrt(float(np.diag(self.Sigma).mean()))

    def volatility(self, w: Vector) -> float:
        """sqrt(w'Sigma w), annual."""
        return math.sqrt(max(float(w @ self.Sigma @ w), 0.0))


def _require_semidefinite(Sigma: Matrix) -> None:
    """A matrix with a negative variance in it makes every claim of optimality false. Rounding is let pass."""
    rounding = 1e-9 * float(np.abs(np.diag(Sigma)).max())
    try:
        np.linalg.cholesky(Sigma + rounding * np.eye(len(Sigma)))
    except np.linalg.LinAlgError:
        if rounding > 0.0 or Sigma.any():
            raise ProblemError("covariance", "must be positive semidefinite") from None


@dataclass(frozen=True, slots=True)
class ProportionalCost:
    """A cost of ``rates'|w - w0| + sale_rates'(w0 - w)+``, charged once against the annual return.

    Attributes:
        rates: (n,) cost of buying or selling, as a fraction of what is traded.
        w0: (n,) current weights.
        sale_rates: (n,) what sales cost beyond that (tax on realised gains); None = nothing. All rates are >= 0, so
            that the cost is convex.
    """

    rates: Vector
    w0: Vector
    sale_rates: Vector | None = None

    @property
    def offset(self) -> float:
        """The constant of the cost, written as linear terms over t >= |w - w0| and w (see `cost_terms`)."""
        return 0.0 if self.sale_rates is None else 0.5 * float(self.sale_rates @ self.w0)

    def of(self, w: Vector) -> float:
        """The cost of moving from w0 to w."""
        change = w - self.w0
        tax = 0.0 if self.sale_rates is None else float(self.sale_rates @ np.maximum(-change, 0.0))
        return float(self.rates @ np.abs(change)) + tax


@dataclass(frozen=True, slots=True)
class MinimizeRisk:
    """Least risk. With costs: least ``risk_aversion/2 w'Sigma w + cost``, the utility at zero expected returns."""

    risk_aversion: float = 1.0


@dataclass(frozen=True, slots=True)
class MaximizeReturn:
    """Highest ``mu'w - cost``."""


@dataclass(frozen=True, slots=True)
class MaximizeUtility:
    """Highest ``mu'w - cost - risk_aversion/2 w'Sigma w``."""

    risk_aversion: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.risk_aversion) and self.risk_aversion > 0):
            raise ProblemError("preferences.risk_aversion", f"must be positive, not {self.risk_aversion}")


@dataclass(frozen=True, slots=True)
class MaximizeRatio:
    """Highest ``(mu'w - cost - risk_free) / risk(w)``; `risk_free` is annual."""

    risk_free: float


Objective = MinimizeRisk | MaximizeReturn | MaximizeUtility | MaximizeRatio


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything that the answer depends on."""

    moments: Moments
    objective: Objective
    measure: RiskMeasure
    constraints: tuple[Constraint, ...]
    cost: ProportionalCost | None = None

    def net_return(self, w: Vector) -> float:
        """Expected return mu'w less the cost of getting to w."""
        return float(self.moments.mu @ w) - (self.cost.of(w) if self.cost else 0.0)


def _stopped_clock() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How far to go.

    Attributes:
        tolerance: Relative gap and absolute violation (in weights) up to which an answer is called optimal.
        loose_tolerance: The same for optimal_to_tolerance; beyond it an answer is a numerical failure.
        deadline: Reading of `clock` at which integer searches stop, all of one request together.
        node_limit: Limit of nodes of integer searches.
        clock: Monotonic seconds; the default never advances, so that only `node_limit` counts.
    """

    tolerance: float = 1e-8
    loose_tolerance: float = 1e-5
    deadline: float = math.inf
    node_limit: int = 100_000
    clock: Callable[[], float] = field(default=_stopped_clock)

    def shares(self, solves: int) -> Iterator[Settings]:
        """Settings for each of `solves` solves in turn: of the time that is left then, an equal part."""
        for left in range(solves, 0, -1):
            now = self.clock()
            yield replace(self, deadline=now + max(self.deadline - now, 0.0) / left)
