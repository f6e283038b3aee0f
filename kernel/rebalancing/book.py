"""The trading problem in exact numbers: what is held, wanted and allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from kernel.errors import ProblemError
from kernel.rebalancing.costs import CostModel, PowerImpact
from kernel.rebalancing.lot_book import LotBook, open_lots
from kernel.rebalancing.money import ZERO, require_amount
from kernel.rebalancing.request import CASH, TrackingRisk, TradeDistance, TradeLimits, TradeRequest, TradeTax

_ONE = Decimal(1)
# Target weights come from an optimiser that meets its budget to about this.
_BUDGET_TOLERANCE = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Position:
    """One instrument of the problem.

    Attributes:
        instrument_id: The instrument.
        held: Shares now; negative for a short position.
        price: Money per share.
        increment: Smallest tradable number of shares.
        target_value: Money wanted in it.
        can_buy: Whether it may be bought.
        can_sell: Whether it may be sold; a short position may not.
        power: What the 3/2-power law knows of it, None where it does not apply.
    """

    instrument_id: str
    held: Decimal
    price: Decimal
    increment: Decimal
    target_value: Decimal
    can_buy: bool
    can_sell: bool
    power: PowerImpact | None = None

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
        distance: What is minimised beside cost and tax.
        risk: Of TRACKING_RISK and of max_tracking_error.
        tax: None = sales are not taxed.
        lots: By instrument, where it has lots or a wash-sale exposure.
    """

    positions: tuple[Position, ...]
    cash: Decimal
    limits: TradeLimits
    costs: CostModel
    distance: TradeDistance = TradeDistance.TARGET_VALUE
    risk: TrackingRisk | None = None
    tax: TradeTax | None = None
    lots: Mapping[str, LotBook] = field(default_factory=dict)

    @property
    def total_value(self) -> Decimal:
        """Money in all positions and cash before trading."""
        return sum((position.value for position in self.positions), self.cash)

    def within(self, limits: TradeLimits) -> Book:
        """The same problem within other limits."""
        positions = tuple(
            replace(
                position,
                can_buy=position.instrument_id not in limits.do_not_buy,
                can_sell=position.held >= ZERO and position.instrument_id not in limits.do_not_sell,
            )
            for position in self.positions
        )
        return replace(self, limits=limits, positions=positions)

    def bars_purchase(self, position: Position) -> bool:
        """Whether a purchase would disallow a loss of an earlier sale, where wash sales are avoided."""
        lots = self.lots.get(position.instrument_id)
        return self.tax is not None and not self.tax.price_wash_sales and lots is not None and bool(lots.open_losses)

    @property
    def tax_weight(self) -> Decimal:
        """Objective per unit of tax."""
        return ZERO if self.tax is None else self.tax.weight

    @property
    def is_short_of_cash(self) -> bool:
        """Whether something has to be sold to reach the minimum cash."""
        return self.cash < self.limits.min_cash


def open_book(request: TradeRequest) -> Book:
    """Checks a request and turns it into positions with target values.

    Args:
        request: The request.

    Returns:
        The book; instruments neither held nor wanted are left out.

    Raises:
        ProblemError: A number is out of range, an instrument held or wanted has no price, target weights exceed the
            whole, an overdraft eats up the portfolio, a limit lacks what it is measured by, or lots do not cover what
            is held.
    """
    if not request.cash.is_finite():
        raise ProblemError("cash", f"must be finite, got {request.cash}")
    for name, shares in request.holdings.items():
        if not shares.is_finite():
            raise ProblemError(f"holdings[{name}]", f"must be finite, got {shares}")
    names = sorted(_nonzero(request.holdings) | (_nonzero(request.target_weights) - {CASH}))
    for name in names:
        _check_instrument(request, name)
    total = sum((shares * request.prices[name] for name, shares in request.holdings.items() if shares), request.cash)
    if total < ZERO or (not total and request.cash):
        what = "what is short" if request.cash > ZERO else f"an overdraft of {-request.cash}"
        raise ProblemError("cash", f"{what} leaves no value to rebalance: {total} in total")
    _check_targets(request, total)
    _check_limits(request)
    positions = tuple(_position(request, name, total) for name in names)
    _check_risk(request, names)
    held = {position.instrument_id: position.held for position in positions}
    lots = {} if request.tax is None else open_lots(request.tax, held, request.prices)
    return Book(
        positions,
        request.cash,
        request.limits,
        request.costs,
        request.distance,
        request.risk,
        request.tax,
        lots,
    )


def _nonzero(numbers: Mapping[str, Decimal]) -> set[str]:
    return {name for name, number in numbers.items() if number}


def _check_targets(request: TradeRequest, value: Decimal) -> None:
    targets = request.target_weights
    for name, weight in targets.items():
        if not weight.is_finite():
            raise ProblemError(f"target_weights[{name}]", f"must be finite, got {weight}")
        now = request.holdings.get(name, ZERO) * request.prices.get(name, ZERO)
        if weight < ZERO and weight * value < min(now, ZERO) - _BUDGET_TOLERANCE * value:
            raise ProblemError(f"target_weights[{name}]", f"is {weight}, and a plan opens no short position")
    total, owed = sum(targets.values(), ZERO), max(-request.cash, ZERO) / value if value else ZERO
    if total > _ONE + owed + _BUDGET_TOLERANCE or (CASH in targets and total < _ONE - _BUDGET_TOLERANCE):
        most = "1" if CASH in targets else f"at most {_ONE + owed}"
        raise ProblemError("target_weights", f"add up to {total}, expected {most}")


def _check_instrument(request: TradeRequest, name: str) -> None:
    if name == CASH:
        raise ProblemError("holdings[CASH]", "cash is given as an amount of money, not as a holding")
    if name not in request.prices:
        raise ProblemError(f"prices[{name}]", "has no price, but is held or wanted")
    require_amount(f"prices[{name}]", request.prices[name], positive=True)
    require_amount(f"increments[{name}]", request.increments.get(name, _ONE), positive=True)


def _check_limits(request: TradeRequest) -> None:
    limits = request.limits
    for name in ("max_tax", "max_realized_gain"):
        if getattr(limits, name) is not None and request.tax is None:
            raise ProblemError(f"limits.{name}", "needs the lots and tax rules of the sales")
    names = [limit.name for limit in limits.weights]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ProblemError(f"limits.weights[{doubled[0]}]", "is given twice")


def _check_risk(request: TradeRequest, names: Sequence[str]) -> None:
    risk = request.risk
    if risk is None:
        if request.limits.max_tracking_error is not None:
            raise ProblemError("limits.max_tracking_error", "needs a risk model")
        if request.distance is TradeDistance.TRACKING_RISK:
            raise ProblemError("risk", "is needed to measure the distance by tracking risk")
        return
    n = len(risk.names)
    if risk.factors.ndim != 2 or {len(risk.factors), len(risk.specific), len(risk.reference)} != {n}:
        raise ProblemError("risk", f"must have one row per name, {n}")
    if not all(np.isfinite(part).all() for part in (risk.factors, risk.specific, risk.reference)):
        raise ProblemError("risk", "must be finite")
    if (risk.specific < 0.0).any():
        raise ProblemError("risk.specific", "must not be negative")
    if not (math.isfinite(risk.aversion) and risk.aversion > 0.0):
        raise ProblemError("risk.aversion", f"must be positive and finite, got {risk.aversion}")
    if missing := sorted(set(names) - set(risk.names)):
        raise ProblemError("risk.names", f"lack {missing[0]}, which is held or wanted")


def _position(request: TradeRequest, name: str, total: Decimal) -> Position:
    held = request.holdings.get(name, ZERO)
    return Position(
        instrument_id=name,
        held=held,
        price=request.prices[name],
        increment=request.increments.get(name, _ONE),
        target_value=request.target_weights.get(name, ZERO) * total,
        can_buy=name not in request.limits.do_not_buy,
        can_sell=held >= ZERO and name not in request.limits.do_not_sell,
        power=request.costs.power.get(name),
    )
