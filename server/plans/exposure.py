"""What the trades of a plan meet in the wash-sale window of its household, and whether more has come since."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.household import Household, HouseholdLot, RealizedLoss
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax_rules import TaxRuleSet
from storage.records import Json

_DAY = "day"
_REPLACEMENTS, _LOST, _LOSSES = "replacements", "lost", "losses"
# What more shares of each kind mean; filled in with account, instrument and shares.
_WHY = {
    _REPLACEMENTS: "the plan sells {name} at a loss, and account {account} holds {now} of {other} bought within the "
    "window of the wash sale, {before} when the plan was made",
    _LOST: "the plan sells {name} at a loss, and the retirement account {account} holds {now} of {other} bought within "
    "the window of the wash sale, {before} when the plan was made",
    _LOSSES: "the plan buys {name}, and account {account} has sold {now} of {other} at a loss that a purchase "
    "disallows, {before} when the plan was made",
}


@dataclass(frozen=True, slots=True)
class Exposed:
    """The trades of a plan that the wash-sale rule can touch.

    Attributes:
        account_id: The portfolio.
        day: Day of the trades.
        losses: What is sold at a loss.
        bought: What is bought.
    """

    account_id: str
    day: date
    losses: frozenset[str]
    bought: frozenset[str]


def exposed_trades(plan: pb.RebalancePlanResponse, account_id: str, day: date) -> Exposed:
    """The trades of a plan that the wash-sale rule can touch.

    Args:
        plan: The plan with its trades and the gains of its sales.
        account_id: The portfolio.
        day: Day of the trades.
    """
    return Exposed(
        account_id,
        day,
        losses=frozenset(sale.instrument_id for sale in plan.tax.sales if Decimal(sale.gain_amount or "0") < 0),
        bought=frozenset(trade.instrument_id for trade in plan.trades if trade.action == "buy"),
    )


def exposure_of(household: Household, trades: Exposed, rules: TaxRuleSet) -> Json:
    """What trades meet in the window around their day: shares by kind, traded instrument, account and instrument.

    Kinds are `replacements` of what is sold at a loss, `lost`, those of them in retirement accounts, and `losses` that
    purchases replace. Sales of a retirement account meet nothing.

    Args:
        household: All accounts that count together, with what is identical.
        trades: The trades.
        rules: Rules that hold on the day.
    """
    lots = [
        held
        for held in household.lots
        if held.lot.dated and not held.lot.replaced_loss and _near(held.acquired_on, trades, rules)
    ]
    retired = {account.account_id for account in household.accounts if account.retirement}
    losses = [loss for loss in household.losses if _near(loss.sold_on, trades, rules)]
    sold = frozenset[str]() if trades.account_id in retired else trades.losses
    return {
        _DAY: trades.day.isoformat(),
        _REPLACEMENTS: _met(household, sold, lots),
        _LOST: _met(household, sold, [held for held in lots if held.account_id in retired]),
        _LOSSES: _met(household, trades.bought, losses),
    }


def day_of(exposure: Json) -> date:
    """The day for which an exposure was found."""
    return date.fromisoformat(exposure[_DAY])


def growth(before: Json, now: Json) -> str:
    """Why an exposure is worse than another, in one sentence that names instrument and account; empty if it is not.

    Args:
        before: When the plan was made.
        now: At present.
    """
    return next(_grown(before, now), "")


def _grown(before: Json, now: Json) -> Iterator[str]:
    for kind, why in _WHY.items():
        for name, accounts in now[kind].items():
            for account, held in accounts.items():
                old = before[kind].get(name, {}).get(account, {})
                for other, shares in held.items():
                    if Decimal(shares) > Decimal(old.get(other, "0")):
                        yield why.format(
                            name=name, account=account, other=other, now=shares, before=old.get(other, "none")
                        )


def _near(day: date, trades: Exposed, rules: TaxRuleSet) -> bool:
    return abs((day - trades.day).days) <= rules.wash_sale_days


def _met(household: Household, names: Collection[str], parts: Iterable[HouseholdLot | RealizedLoss]) -> Json:
    """Shares by traded instrument, account and instrument."""
    kept = list(parts)
    found: Json = {}
    for name in sorted(names):
        sums: dict[str, dict[str, Decimal]] = {}
        for part in kept:
            if household.identical.are_identical(name, part.instrument_id):
                of_account = sums.setdefault(part.account_id, {})
                of_account[part.instrument_id] = of_account.get(part.instrument_id, ZERO) + part.quantity
        if sums:
            found[name] = {
                account: {other: f"{shares.normalize():f}" for other, shares in sorted(held.items())}
                for account, held in sorted(sums.items())
            }
    return found
