"""What a method answers: weights, what they are worth, how that was proven, and what each limit costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kernel.canonical import Vector
from kernel.status import Status


@dataclass(frozen=True, slots=True)
class Certificate:
    """How good an answer is, re-measured on the returned weights.

    Attributes:
        objective: The caller's objective at the weights (volatility, net return, utility or ratio).
        bound: No weights do better than this.
        gap: |objective - bound| relative to the objective's size.
        violation: Largest amount by which a limit is missed, in the limit's unit.
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


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The change of one limit, in its own unit, as part of a least total change that makes the problem feasible."""

    name: str
    unit: str
    limit: float
    relaxed_limit: float

    @property
    def change(self) -> float:
        """By how much the limit gives way, >= 0."""
        return abs(self.relaxed_limit - self.limit)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why nothing satisfies all limits.

    Attributes:
        conflicting: A smallest set of limits that cannot hold together: without any one of them the others can.
        relaxations: The changes of least total that make all limits hold together.
        sentence: Both, readable.
    """

    conflicting: tuple[str, ...]
    relaxations: tuple[Relaxation, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer to a problem. `weights` and `certificate` are present exactly when the status has weights.

    `x` holds all variables of the program that was solved: from there a similar problem starts warm.
    """

    status: Status
    message: str
    weights: Vector | None = None
    certificate: Certificate | None = None
    constraints: tuple[ConstraintReport, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    explanation: Explanation | None = None
    x: Vector | None = None
