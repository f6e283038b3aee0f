"""The two sides of each instrument in the program of a trade plan: what is bought and what is sold."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from kernel.rebalancing.book import Book
from kernel.rebalancing.curves import Terms
from kernel.rebalancing.mixed_integer import Assembly


@dataclass(frozen=True, slots=True)
class Scope:
    """Which trades a program may make beyond those that the target calls for, and what it is to measure.

    Attributes:
        past_target: Whether trades may pass their targets and losses be sold that the target keeps.
        short_term_gains: Whether lots at a short-term gain may be sold.
        most_short_term: Largest sum of short-term gains, money; None for no limit.
        measure: Name of a limit whose left-hand side is needed though it is no limit here.
    """

    past_target: bool = False
    short_term_gains: bool = True
    most_short_term: Decimal | None = None
    measure: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of one position in the program.

    Attributes:
        shares: Shares per step.
        step: Value of a step in money units.
        whole: Whether steps are whole numbers.
        aim: Steps from the holding to the target, positive to buy.
        held: Steps that can be sold without an exit.
        remainder: Steps that only an exit sells.
        smallest: Fewest steps of a trade, > 0: a trade flag without a trade could burn money to meet a turnover limit.
    """

    shares: Decimal
    step: float
    whole: bool
    aim: float
    held: float
    remainder: float
    smallest: float

    @property
    def everything(self) -> float:
        """Steps that an exit sells."""
        return self.held + self.remainder


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a position's variables are; None for what is not allowed or never useful."""

    buy: int | None = None
    bought: int | None = None
    sell: int | None = None
    sold: int | None = None
    leave: int | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of one position.

    Attributes:
        index: Of the position.
        sign: 1 bought, -1 sold.
        quantity: Steps traded, exits included.
        flag: Column that is 1 where it is traded.
        most: Most steps.
        scale: Of the position.
    """

    index: int
    sign: float
    quantity: Terms
    flag: int
    most: float
    scale: Scale

    @property
    def aim(self) -> float:
        """Steps to the target in this direction; negative where it lies in the other."""
        return self.sign * self.scale.aim

    def value(self, factor: float = 1.0) -> Terms:
        """Money units traded, times a factor."""
        return {column: factor * self.scale.step * steps for column, steps in self.quantity.items()}


@dataclass(slots=True)
class Frame:
    """What all parts of a program build on.

    Attributes:
        book: The problem.
        scope: Which trades are allowed.
        unit: Money per unit of the program.
        reserve: Money by which limits are tightened, for what rounding may take; None loosens them by what it may give.
        total: Value of the portfolio in units.
        assembly: The program so far.
        sides: Of all positions.
    """

    book: Book
    scope: Scope
    unit: Decimal
    reserve: Decimal | None
    total: float
    assembly: Assembly = field(default_factory=Assembly)
    sides: list[Side] = field(default_factory=list)

    def units(self, amount: Decimal) -> float:
        """Money in units."""
        return float(amount / self.unit)
