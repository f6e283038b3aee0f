"""What the trades of a plan meet in the wash-sale window of the household, and what makes it worse."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.household import Account, Household, HouseholdLot, IdenticalInstruments, RealizedLoss
from kernel.rebalancing.lots import TaxLot
from kernel.rebalancing.tax_rules import TaxRuleSet
from server.plans.exposure import day_of, exposed_trades, exposure_of, growth
from storage.records import Json

DAY = date(2026, 11, 20)
RULES = TaxRuleSet("US", date(1989, 1, 1), 12, 30, Decimal(3000), Decimal(1500))


def plan(**gains: str) -> pb.RebalancePlanResponse:
    """A plan that sells with these gains and buys PEP."""
    made = pb.RebalancePlanResponse()
    made.trades.add(instrument_id="PEP", action="buy")
    for name, gain in gains.items():
        made.trades.add(instrument_id=name, action="sell")
        made.tax.sales.add(instrument_id=name, gain_amount=gain)
    return made


def lot(account: str, what: str, quantity: str, days: int = 5, **changes: Any) -> HouseholdLot:
    name = f"{account}-{what}-{days}"
    return HouseholdLot(
        account, what, TaxLot(name, Decimal(quantity), Decimal(1), DAY - timedelta(days=days), **changes)
    )


def loss(account: str, what: str, quantity: str, days: int = 5) -> RealizedLoss:
    day = DAY - timedelta(days=days)
    return RealizedLoss(account, "s", what, "l", Decimal(quantity), Decimal(9), day, date(2020, 1, 2))


def found(
    *lots: HouseholdLot,
    losses: tuple[RealizedLoss, ...] = (),
    pairs: tuple[tuple[str, str], ...] = (),
    retired: tuple[str, ...] = ("ira",),
    made: pb.RebalancePlanResponse | None = None,
) -> Json:
    accounts = tuple(Account(name, retirement=name in retired) for name in ("one", "two", "ira"))
    household = Household(accounts, lots, losses, identical=IdenticalInstruments.of_pairs(pairs))
    return exposure_of(household, exposed_trades(made or plan(KO="-5", XOM="5"), "one", DAY), RULES)


def test_exposure_by_hand() -> None:
    exposure = found(
        *(lot("two", "KO", "3"), lot("two", "KO", "4.50", 30), lot("ira", "KO", "2"), lot("two", "XOM", "9")),
        *(lot("ira", "KO", "7", 31), lot("one", "KO", "1", replaced_loss=True), lot("one", "KO", "6", 1, dated=False)),
        *(lot("one", "DOW", "8"), lot("ira", "DOW", "5")),
        losses=(loss("two", "PEP", "6"), loss("two", "PEP", "6", 31), loss("one", "KO", "4")),
        pairs=(("KO", "DOW"),),
    )
    assert exposure == {
        "day": "2026-11-20",
        "replacements": {"KO": {"ira": {"DOW": "5", "KO": "2"}, "one": {"DOW": "8"}, "two": {"KO": "7.5"}}},
        "lost": {"KO": {"ira": {"DOW": "5", "KO": "2"}}},
        "losses": {"PEP": {"two": {"PEP": "6"}}},
    }
    assert day_of(exposure) == DAY


def test_sales_of_a_retirement_account_meet_nothing() -> None:
    exposure = found(lot("two", "KO", "3"), losses=(loss("two", "PEP", "6"),), retired=("one",))
    assert (exposure["replacements"], exposure["losses"]) == ({}, {"PEP": {"two": {"PEP": "6"}}})


KNOWN = (lot("two", "KO", "3"),)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (found(*KNOWN), ""),
        (found(), ""),
        (found(lot("two", "KO", "2.999")), ""),
        (found(*KNOWN, lot("two", "XOM", "99")), ""),
        (found(lot("two", "KO", "3.001")), "sells KO at a loss, and account two holds 3.001 of KO bought"),
        (found(*KNOWN, lot("one", "DOW", "1"), pairs=(("KO", "DOW"),)), "account one holds 1 of DOW bought"),
        (found(*KNOWN, retired=("two",)), "the retirement account two holds 3 of KO bought"),
        (found(*KNOWN, losses=(loss("ira", "PEP", "1"),)), "buys PEP, and account ira has sold 1 of PEP at a loss"),
    ],
)
def test_only_more_is_worse(now: Json, reason: str) -> None:
    sentence = growth(found(*KNOWN), now)
    assert reason in sentence
    assert bool(reason) == bool(sentence)
