"""The trading problem in exact numbers: what is held, wanted and allowed, and what a set of trades leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.costs import CostModel, trade_cost
from kernel.rebalancing.money import ZERO, require_amount, to_cents
from kernel.rebalancing.request import CASH, TradeLimits, TradeRequest

_ONE = Decimal(1)
# Target weights come from an optimiser that meets its budget to about this.
_BUDGET_TOLERANCE = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Position:
    """One instrument of the problem.

    Attributes:
        instrument_id: The instrument.
        held: Shares now.
        price: Money per share.
        increment: Smallest tradable number of shares.
        target_value: Money wanted in it.
        can_buy: Whether it may be bought.
        can_sell: Whether it may be sold.
    """

    instrument_id: str
    held: Decimal
    price: Decimal
    increment: Decimal
    target_value: Decimal
    can_buy: bool
    can_sell: bool

    @property
    def value(self) -> Decimal:
        """Money held in it now."""
        return self.held * self.price

    @property
    def remainder(self) -> Decimal:
        """Shares held beyond a whole number of increments; only selling everything sells them."""
        return self.held % self.increment

    def smallest_trade(self, min_trade_value: Decimal) -> Decimal:
        """Fewest shares worth at least an amount, a whole number of increments and at least one."""
        increments = (min_trade_value / (self.price * self.increment)).to_integral_value(ROUND_CEILING)
        return max(_ONE, increments) * self.increment

    def round_toward_zero(self, shares: Decimal) -> Decimal:
        """The largest whole number of increments within a number of shares >= 0."""
        return (shares / self.increment).to_integral_value(ROUND_FLOOR) * self.increment


@dataclass(frozen=True, slots=True)
class Book:
    """The whole problem.

    Attributes:
        positions: The instruments held or wanted, sorted by id.
        cash: Money before trading.
        limits: What must not be broken.
        costs: Commission and impact.
    """

    positions: tuple[Position, ...]
    cash: Decimal
    limits: TradeLimits
    costs: CostModel

    @property
    def total_value(self) -> Decimal:
        """Money in all positions and cash before trading."""
        return sum((position.value for position in self.positions), self.cash)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What trades lead to, to the cent.

    Attributes:
        cash: Money after trades and costs.
        cost: Money paid for trading.
        turnover_value: Money of one-way turnover, 1/2 (sum |trade values| + |cash change|).
        distance: sum_i |value after - target value|, money, cash not counted.
        objective: distance + unrounded cost, what the plan minimises.
        violation: Money by which limits are broken, and one per trade too many; zero for a valid plan.
    """

    cash: Decimal
    cost: Decimal
    turnover_value: Decimal
    distance: Decimal
    objective: Decimal
    violation: Decimal


def open_book(request: TradeRequest) -> Book:
    """Checks a request and turns it into positions with target values.

    Args:
        request: The request.

    Returns:
        The book; instruments neither held nor wanted are left out.

    Raises:
        ProblemError: A number is out of range, an instrument held or wanted has no price, target weights exceed the
            whole, or an overdraft eats up the portfolio.
    """
    if not request.cash.is_finite():
        raise ProblemError("cash", f"must be finite, got {request.cash}")
    _check_targets(request.target_weights)
    for name, shares in request.holdings.items():
        require_amount(f"holdings[{name}]", shares)
    names = sorted(_nonzero(request.holdings) | (_nonzero(request.target_weights) - {CASH}))
    for name in names:
        _check_instrument(request, name)
    total = sum((shares * request.prices[name] for name, shares in request.holdings.items() if shares), request.cash)
    if total < ZERO or (not total and request.cash):
        raise ProblemError("cash", f"an overdraft of {-request.cash} leaves no value to rebalance: {total} in total")
    positions = tuple(_position(request, name, total) for name in names)
    return Book(positions, request.cash, request.limits, request.costs)


def settle(book: Book, quantities: tuple[Decimal, ...]) -> Settlement:
    """Carries trades out on paper.

    Args:
        book: The problem.
        quantities: Shares per position, positive bought and negative sold.

    Returns:
        Cash, cost, turnover and objective, with the amount by which limits are broken.
    """
    cash, cost, exact_cost, traded, distance = book.cash, ZERO, ZERO, ZERO, ZERO
    for position, quantity in zip(book.positions, quantities, strict=True):
        distance += abs((position.held + quantity) * position.price - position.target_value)
        if not quantity:
            continue
        charge = trade_cost(abs(quantity), position.price, book.costs)
        value = to_cents(quantity * position.price)
        cash -= value + charge.total
        cost += charge.total
        exact_cost += charge.commission + charge.impact
        traded += abs(value)
    turnover = (traded + abs(cash - book.cash)) / 2
    violation = _violation(book, quantities, cash, turnover)
    return Settlement(cash, cost, turnover, distance, distance + exact_cost, violation)


def _violation(book: Book, quantities: tuple[Decimal, ...], cash: Decimal, turnover: Decimal) -> Decimal:
    limits = book.limits
    broken = max(ZERO, limits.min_cash - cash)
    if limits.max_turnover is not None:
        broken += max(ZERO, turnover - limits.max_turnover * book.total_value)
    if limits.max_trades is not None:
        broken += max(0, sum(1 for quantity in quantities if quantity) - limits.max_trades)
    for position, quantity in zip(book.positions, quantities, strict=True):
        if quantity and quantity != -position.held:
            broken += max(ZERO, limits.min_trade_value - abs(quantity) * position.price)
    return broken


def _nonzero(numbers: Mapping[str, Decimal]) -> set[str]:
    return {name for name, number in numbers.items() if number}


def _check_targets(targets: Mapping[str, Decimal]) -> None:
    for name, weight in targets.items():
        require_amount(f"target_weights[{name}]", weight)
    total = sum(targets.values(), ZERO)
    if total > _ONE + _BUDGET_TOLERANCE or (CASH in targets and total < _ONE - _BUDGET_TOLERANCE):
        raise ProblemError("target_weights", f"add up to {total}, expected {'1' if CASH in targets else 'at most 1'}")


def _check_instrument(request: TradeRequest, name: str) -> None:
    if name == CASH:
        raise ProblemError("holdings[CASH]", "cash is given as an amount of money, not as a holding")
    if name not in request.prices:
        raise ProblemError(f"prices[{name}]", "has no price, but is held or wanted")
    require_amount(f"prices[{name}]", request.prices[name], positive=True)
    require_amount(f"increments[{name}]", request.increments.get(name, _ONE), positive=True)


def _position(request: TradeRequest, name: str, total: Decimal) -> Position:
    return Position(
        instrument_id=name,
        held=request.holdings.get(name, ZERO),
        price=request.prices[name],
        increment=request.increments.get(name, _ONE),
        target_value=request.target_weights.get(name, ZERO) * total,
        can_buy=name not in request.limits.do_not_buy,
        can_sell=name not in request.limits.do_not_sell,
    )
