"""What a method answers: weights, what they are worth, how that was proven, and what each limit costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from kernel.canonical import Vector
from kernel.constraints.base import Measurement
from kernel.status import Status

# Room in a limit that is rounding.
BINDING = 1e-8


@dataclass(frozen=True, slots=True)
class Certificate:
    """How good an answer is, re-measured on the returned weights.

    Attributes:
        objective: The caller's objective at the weights (volatility, net return, utility or ratio).
        bound: No weights do better than this.
        gap: |objective - bound| relative to the objective's size.
        violation: Largest amount by which a limit is missed: of weights in weights, of others relative to the limit.
        iterations: Of the solver, over all its sub-problems.
        solver: Name and version.
    """

    objective: float
    bound: float
    gap: float
    violation: float
    iterations: int
    solver: str


@dataclass(frozen=True, slots=True)
class ConstraintReport:
    """One limit: where the weights stand, and what one more unit of it would bring.

    `shadow_price` is the improvement of the objective per unit by which the limit is relaxed (for an equality: raised);
    None where an integer search leaves no price.
    """

    name: str
    unit: str
    sense: str
    limit: float
    value: float
    slack: float
    binding: bool
    shadow_price: float | None

    @classmethod
    def of(cls, m: Measurement, shadow_price: float | None) -> ConstraintReport:
        """The report on a limit that was measured."""
        return cls(m.name, m.unit, m.sense, m.limit, m.value, m.slack, m.slack <= BINDING, shadow_price)


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The change of one limit, in its own unit."""

    name: str
    unit: str
    limit: float
    relaxed_limit: float

    @property
    def change(self) -> float:
        """By how much the limit gives way, >= 0."""
        return abs(self.relaxed_limit - self.limit)


class PlanKind(Enum):
    """What is best about a choice of changes that makes a problem feasible."""

    LEAST_TOTAL = "least_total"  # the sum of all changes
    FEWEST_LIMITS = "fewest_limits"  # the number of limits that change, and among those the sum
    OTHER_LIMITS = "other_limits"  # the sum, while the limits changed by the least total stay
    EVEN = "even"  # the largest change, and then the sum


@dataclass(frozen=True, slots=True)
class RelaxationPlan:
    """Changes that together make all limits hold.

    Attributes:
        kind: What is best about it.
        relaxations: The changes, each in its limit's unit.
        total: Their sum in points (see `kernel.diagnosis.elastic`): 0.01 is one percentage point.
        fewest: Whether it is proven that no plan changes fewer limits.
        verified: Whether a solve of the changed problem found weights that meet every changed limit.
        proven: Whether it is what its kind says; False where an integer search was stopped at the best found.
    """

    kind: PlanKind
    relaxations: tuple[Relaxation, ...]
    total: float
    fewest: bool
    verified: bool
    proven: bool = True


class Minimality(Enum):
    """What is proven of a conflict's size."""

    SMALLEST = "smallest"  # no conflict has fewer limits
    IRREDUCIBLE = "irreducible"  # without any one of its limits the others hold together
    UNPROVEN = "unproven"  # an integer search was stopped: some of its limits may not be needed


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why nothing satisfies all limits.

    Attributes:
        conflicting: Limits that cannot hold together.
        alternatives: Different ways to change limits so that all hold together, the one of least total first.
        sentence: Both, readable.
        minimality: What is proven of the size of `conflicting`.
    """

    conflicting: tuple[str, ...]
    alternatives: tuple[RelaxationPlan, ...]
    sentence: str
    minimality: Minimality = Minimality.SMALLEST

    @property
    def relaxations(self) -> tuple[Relaxation, ...]:
        """The changes of the first alternative."""
        return self.alternatives[0].relaxations if self.alternatives else ()


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer to a problem. `weights` and `certificate` are present exactly when the status has weights.

    `x` holds all variables of the program that was solved: from there a similar problem starts warm. `direction` holds,
    for an unbounded problem, the weight changes by asset along which the objective improves for ever.
    """

    status: Status
    message: str
    weights: Vector | None = None
    certificate: Certificate | None = None
    constraints: tuple[ConstraintReport, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    explanation: Explanation | None = None
    x: Vector | None = None
    direction: Mapping[str, float] = field(default_factory=dict)
