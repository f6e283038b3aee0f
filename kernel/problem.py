"""A portfolio problem in the caller's terms: frozen data.

optimise    an Objective over Moments
subject to  Constraints, each with the caller's name
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kernel.costs import Deduction
from kernel.errors import ProblemError
from kernel.objectives import Objective
from kernel.quadratic import Matrix, Quadratic, Vector

if TYPE_CHECKING:
    from kernel.constraints import Constraint
    from kernel.measures import RiskMeasure


@dataclass(frozen=True)
class Moments:
    """Expected returns `mu` (n,) and a covariance (n, n), both annual, of the named assets.

    Attributes:
        covariance: (n, n) matrix, or a factor form that is positive semidefinite by its making.

    Raises:
        ProblemError: Shapes differ, a number is not finite, or the covariance is not symmetric positive semidefinite.
    """

    names: tuple[str, ...]
    mu: Vector
    covariance: Matrix | Quadratic

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0:
            raise ProblemError("universe", "has no assets")
        given = self.covariance
        shape = given.shape if isinstance(given, np.ndarray) else (given.size, given.size)
        if self.mu.shape != (n,) or shape != (n, n):
            raise ProblemError("moments", f"{n} assets, but mu {self.mu.shape} and Sigma {shape}")
        for i in np.flatnonzero(~np.isfinite(self.mu)).tolist():
            raise ProblemError(f"expected_returns[{self.names[i]}]", f"must be finite, not {self.mu[i]}")
        self.mu.flags.writeable = False
        if isinstance(given, np.ndarray):
            _require_covariance(self.names, given)
            given.flags.writeable = False
        elif not np.isfinite(given.diagonal_entries).all():
            i = int(np.flatnonzero(~np.isfinite(given.diagonal_entries))[0])
            raise ProblemError(f"covariance[{self.names[i]}, {self.names[i]}]", "must be finite")

    @cached_property
    def quadratic(self) -> Quadratic:
        """The covariance as the quadratic part of a program."""
        return Quadratic(self.covariance) if isinstance(self.covariance, np.ndarray) else self.covariance

    @property
    def Sigma(self) -> Matrix:
        """(n, n) the covariance, made dense where it came as factors."""
        return self.quadratic.dense

    @property
    def n(self) -> int:
        """Number of assets."""
        return len(self.names)

    @property
    def typical_volatility(self) -> float:
        """Root mean variance of the assets: against it a volatility is large or small."""
        return math.sqrt(float(self.quadratic.diagonal_entries.mean()))

    def volatility(self, w: Vector) -> float:
        """sqrt(w'Sigma w), annual."""
        return math.sqrt(max(float(w @ self.quadratic.times(w)), 0.0))


def _require_covariance(names: tuple[str, ...], Sigma: Matrix) -> None:
    if not np.isfinite(Sigma).all():
        i, j = (int(indices[0]) for indices in np.nonzero(~np.isfinite(Sigma)))
        raise ProblemError(f"covariance[{names[i]}, {names[j]}]", "must be finite")
    if not np.array_equal(Sigma, Sigma.T):
        raise ProblemError("covariance", "must be symmetric")
    _require_semidefinite(Sigma)


def _require_semidefinite(Sigma: Matrix) -> None:
    """A matrix with a negative variance in it makes every claim of optimality false. Rounding is let pass."""
    rounding = 1e-9 * float(np.abs(np.diag(Sigma)).max())
    try:
        np.linalg.cholesky(Sigma + rounding * np.eye(len(Sigma)))
    except np.linalg.LinAlgError:
        if rounding > 0.0 or Sigma.any():
            raise ProblemError("covariance", "must be positive semidefinite") from None


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything that the answer depends on.

    Attributes:
        cost: What is taken off the expected return wherever that counts; None = nothing.
    """

    moments: Moments
    objective: Objective
    measure: RiskMeasure
    constraints: tuple[Constraint, ...]
    cost: Deduction | None = None

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
        deadline: Reading of `clock` at which solvers and searches stop, all of one request together.
        node_limit: Limit of nodes of integer searches.
        clock: Monotonic seconds; the default never advances, so that only `node_limit` counts.
    """

    tolerance: float = 1e-8
    loose_tolerance: float = 1e-5
    deadline: float = math.inf
    node_limit: int = 100_000
    clock: Callable[[], float] = field(default=_stopped_clock)

    @property
    def seconds_left(self) -> float:
        """Until the deadline, never negative; infinite without one."""
        return max(self.deadline - self.clock(), 0.0)

    def shares(self, solves: int) -> Iterator[Settings]:
        """Settings for each of `solves` solves in turn: of the time that is left then, an equal part."""
        for left in range(solves, 0, -1):
            now = self.clock()
            yield replace(self, deadline=now + max(self.deadline - now, 0.0) / left)
