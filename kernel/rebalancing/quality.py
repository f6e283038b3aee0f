"""How good a trade plan is: objective and bounds, every limit with its slack and price, and what contradicts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from kernel.rebalancing.money import ZERO

# An objective this close to its bound, relatively, equals it up to floating point.
_EQUAL, _UNIT = Decimal("1e-8"), Decimal(1)


class BoundSource(StrEnum):
    """Where a lower bound comes from."""

    EXACT = "exact"
    """A search that came to its end"""
    SEARCH = "search"
    """A search that was stopped"""
    RELAXATION = "relaxation"
    """Whole shares, thresholds and directions left aside"""


class LimitSense(StrEnum):
    """Which side of a limit is allowed."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


class Concession(StrEnum):
    """What a plan does only because no plan without it keeps the limits."""

    PAST_TARGET = "past_target"
    """A trade passes its target by more than an increment, or shares at a loss are sold that the target keeps."""
    SHORT_TERM_GAINS = "short_term_gains"
    """Lots at a short-term gain are sold: the least such gain."""


@dataclass(frozen=True, slots=True)
class PlanQuality:
    """What a plan minimises, in money, and how near to the best it is.

    Attributes:
        objective: distance + cost + weight * tax.
        lower_bound: No set of trades has a smaller objective.
        bound_source: Where the bound comes from.
        relaxation_bound: Bound of the convex relaxation, before any search; at most ``lower_bound``.
        distance: Part that is distance.
        cost: Part that is trading cost, unrounded.
        tax: Part that is tax before weighting, unrounded; negative where losses save tax.
        no_trade_objective: The objective without trades; None when that breaks a limit.
    """

    objective: Decimal = ZERO
    lower_bound: Decimal = ZERO
    bound_source: BoundSource = BoundSource.RELAXATION
    relaxation_bound: Decimal = ZERO
    distance: Decimal = ZERO
    cost: Decimal = ZERO
    tax: Decimal = ZERO
    no_trade_objective: Decimal | None = None

    @property
    def gap(self) -> float:
        """(objective - lower bound) / |objective|, zero where they are equal up to floating point."""
        apart = self.objective - self.lower_bound
        if apart <= _EQUAL * max(_UNIT, abs(self.objective)):
            return 0.0
        return float(apart / abs(self.objective)) if self.objective else 1.0


@dataclass(frozen=True, slots=True)
class LimitReport:
    """A limit at the planned trades.

    Attributes:
        name: In the caller's words: the field of the request, with the instrument in brackets where it has one.
        unit: As the contract's reports say it: "turnover", "positions", "money", "volatility", "weight" ...
        sense: Which side is allowed.
        limit: What was asked for, in ``unit``.
        value: What the plan has.
        slack: Distance to the limit, >= 0 for a plan.
        binding: Whether nothing is left of the limit, or the plan would be better without it.
    """

    name: str
    unit: str
    sense: LimitSense
    limit: Decimal
    value: Decimal
    slack: Decimal
    binding: bool


@dataclass(frozen=True, slots=True)
class LimitPrice:
    """What a limit costs: the plan less the best plan without this limit, money.

    Attributes:
        name: Of the limit.
        unit: Of the limit.
        limit: What was asked for.
        value: What the best plan without the limit has.
        price: Objective gained without it, >= 0.
        tax: Part of the price that is weighted tax.
        cost: Part that is trading cost.
        distance: Part that is distance.
        uncertainty: The price is certain within +- this much: the gaps of both plans.
        sentence: The price in words.
    """

    name: str
    unit: str
    limit: Decimal
    value: Decimal
    price: Decimal
    tax: Decimal
    cost: Decimal
    distance: Decimal
    uncertainty: Decimal
    sentence: str


@dataclass(frozen=True, slots=True)
class LimitRelaxation:
    """A limit and the nearest value of it that all others allow.

    Attributes:
        name: Of the limit.
        unit: Of the limit.
        limit: What was asked for.
        relaxed: What it has to be while all others stay.
    """

    name: str
    unit: str
    limit: Decimal
    relaxed: Decimal


@dataclass(frozen=True, slots=True)
class PlanConflict:
    """Why no trades keep the limits.

    Attributes:
        limits: Names of limits that contradict each other; without any one of them the others hold together.
        relaxations: Each enough by itself: one limit loosened as little as possible while all others stay.
        sentence: The conflict in words.
        proven: Whether no search was stopped on the way.
    """

    limits: tuple[str, ...]
    relaxations: tuple[LimitRelaxation, ...]
    sentence: str
    proven: bool = True
