"""The mixed-integer program of a trade plan, solved by HiGHS.

Per instrument, in steps of ``a`` money units: B bought, S sold, e exit (sells the fractional remainder r too),
y and z trade flags, j* the change to the target, and per side the change of the distance, d_B and d_S:

    minimise  distance without trades + sum (d_B + d_S) + cost + weight * tax
    d_B >= a (|B - j*| - |j*|),  d_S >= a (|S + r e + j*| - |j*|)     in perspective of y and z, on whole steps
    smallest y <= B <= U y,   smallest (z - e) <= S <= K z,   S >= held e,   e <= z,   y + z <= 1
    cash0 + sum a (S + r e - B) - cost >= min cash,   sum (y + z) <= N
    1/2 sum a (B + S + r e) + 1/2 |cash change| <= max turnover

The two sides exclude each other, so that their perspectives add up to the convex hull per instrument of distance, cost
and the tax of its lots. With TRACKING_RISK the risk takes the place of d_B and d_S (see risk_terms).

No trade passes its target by more than an increment, except sales where cash is short: U and K end there. Risk knows
no target of a single instrument and may pass it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from kernel.rebalancing.book import Book, Position
from kernel.rebalancing.costs import PowerImpact
from kernel.rebalancing.curves import Affine, Curve, power_three_halves
from kernel.rebalancing.lot_book import LotParts, SaleLot, rounded_parts
from kernel.rebalancing.lot_terms import LotTerms, counts_gains
from kernel.rebalancing.mixed_integer import Assembly, SearchEnd, SearchSettings
from kernel.rebalancing.money import CENT, ZERO
from kernel.rebalancing.netting import add_tax, unrounded_tax
from kernel.rebalancing.request import TradeDistance, WeightLimit
from kernel.rebalancing.risk_terms import PERCENT, add_risk
from kernel.rebalancing.settle import Trades, least_objective
from kernel.rebalancing.sides import Columns, Frame, Scale, Scope, Side
from kernel.rebalancing.trade_ranges import SNAP, TradeRanges

# Money is counted in this fraction of the portfolio, which puts the solver's absolute tolerances far below a cent.
_UNITS_PER_PORTFOLIO = Decimal(10_000)
# Fractional increments worth less than this fraction of the portfolio are modelled as continuous.
_CONTINUOUS_BELOW = Decimal("0.000001")
# Whole ones, too, below this: the solver tells no more digits apart.
_COUNTLESS_BELOW = Decimal("0.000000001")
# Targets nearer to a whole step than this fraction of it differ from it by the rounding of weights.
_SAME_STEP = 1e-9
# Limits are tightened by this fraction where rounding broke them.
_TIGHTER = 1e-6
# A step past the target costs this much more of its value, which decides between equals.
_RATHER = 1e-7
# By this fraction a bound may be wrong within the solver's tolerances.
_SAFE = 1e-9


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What the solver found.

    Attributes:
        end: Why it stopped.
        quantities: Shares per position, positive bought and negative sold; None without an incumbent.
        lower_bound: Money below which no plan's objective can be.
        nodes: Branch-and-bound nodes.
        lots: By instrument, the lots that the search chose for a sale.
        relaxation: Bound of the continuous relaxation, money.
        seconds: Time in the solver.
    """

    end: SearchEnd
    quantities: tuple[Decimal, ...] | None
    lower_bound: Decimal
    nodes: int
    lots: Mapping[str, LotParts] = field(default_factory=dict)
    relaxation: Decimal = ZERO
    seconds: float = 0.0

    @property
    def trades(self) -> Trades | None:
        """The trades with their lots."""
        return None if self.quantities is None else Trades(self.quantities, self.lots)


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
    """The program of one book, ready to be solved for the closest plan or for the least that a limit must allow."""

    def __init__(self, book: Book, reserve: Decimal | None = None, scope: Scope | None = None) -> None:
        """Builds all columns, rows and curves.

        Args:
            book: The problem; its total value is positive.
            reserve: Money by which limits are tightened, for what rounding may take; None loosens them by what rounding
                may give, so that the bound is one of all plans.
            scope: Which trades are allowed beyond those that the target calls for.
        """
        self._book = book
        self._total = book.total_value
        unit = (self._total or Decimal(1)) / _UNITS_PER_PORTFOLIO
        self._frame = Frame(book, scope or Scope(), unit, reserve, float(self._total / unit))
        self._unit = unit
        self._ranges = TradeRanges(self._frame)
        self._reserve = reserve or ZERO
        self._assembly = self._frame.assembly
        self._objective, self._preferred = Affine(), 0.0
        self._measures: dict[str, Affine] = {}
        self._cash_change, self._traded = Affine(), Affine()
        self._scales = tuple(self._scale(position) for position in book.positions)
        self._columns = tuple(
            self._add_position(k, position, scale)
            for k, (position, scale) in enumerate(zip(book.positions, self._scales, strict=True))
        )
        self._limit_cash()
        self._limit_trades()
        self._limit_turnover()
        self._limit_weights()
        self._weigh_risk()
        self._lots = None if book.tax is None else LotTerms(self._frame)
        self._weigh_tax()

    def closest_plan(self, search: SearchSettings) -> SearchResult:
        """Minimises distance, cost and weighted tax."""
        return self._solve(self._objective, search)

    def least(self, name: str, search: SearchSettings) -> SearchResult:
        """Minimises the left-hand side of a limit; its bound is in the units of the program."""
        return self._solve(self._measures[name], search)

    def _scale(self, position: Position) -> Scale:
        whole = not _is_continuous(position, self._total)
        shares = position.increment if whole else self._unit / position.price
        return Scale(
            shares=shares,
            step=float(shares * position.price / self._unit),
            whole=whole,
            aim=_snapped(float((position.target_value / position.price - position.held) / shares)),
            held=float((position.held - position.remainder) / shares),
            remainder=float(position.remainder / shares),
            smallest=float(position.smallest_trade(self._book.limits.min_trade_value) / shares),
        )

    def _add_position(self, index: int, position: Position, scale: Scale) -> Columns:
        if self._book.distance is TradeDistance.TARGET_VALUE:
            self._objective.constant += abs(scale.step * scale.aim)
        columns = self._add_columns(position, scale)
        for side in _sides(index, scale, columns, self._assembly):
            self._frame.sides.append(side)
            if self._book.distance is TradeDistance.TARGET_VALUE:
                self._bound_distance(side, columns.leave if side.sign < 0.0 else None)
            self._charge(side, position)
        if columns.bought is not None and columns.sold is not None:
            self._assembly.at_least({columns.bought: -1.0, columns.sold: -1.0}, -1.0)
        return columns

    def _add_columns(self, position: Position, scale: Scale) -> Columns:
        buy = bought = sell = sold = leave = None
        most = self._ranges.most_bought(position, scale)
        if most >= scale.smallest:
            buy, bought = self._add_trade(scale, most)
            self._assembly.at_least({buy: 1.0, bought: -scale.smallest}, 0.0)
        most = self._ranges.most_sold(position, scale)
        may_leave = most >= scale.everything > 0.0
        if may_leave or (most := min(most, scale.held)) >= scale.smallest:
            sell, sold = self._add_trade(scale, min(most, scale.held))
            leave = self._add_exit(scale, sell, sold) if may_leave else None
            if leave is None:
                self._assembly.at_least({sell: 1.0, sold: -scale.smallest}, 0.0)
        return Columns(buy, bought, sell, sold, leave)

    def _add_trade(self, scale: Scale, most: float) -> tuple[int, int]:
        """Quantity and flag: quantity <= most flag."""
        quantity = self._assembly.column(most, whole=scale.whole)
        flag = self._assembly.flag()
        self._assembly.directions.append(flag)
        self._assembly.at_least({flag: most, quantity: -1.0}, 0.0)
        return quantity, flag

    def _add_exit(self, scale: Scale, sell: int, sold: int) -> int | None:
        """An exit flag and the smallest trade, where selling everything differs from the largest ordinary sale."""
        if not scale.remainder and scale.held >= scale.smallest:
            return None
        leave = self._assembly.flag()
        self._assembly.at_least({sold: 1.0, leave: -1.0}, 0.0)
        self._assembly.at_least({sell: 1.0, leave: -scale.held}, 0.0)
        smallest = scale.smallest if scale.held >= scale.smallest else scale.held + 1.0
        self._assembly.at_least({sell: 1.0, sold: -smallest, leave: smallest}, 0.0)
        return leave

    def _bound_distance(self, side: Side, leave: int | None) -> None:
        """What a side changes of the distance, in perspective of its flag: convex, with its chord at the target."""
        distance = self._assembly.column(math.inf, lower=-math.inf, cost=0.0)
        self._objective.add({distance: 1.0})
        step, aim = side.scale.step, side.aim
        lines = [(1.0, 0.0)] if aim <= 0.0 else [(-1.0, 0.0), (1.0, -2.0 * aim)]
        if aim > 0.0 and 0.0 < side.most - aim <= 1.0:
            # Of two plans that are as good the one that passes no target is wanted.
            lines[1] = (1.0 + _RATHER, -(2.0 + _RATHER) * aim)
            self._preferred += _RATHER * step
        low = math.floor(aim)
        if side.scale.whole and aim > 0.0:
            high = side.most if leave is not None and low + 1.0 > side.scale.held else low + 1.0
            if low < aim < high:
                slope = (high + low - 2.0 * aim) / (high - low)
                lines.append((slope, -low - slope * low))
        for slope, height in lines:
            row = Affine({distance: 1.0, side.flag: -step * height})
            row.add(side.value(), -slope)
            self._assembly.at_least(row.terms, 0.0)

    def _charge(self, side: Side, position: Position) -> None:
        """Costs in the objective; costs and values in the cash and turnover rows."""
        cost = Affine({side.flag: float(self._book.costs.commission / self._unit)})
        cost.add(side.value(), float(self._book.costs.impact_rate))
        if position.power is not None:
            cost.add({self._power_cost(side, position.power): 1.0})
        self._objective.add(cost.terms)
        self._traded.add(side.value())
        self._cash_change.add(side.value(), -side.sign)
        self._cash_change.add(cost.terms, -1.0)

    def _power_cost(self, side: Side, power: PowerImpact) -> int:
        """A column above b sigma x^(3/2) / V^(1/2), and below its chord: a cost is no way to get rid of money."""
        weight = self._ranges.power_weight(power) * side.scale.step**1.5
        most = weight * side.most**1.5
        column = self._assembly.column(most)
        self._assembly.curves.append(Curve(column, side.quantity, 0.0, power_three_halves(weight), side.flag))
        row = Affine({column: -1.0})
        row.add(side.quantity, most / side.most)
        self._assembly.at_least(row.terms, 0.0)
        return column

    def _limit_cash(self) -> None:
        change = self._cash_change
        self._measures["min_cash_amount"] = Affine({column: -factor for column, factor in change.terms.items()})
        if self._frame.scope.measure != "min_cash_amount":
            shortage = self._book.limits.min_cash + self._ranges.margin - self._book.cash
            self._assembly.at_least(change.terms, self._frame.units(shortage))

    def _limit_trades(self) -> None:
        flags = {side.flag: 1.0 for side in self._frame.sides}
        self._measures["max_trades"] = Affine(dict(flags))
        if self._book.limits.max_trades is not None:
            self._assembly.at_most(flags, float(self._book.limits.max_trades))

    def _limit_turnover(self) -> None:
        """Sum of trades + |cash change| <= 2 max turnover, with the absolute value as a column above both signs."""
        limit = self._book.limits.max_turnover
        if limit is None and self._frame.scope.measure != "max_turnover":
            return
        moved = self._assembly.column(math.inf)
        for sign in (1.0, -1.0):
            terms = {column: sign * change for column, change in self._cash_change.terms.items()}
            self._assembly.at_least({**terms, moved: 1.0}, 0.0)
        turnover = Affine({moved: 0.5})
        turnover.add(self._traded.terms, 0.5)
        self._measures["max_turnover"] = turnover
        if limit is not None:
            self._assembly.at_most(turnover.terms, self._frame.units(limit * self._total - self._ranges.margin))

    def _limit_weights(self) -> None:
        by_name: dict[str, list[Side]] = {}
        for side in self._frame.sides:
            by_name.setdefault(self._book.positions[side.index].instrument_id, []).append(side)
        for limit in self._book.limits.weights:
            weight = Affine()
            for position in self._book.positions:
                factor = float(limit.coefficients.get(position.instrument_id, ZERO))
                weight.constant += factor * self._frame.units(position.value)
                for side in by_name.get(position.instrument_id, []) if factor else []:
                    weight.add(side.value(side.sign * factor))
            self._limit_weight(limit, weight)

    def _limit_weight(self, limit: WeightLimit, weight: Affine) -> None:
        reserve = self._frame.units(self._reserve)
        if limit.name == self._frame.scope.measure:
            sign = 1.0 if limit.minimum is None else -1.0
            self._measures[limit.name] = Affine({k: sign * v for k, v in weight.terms.items()}, sign * weight.constant)
            return
        if limit.minimum is not None:
            least = self._frame.units(limit.minimum * self._total) + reserve
            self._assembly.at_least(weight.terms, least - weight.constant)
        if limit.maximum is not None:
            most = self._frame.units(limit.maximum * self._total) - reserve
            self._assembly.at_most(weight.terms, most - weight.constant)

    def _weigh_risk(self) -> None:
        """Variance in the objective, in money, and below its limit."""
        book, limit = self._book, self._book.limits.max_tracking_error
        weighs = book.distance is TradeDistance.TRACKING_RISK
        if book.risk is None or not self._total:
            return
        if not weighs and limit is None and self._frame.scope.measure != "max_tracking_error":
            return
        variance = add_risk(self._frame)
        self._measures["max_tracking_error"] = variance
        if weighs:
            factor = book.risk.aversion / 2.0 * self._frame.total / PERCENT**2
            self._objective.add(variance.terms, factor, factor * variance.constant)
        if limit is not None:
            most = (PERCENT * float(limit)) ** 2 * (1.0 - (_TIGHTER if self._reserve else 0.0))
            self._assembly.at_most(variance.terms, most - variance.constant)

    def _weigh_tax(self) -> None:
        """Tax in the objective, and tax and gains below their limits."""
        book, lots = self._book, self._lots
        if lots is None or not counts_gains(self._frame):
            return
        assert book.tax is not None
        self._limit_gains(lots)
        if not book.tax.weight and book.limits.max_tax is None and self._frame.scope.measure != "max_tax_amount":
            return
        short, long = (Affine(dict(part.terms), part.constant) for part in (lots.short, lots.long))
        short.constant += self._frame.units(book.tax.year_to_date.short_term)
        long.constant += self._frame.units(book.tax.year_to_date.long_term)
        tax = add_tax(self._assembly, short, long, book.tax.rules, self._unit)
        tax.constant -= self._frame.units(unrounded_tax(book.tax.year_to_date, book.tax.rules))
        self._measures["max_tax_amount"] = tax
        self._objective.add(tax.terms, float(book.tax.weight), float(book.tax.weight) * tax.constant)
        if book.limits.max_tax is not None:
            most = self._frame.units(book.limits.max_tax - self._bill_margin(lots))
            self._assembly.at_most(tax.terms, most - tax.constant)

    def _limit_gains(self, lots: LotTerms) -> None:
        gains = Affine(dict(lots.short.terms), lots.short.constant)
        gains.add(lots.long.terms, 1.0, lots.long.constant)
        self._measures["max_realized_gain_amount"] = gains
        self._measures["short_term_gains"] = lots.short_term
        if (limit := self._book.limits.max_realized_gain) is not None:
            self._assembly.at_most(gains.terms, self._frame.units(limit - self._bill_margin(lots)) - gains.constant)
        if (most := self._frame.scope.most_short_term) is not None:
            self._assembly.at_most(lots.short_term.terms, self._frame.units(most))

    def _bill_margin(self, lots: LotTerms) -> Decimal:
        """By how much limits on the bill are tightened, or loosened by what its cents may give."""
        if self._frame.reserve is not None:
            return self._frame.reserve
        return -CENT * sum(1 for lot in lots.sold if _is_rounded_lot(lot.lot))

    def _solve(self, objective: Affine, search: SearchSettings) -> SearchResult:
        cost = [objective.terms.get(column, 0.0) for column in range(len(self._assembly.cost))]
        answer = self._assembly.minimise(cost, objective.constant, search)
        if answer.x is None:
            quantities: tuple[Decimal, ...] | None = None
            lots: Mapping[str, LotParts] = {}
        else:
            quantities = self._quantities(answer.x)
            lots = self._lot_parts(answer.x, quantities)
        bound, relaxation = (self._money(bound) for bound in (answer.bound, answer.relaxation))
        return SearchResult(answer.end, quantities, bound, answer.nodes, lots, relaxation, answer.seconds)

    def _money(self, bound: float) -> Decimal:
        """A bound in money, lowered by what the solver's tolerances may be wrong by, or what is known without it."""
        known = least_objective(self._book)
        if not math.isfinite(bound):
            return known
        return max(known, Decimal(bound - self._preferred - _SAFE * max(1.0, abs(bound))) * self._unit)

    def _quantities(self, x: NDArray[np.float64]) -> tuple[Decimal, ...]:
        return tuple(
            _quantity(position, scale, columns, x)
            for position, scale, columns in zip(self._book.positions, self._scales, self._columns, strict=True)
        )

    def _lot_parts(self, x: NDArray[np.float64], quantities: Sequence[Decimal]) -> dict[str, LotParts]:
        """The lots of each sale where the search chose them."""
        if self._lots is None:
            return {}
        sold = {
            p.instrument_id: (-q, s) for p, q, s in zip(self._book.positions, quantities, self._scales, strict=True)
        }
        chosen: dict[str, LotParts] = {}
        for name, columns in self._lots.columns.items():
            total, scale = sold[name]
            if total > ZERO and self._book.lots[name].free:
                wanted = [(lot.lot, Decimal(max(0.0, float(x[lot.column]))) * scale.shares) for lot in columns]
                chosen[name] = rounded_parts(wanted, total)
        return chosen


def _sides(index: int, scale: Scale, columns: Columns, assembly: Assembly) -> list[Side]:
    sides: list[Side] = []
    if columns.buy is not None and columns.bought is not None:
        sides.append(Side(index, 1.0, {columns.buy: 1.0}, columns.bought, assembly.upper[columns.buy], scale))
    if columns.sell is not None and columns.sold is not None:
        most, quantity = assembly.upper[columns.sell], {columns.sell: 1.0}
        if columns.leave is not None and scale.remainder:
            most, quantity = scale.everything, {**quantity, columns.leave: scale.remainder}
        sides.append(Side(index, -1.0, quantity, columns.sold, most, scale))
    return sides


def _is_continuous(position: Position, total: Decimal) -> bool:
    """Whether increments are too fine to be counted."""
    step = position.price * position.increment
    return step < (_CONTINUOUS_BELOW if position.increment < 1 else _COUNTLESS_BELOW) * total


def _is_rounded_lot(lot: SaleLot) -> bool:
    """Whether gains of a lot sold in whole shares may not be whole cents."""
    return bool(lot.gain % CENT or lot.lot.unit_cost % CENT or lot.available % 1)


def _snapped(aim: float) -> float:
    """A target within rounding of a whole step is that step: chords between steps need a fraction worth the name."""
    nearest = round(aim)
    return float(nearest) if abs(aim - nearest) < _SAME_STEP else aim


def _quantity(position: Position, scale: Scale, columns: Columns, x: NDArray[np.float64]) -> Decimal:
    """Shares traded, read through the flags: without its flag a quantity is solver noise."""
    if _is_set(columns.leave, x):
        return -position.held
    for column, flag, sign in ((columns.buy, columns.bought, 1), (columns.sell, columns.sold, -1)):
        if column is not None and _is_set(flag, x):
            return sign * _shares(position, scale, x[column])
    return ZERO


def _shares(position: Position, scale: Scale, steps: float) -> Decimal:
    if scale.whole:
        return round(steps) * scale.shares
    return position.round_toward_zero(Decimal(steps) * scale.shares + SNAP * position.increment)


def _is_set(flag: int | None, x: NDArray[np.float64]) -> bool:
    return flag is not None and bool(x[flag] > 0.5)
