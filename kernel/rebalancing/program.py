"""The mixed-integer program of a trade plan, solved by HiGHS.

Per instrument, in steps of ``a`` money units: B bought, S sold, e exit (sells the fractional remainder r too),
y and z trade flags, d distance to the target in money units, j = B - S the change and j* the change to the target:

    minimise  sum d + cost
    d >= |a (j - j* - r e)|, with the chord of the distance between floor(j*) and ceil(j*) for whole steps
    smallest y <= B <= U y,   smallest (z - e) <= S <= K z,   S >= held e,   e <= z,   y + z <= 1
    cash0 + sum a (S + r e - B) - cost >= min cash,   sum (y + z) <= N
    1/2 sum a (B + S + r e) + 1/2 |cash change| <= max turnover

No trade passes its target by more than an increment, except sales where cash is short: U and K end there.
The chord and the split of each trade at its target (``knee``) are what makes the relaxation close to the answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from kernel.rebalancing.book import Book, Position
from kernel.rebalancing.mixed_integer import Assembly, Row, SearchEnd, SearchSettings, Terms
from kernel.rebalancing.money import CENT, ZERO

# Money is counted in this fraction of the portfolio, which puts the solver's absolute tolerances far below a cent.
_UNITS_PER_PORTFOLIO = Decimal(10_000)
# Fractional increments worth less than this fraction of the portfolio are modelled as continuous.
_CONTINUOUS_BELOW = Decimal("0.000001")
# Solver noise that may lift a quantity by less than a full increment and still be the increment above.
_SNAP = Decimal("0.000001")
# Targets nearer to a whole step than this fraction of it differ from it by the rounding of weights.
_SAME_STEP = 1e-9


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What the solver found.

    Attributes:
        end: Why it stopped.
        quantities: Shares per position, positive bought and negative sold; None without an incumbent.
        lower_bound: Money below which no plan's objective can be; zero if nothing better is known.
        nodes: Branch-and-bound nodes.
    """

    end: SearchEnd
    quantities: tuple[Decimal, ...] | None
    lower_bound: Decimal
    nodes: int


@dataclass(frozen=True, slots=True)
class _Scale:
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


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a position's variables are; None for what is not allowed or never useful."""

    buy: int | None = None
    bought: int | None = None
    sell: int | None = None
    sold: int | None = None
    leave: int | None = None


def rounding_reserve(book: Book) -> Decimal:
    """Most money that rounding to increments and cents can take from the cash or add to the turnover.

    Args:
        book: The problem.

    Returns:
        A cent per position that may be traded, and an increment where the program knows no increments.
    """
    total = book.total_value
    tradable = [position for position in book.positions if position.can_buy or position.can_sell]
    fractions = (p.price * p.increment for p in tradable if _is_continuous(p, total))
    return sum(fractions, CENT * len(tradable))


class TradeProgram:
    """The program of one book, ready to be solved for the closest plan or for the most cash."""

    def __init__(self, book: Book, cash_reserve: Decimal = ZERO) -> None:
        """Builds all columns and rows.

        Args:
            book: The problem; its total value is positive.
            cash_reserve: Money by which cash and turnover limits are tightened, for what rounding may take.
        """
        self._book = book
        self._total = book.total_value
        self._unit = (self._total or Decimal(1)) / _UNITS_PER_PORTFOLIO
        self._purchasing_power = sum((p.value for p in book.positions if p.can_sell), book.cash - book.limits.min_cash)
        self._reserve = cash_reserve
        self._assembly = Assembly()
        self._scales = tuple(self._scale(position) for position in book.positions)
        self._idle_distance = 0.0
        self._cash_change: Terms = {}
        self._traded: Terms = {}
        self._columns = tuple(map(self._add_position, book.positions, self._scales))
        self._limit_trades()
        self._limit_turnover()

    def closest_plan(self, search: SearchSettings) -> SearchResult:
        """Minimises distance plus cost with the minimum cash kept."""
        shortage = float((self._book.limits.min_cash + self._reserve - self._book.cash) / self._unit)
        return self._solve(self._assembly.cost, [(self._cash_change, shortage)], search)

    def most_cash(self, search: SearchSettings) -> SearchResult:
        """Maximises the cash after trading within all other limits; its bound has no meaning."""
        cost = [-self._cash_change.get(column, 0.0) for column in range(len(self._assembly.cost))]
        return self._solve(cost, [], search)

    def _scale(self, position: Position) -> _Scale:
        whole = not _is_continuous(position, self._total)
        shares = position.increment if whole else self._unit / position.price
        return _Scale(
            shares=shares,
            step=float(shares * position.price / self._unit),
            whole=whole,
            aim=_snapped(float((position.target_value / position.price - position.held) / shares)),
            held=float((position.held - position.remainder) / shares),
            remainder=float(position.remainder / shares),
            smallest=float(position.smallest_trade(self._book.limits.min_trade_value) / shares),
        )

    def _add_position(self, position: Position, scale: _Scale) -> _Columns:
        columns = self._add_columns(position, scale)
        if columns == _Columns():
            self._idle_distance += abs(scale.step * scale.aim)
            return columns
        self._bound_distance(columns, scale)
        self._charge(columns, scale)
        if columns.bought is not None and columns.sold is not None:
            self._assembly.at_least({columns.bought: -1.0, columns.sold: -1.0}, -1.0)
        return columns

    def _add_columns(self, position: Position, scale: _Scale) -> _Columns:
        buy = bought = sell = sold = leave = None
        most = self._most_bought(scale) if position.can_buy else 0.0
        if most >= scale.smallest:
            buy, bought = self._add_trade(scale, most, scale.aim)
            self._assembly.at_least({buy: 1.0, bought: -scale.smallest}, 0.0)
        everything = scale.held + scale.remainder
        most = self._most_sold(scale) if position.can_sell else 0.0
        may_leave = most >= everything > 0.0
        if may_leave or (most := min(most, scale.held)) >= scale.smallest:
            sell, sold = self._add_trade(scale, min(most, scale.held), -scale.aim)
            leave = self._add_exit(scale, sell, sold) if may_leave else None
            if leave is None:
                self._assembly.at_least({sell: 1.0, sold: -scale.smallest}, 0.0)
        return _Columns(buy, bought, sell, sold, leave)

    def _most_bought(self, scale: _Scale) -> float:
        """Up to the target, as far as everything sold could pay for it."""
        affordable = float(self._purchasing_power / self._unit) / scale.step
        if scale.whole:
            return min(math.ceil(scale.aim), math.floor(affordable + float(_SNAP)))
        return min(scale.aim, affordable)

    def _most_sold(self, scale: _Scale) -> float:
        """Down to the target and one whole step more, which may pay for costs; all of it only where cash is short."""
        if self._book.cash < self._book.limits.min_cash:
            return scale.held + scale.remainder
        if scale.aim >= 0.0:
            return 0.0
        return math.floor(-scale.aim) + 1 if scale.whole else -scale.aim

    def _add_trade(self, scale: _Scale, most: float, aim: float) -> tuple[int, int]:
        """Quantity and flag: quantity <= knee flag + beyond, beyond <= (most - knee) flag, knee at the target."""
        quantity = self._assembly.column(most, whole=scale.whole)
        flag = self._assembly.flag()
        knee = max(round(aim) if scale.whole else aim, scale.smallest)
        if aim <= 0.0 or knee >= most:
            self._assembly.at_least({flag: most, quantity: -1.0}, 0.0)
            return quantity, flag
        beyond = self._assembly.column(most - knee)
        self._assembly.at_least({flag: knee, beyond: 1.0, quantity: -1.0}, 0.0)
        self._assembly.at_least({flag: most - knee, beyond: -1.0}, 0.0)
        return quantity, flag

    def _add_exit(self, scale: _Scale, sell: int, sold: int) -> int | None:
        """An exit flag and the smallest trade, where selling everything differs from the largest ordinary sale."""
        if not scale.remainder and scale.held >= scale.smallest:
            return None
        leave = self._assembly.flag()
        self._assembly.at_least({sold: 1.0, leave: -1.0}, 0.0)
        self._assembly.at_least({sell: 1.0, leave: -scale.held}, 0.0)
        smallest = scale.smallest if scale.held >= scale.smallest else scale.held + 1.0
        self._assembly.at_least({sell: 1.0, sold: -smallest, leave: smallest}, 0.0)
        return leave

    def _bound_distance(self, columns: _Columns, scale: _Scale) -> None:
        """The convex distance on both sides of the target and, for whole steps, its chord between them."""
        distance = self._assembly.column(math.inf, cost=1.0)
        slopes = [(-1.0, 0.0), (1.0, 0.0)]
        part = scale.aim - math.floor(scale.aim)
        if scale.whole and part > 0.0:
            slopes.append((1.0 - 2.0 * part, 2.0 * part * (1.0 - part)))
        for slope, height in slopes:
            # d >= step (slope (j - aim) + height), where an exit lowers the value by the remainder as well.
            terms = _signed(columns, -slope * scale.step)
            if columns.leave is not None:
                change = -1.0 if slope < 0.0 and height == 0.0 else 1.0
                terms[columns.leave] = change * scale.step * scale.remainder
            terms[distance] = 1.0
            self._assembly.at_least(terms, scale.step * (height - slope * scale.aim))

    def _charge(self, columns: _Columns, scale: _Scale) -> None:
        """Costs in the objective; costs and values in the cash and turnover rows."""
        commission = float(self._book.costs.commission / self._unit)
        rate = float(self._book.costs.impact_rate)
        sizes = {columns.buy: 1.0, columns.sell: 1.0, columns.leave: scale.remainder}
        for column, size in sizes.items():
            if column is not None:
                value = scale.step * size
                self._assembly.cost[column] += rate * value
                self._traded[column] = value
                self._cash_change[column] = -(1.0 + rate) * value if column == columns.buy else (1.0 - rate) * value
        for flag in (columns.bought, columns.sold):
            if flag is not None:
                self._assembly.cost[flag] += commission
                self._cash_change[flag] = -commission

    def _limit_trades(self) -> None:
        if self._book.limits.max_trades is not None:
            flags = [flag for columns in self._columns for flag in (columns.bought, columns.sold) if flag is not None]
            self._assembly.at_least(dict.fromkeys(flags, -1.0), -float(self._book.limits.max_trades))

    def _limit_turnover(self) -> None:
        """Sum of trades + |cash change| <= 2 max turnover, with the absolute value as a column above both signs."""
        if self._book.limits.max_turnover is None:
            return
        limit = self._book.limits.max_turnover * self._total - self._reserve
        moved = self._assembly.column(math.inf)
        for sign in (1.0, -1.0):
            terms = {column: sign * change for column, change in self._cash_change.items()}
            self._assembly.at_least(terms | {moved: 1.0}, 0.0)
        traded = {column: -value for column, value in self._traded.items()}
        self._assembly.at_least(traded | {moved: -1.0}, -2.0 * float(limit / self._unit))

    def _solve(self, cost: list[float], rows: list[Row], search: SearchSettings) -> SearchResult:
        answer = self._assembly.minimise(cost, rows, search)
        quantities = None if answer.x is None else self._quantities(answer.x)
        bound = answer.bound + self._idle_distance
        return SearchResult(answer.end, quantities, Decimal(max(0.0, bound)) * self._unit, answer.nodes)

    def _quantities(self, x: NDArray[np.float64]) -> tuple[Decimal, ...]:
        return tuple(
            _quantity(position, scale, columns, x)
            for position, scale, columns in zip(self._book.positions, self._scales, self._columns, strict=True)
        )


def _is_continuous(position: Position, total: Decimal) -> bool:
    """Whether increments are too fine to be counted."""
    return position.increment < 1 and position.price * position.increment < _CONTINUOUS_BELOW * total


def _snapped(aim: float) -> float:
    """A target within rounding of a whole step is that step: chords between steps need a fraction worth the name."""
    nearest = round(aim)
    return float(nearest) if abs(aim - nearest) < _SAME_STEP else aim


def _signed(columns: _Columns, factor: float) -> Terms:
    """``factor`` times the change in steps."""
    signs = ((columns.buy, factor), (columns.sell, -factor))
    return {column: value for column, value in signs if column is not None}


def _quantity(position: Position, scale: _Scale, columns: _Columns, x: NDArray[np.float64]) -> Decimal:
    """Shares traded, read through the flags: without its flag a quantity is solver noise."""
    if _is_set(columns.leave, x):
        return -position.held
    for column, flag, sign in ((columns.buy, columns.bought, 1), (columns.sell, columns.sold, -1)):
        if column is not None and _is_set(flag, x):
            return sign * _shares(position, scale, x[column])
    return ZERO


def _shares(position: Position, scale: _Scale, steps: float) -> Decimal:
    if scale.whole:
        return round(steps) * scale.shares
    return position.round_toward_zero(Decimal(steps) * scale.shares + _SNAP * position.increment)


def _is_set(flag: int | None, x: NDArray[np.float64]) -> bool:
    return flag is not None and bool(x[flag] > 0.5)
