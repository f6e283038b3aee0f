"""Every limit of a plan: what was asked for, what the plan has, and how to say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.rebalancing.book import Book
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.quality import LimitReport, LimitSense
from kernel.rebalancing.request import TradeLimits, WeightLimit
from kernel.rebalancing.settle import Quantities, Settlement, weight_of

# Nothing is left of a limit whose slack is smaller.
_BINDING = Decimal("1e-8")
_FIELDS = {
    "max_turnover": ("max_turnover", "turnover"),
    "max_trades": ("max_trades", "positions"),
    "min_cash_amount": ("min_cash", "money"),
    "max_tracking_error": ("max_tracking_error", "volatility"),
    "max_tax_amount": ("max_tax", "money"),
    "max_realized_gain_amount": ("max_realized_gain", "money"),
    "min_trade_size": ("min_trade_value", "money"),
}
_LISTS = ("do_not_buy", "do_not_sell")
_LEFT_OUT: dict[str, Callable[[TradeLimits], TradeLimits]] = {
    "max_turnover": lambda limits: replace(limits, max_turnover=None),
    "max_trades": lambda limits: replace(limits, max_trades=None),
    "min_cash_amount": lambda limits: replace(limits, min_cash=min(limits.min_cash, ZERO)),
    "max_tracking_error": lambda limits: replace(limits, max_tracking_error=None),
    "max_tax_amount": lambda limits: replace(limits, max_tax=None),
    "max_realized_gain_amount": lambda limits: replace(limits, max_realized_gain=None),
    "min_trade_size": lambda limits: replace(limits, min_trade_value=ZERO),
    "do_not_buy": lambda limits: replace(limits, do_not_buy=frozenset()),
    "do_not_sell": lambda limits: replace(limits, do_not_sell=frozenset()),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit by its name.

    Attributes:
        name: In the caller's words.
        unit: Of its value.
        value: What was asked for; the number of instruments for a list.
        weight: The limit on weights that it is, else None.
    """

    name: str
    unit: str
    value: Decimal
    weight: WeightLimit | None = None

    def __str__(self) -> str:
        if self.name in _LISTS:
            return self.name
        return f"{self.name} ({in_words(self.value, self.unit)})"

    def left_out_of(self, limits: TradeLimits) -> TradeLimits:
        """The other limits."""
        if self.weight is not None:
            return replace(limits, weights=tuple(limit for limit in limits.weights if limit != self.weight))
        return _LEFT_OUT[self.name](limits)


def in_words(value: Decimal, unit: str) -> str:
    """A value as people say it: money to the cent, counts whole, fractions in percent."""
    if unit == "money":
        return f"{to_cents(value)}"
    if unit == "positions":
        return f"{value:.0f}"
    percent = (100 * value).quantize(Decimal("0.01"))
    return f"{percent.normalize():f}%"


def limits_of(book: Book) -> tuple[Limit, ...]:
    """The limits that a request sets, cash among them always.

    Args:
        book: The problem.

    Returns:
        The limits, those on weights last.
    """
    named = [
        Limit(name, unit, Decimal(value))
        for name, (field, unit) in _FIELDS.items()
        if (value := getattr(book.limits, field)) is not None and (name != "min_trade_size" or value)
    ]
    held = {position.instrument_id for position in book.positions}
    named += [
        Limit(name, "positions", Decimal(len(listed)))
        for name in _LISTS
        if (listed := getattr(book.limits, name) & held)
    ]
    weights = [
        Limit(limit.name, limit.unit, bound, limit)
        for limit in book.limits.weights
        if (bound := limit.maximum if limit.maximum is not None else limit.minimum) is not None
    ]
    return (*named, *weights)


def report_limits(book: Book, quantities: Quantities, outcome: Settlement) -> tuple[LimitReport, ...]:
    """Every limit with a number at a set of trades.

    Args:
        book: The problem.
        quantities: Shares per position, positive bought and negative sold.
        outcome: What the trades lead to.

    Returns:
        The reports; a limit with two sides gives two.
    """
    reports: list[LimitReport] = []
    for limit in limits_of(book):
        if limit.name in _LISTS or limit.name == "min_trade_size":
            continue
        value = measured(limit, book, quantities, outcome)
        if limit.weight is None:
            sense = LimitSense.AT_LEAST if limit.name == "min_cash_amount" else LimitSense.AT_MOST
            reports.append(_report(limit, sense, limit.value, value))
            continue
        if limit.weight.minimum is not None:
            reports.append(_report(limit, LimitSense.AT_LEAST, limit.weight.minimum, value))
        if limit.weight.maximum is not None:
            reports.append(_report(limit, LimitSense.AT_MOST, limit.weight.maximum, value))
    return tuple(reports)


def measured(limit: Limit, book: Book, quantities: Quantities, outcome: Settlement) -> Decimal:
    """The left-hand side of a limit.

    Args:
        limit: One with a number.
        book: The problem.
        quantities: Shares per position, positive bought and negative sold.
        outcome: What the trades lead to.

    Returns:
        The value in the limit's unit.
    """
    if limit.weight is not None:
        return weight_of(limit.weight, book, quantities)
    return _MEASURES[limit.name](book, quantities, outcome)


_MEASURES: dict[str, Callable[[Book, Quantities, Settlement], Decimal]] = {
    "max_turnover": lambda book, _, outcome: outcome.turnover_value / book.total_value if book.total_value else ZERO,
    "max_trades": lambda _, quantities, __: Decimal(sum(1 for quantity in quantities if quantity)),
    "min_cash_amount": lambda _, __, outcome: outcome.cash,
    "max_tracking_error": lambda _, __, outcome: Decimal(outcome.tracking_error or 0.0),
    "max_tax_amount": lambda _, __, outcome: (
        to_cents(outcome.tax) if outcome.bill is None else outcome.bill.additional_tax
    ),
    "max_realized_gain_amount": lambda _, __, outcome: (
        to_cents(outcome.gains.recognised.total) if outcome.bill is None else outcome.bill.gains.total
    ),
}


def _report(limit: Limit, sense: LimitSense, bound: Decimal, value: Decimal) -> LimitReport:
    slack = bound - value if sense is LimitSense.AT_MOST else value - bound
    return LimitReport(limit.name, limit.unit, sense, bound, value, slack, slack <= _BINDING)
