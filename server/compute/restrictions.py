"""What the account, the market and the data forbid a plan to do, and what a reader of the plan should know of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import ROUND_CEILING, Decimal

import numpy as np

from kernel.rebalancing.money import CENT, to_cents
from kernel.rebalancing.remarks import Remark
from kernel.rebalancing.request import TradeLimits, TradeRequest
from storage.records import PriceTable, TaxLot

_ACTIVE = "active"
_ZERO, _ONE = Decimal(0), Decimal(1)
# A margin call is met with this share of the equity to spare, for market impact that grows with the trade.
_MARGIN_SPARE = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class InstrumentState:
    """What restricts an instrument. `option_level` is what an account needs to buy it."""

    status: str
    increment: Decimal
    option_level: int = 0


@dataclass(frozen=True, slots=True)
class PriceAge:
    """The day of the last price of an instrument, and the trading days since."""

    last: date
    days: int


@dataclass(frozen=True, slots=True)
class AccountState:
    """What restricts an account.

    Attributes:
        maintenance_margin: Equity below which a margin call comes, as a fraction of the value of holdings, long and
            short.
    """

    margin_enabled: bool = False
    shorting_enabled: bool = False
    option_level: int = 0
    maintenance_margin: Decimal = Decimal("0.25")
    do_not_buy: frozenset[str] = frozenset()
    do_not_sell: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Restricted:
    """The trading problem within what is allowed.

    Attributes:
        trading: With the limits of account, market and data.
        remarks: What is restricted and concerns what is held or wanted.
        frozen: Why an instrument is not traded, by instrument: a code and a phrase.
    """

    trading: TradeRequest
    remarks: tuple[Remark, ...]
    frozen: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def restrict(
    trading: TradeRequest,
    account: AccountState,
    states: Mapping[str, InstrumentState],
    ages: Mapping[str, PriceAge],
    max_age: int,
) -> Restricted:
    """Put the restrictions of the account, the market and the data upon a trading problem.

    Args:
        trading: Holdings, cash, prices, target (empty where it is found later) and the limits of the request.
        account: Flags and lists.
        states: By instrument of the universe.
        ages: Of the last prices of the universe.
        max_age: Trading days after which a price is stale.
    """
    frozen = _frozen(states, ages, max_age)
    levels = {
        name: ("option_level", f"needs option level {state.option_level}, the account has {account.option_level}")
        for name, state in states.items()
        if state.option_level > account.option_level
    }
    limits, remarks = _cash_floor(trading, account)
    limits = replace(
        limits,
        do_not_buy=limits.do_not_buy | account.do_not_buy | frozen.keys() | levels.keys(),
        do_not_sell=limits.do_not_sell | account.do_not_sell | frozen.keys(),
    )
    concerned = trading.holdings.keys() | trading.target_weights.keys()
    found = [
        Remark(code, name, f"{name} {phrase}")
        for name, (code, phrase) in sorted((levels | frozen).items())
        if name in concerned
    ]
    found += _short_positions(trading, account)
    return Restricted(replace(trading, limits=limits), (*remarks, *found), levels | frozen)


def held_remarks(planned: Mapping[str, Decimal], states: Mapping[str, InstrumentState]) -> tuple[Remark, ...]:
    """Parts of shares that stay because only whole increments trade.

    Args:
        planned: Shares after the plan.
        states: By instrument.
    """
    found = []
    for name, quantity in sorted(planned.items()):
        remainder = quantity % states[name].increment if name in states else _ZERO
        if remainder:
            text = f"{abs(remainder)} of a share{' short' if remainder < _ZERO else ''} beyond whole steps"
            ways = "" if remainder < _ZERO else "; only selling all of it would sell them"
            found.append(Remark("fractional_remainder", name, f"{name} keeps {text} of {states[name].increment}{ways}"))
    return tuple(found)


def lot_remarks(lots: Iterable[TaxLot], sold: Collection[str]) -> tuple[Remark, ...]:
    """Lots of what is sold whose cost or date nobody knows: the tax is then never understated.

    Args:
        lots: Of the portfolio.
        sold: Instruments that the plan sells.
    """
    found = []
    for lot in lots:
        if lot.instrument_id in sold and lot.cost_per_share is None:
            text = f"the cost of lot {lot.id} is not known; its sale is taxed as if it were 0"
            found.append(Remark("unknown_cost", lot.instrument_id, text))
        if lot.instrument_id in sold and lot.acquired_on is None:
            text = f"the date of lot {lot.id} is not known; a gain is taxed as short-term, a loss counts as long-term"
            found.append(Remark("unknown_acquisition_date", lot.instrument_id, text))
    return tuple(found)


def price_ages(table: PriceTable, names: Sequence[str]) -> dict[str, PriceAge]:
    """How old the last price of each instrument is, in days on which anything of the pack has a price.

    Args:
        table: All prices of the pack.
        names: Instruments, each with a price.
    """
    place = {name: k for k, name in enumerate(table.instrument_ids)}
    known = np.isfinite(table.closes[:, [place[name] for name in names]])
    ages = np.argmax(known[::-1], axis=0)
    days = table.dates[len(table.dates) - 1 - ages].astype("datetime64[D]").tolist()
    return {name: PriceAge(day, int(age)) for name, day, age in zip(names, days, ages, strict=True)}


def _frozen(
    states: Mapping[str, InstrumentState], ages: Mapping[str, PriceAge], max_age: int
) -> dict[str, tuple[str, str]]:
    """Instruments that cannot be traded at all."""
    found: dict[str, tuple[str, str]] = {}
    for name, age in ages.items():
        if age.days > max_age:
            text = (
                f"has no price since {age.last.isoformat()}, {age.days} trading days ago (limit {max_age}): not traded"
            )
            found[name] = ("stale_price", text)
    for name, state in states.items():
        if state.status != _ACTIVE:
            found[name] = (state.status, f"is {state.status}: not traded, and valued at its last price")
    return found


def _cash_floor(trading: TradeRequest, account: AccountState) -> tuple[TradeLimits, tuple[Remark, ...]]:
    """The least cash after the trades: what is asked for, or the loan that a margin account may keep."""
    limits, cash = trading.limits, trading.cash
    if not account.margin_enabled:
        if cash >= _ZERO:
            return limits, ()
        text = f"cash is {to_cents(cash)}; the account may not borrow, so it must come to {limits.min_cash} or more"
        return limits, (Remark("negative_cash", "", text),)
    floor = limits.min_cash if limits.min_cash > _ZERO else min(cash, _ZERO)
    called = _margin_call(trading, account.maintenance_margin)
    if called is not None:
        floor = max(floor, called[0])
        return replace(limits, min_cash=floor), (called[1],)
    if cash >= _ZERO:
        return limits, ()
    text = f"the account owes {to_cents(-cash)} on margin; "
    text += "the plan does not let the loan grow" if floor <= cash else f"cash must come to {floor} or more"
    return replace(limits, min_cash=floor), (Remark("negative_cash", "", text),)


def _margin_call(trading: TradeRequest, margin: Decimal) -> tuple[Decimal, Remark] | None:
    """The least cash at which equity V is a fraction m of the holdings H again, where it is not now.

    V >= m H and V = H + cash, so cash >= -V (1 - m) / m; what trading costs is taken from V before.
    """
    values = [quantity * trading.prices[name] for name, quantity in trading.holdings.items() if quantity]
    equity, holdings = trading.cash + sum(values, _ZERO), sum(map(abs, values), _ZERO)
    if equity >= margin * holdings:
        return None
    # No plan trades more than everything out and in again.
    costs = 2 * (trading.costs.impact_rate * holdings + trading.costs.commission * len(values))
    left = max(equity * (_ONE - _MARGIN_SPARE) - costs, _ZERO)
    floor = (-left * (_ONE - margin) / margin).quantize(CENT, rounding=ROUND_CEILING)
    text = (
        f"equity of {to_cents(equity)} is {equity / holdings:.2%} of the holdings, below the maintenance margin of "
        f"{margin:.2%}: "
    )
    # Without short positions a call means more of a loan than the floor allows.
    text += f"cash must come to {floor} or more" if floor > trading.cash else "what is short must be bought back"
    return floor, Remark("margin_call", "", text)


def _short_positions(trading: TradeRequest, account: AccountState) -> Iterable[Remark]:
    for name, quantity in sorted(trading.holdings.items()):
        if quantity < _ZERO:
            allowed = "" if account.shorting_enabled else ", which the account may not be"
            yield Remark(
                "short_position", name, f"{name} is short {-quantity} shares{allowed}; they can only be bought back"
            )
