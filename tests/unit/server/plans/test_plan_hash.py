"""The hash of a plan's inputs: the same for the same inputs however written, another for every change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from server.plans.hash import PlanHash, plan_hash, position_parts
from storage.records import Holding, Portfolio, TaxLot

LOT = TaxLot(
    id="1", instrument_id="KO", quantity=Decimal(10), acquired_on=date(2021, 3, 1), cost_per_share=Decimal("55.5")
)
PORTFOLIO = Portfolio(
    id="one",
    name="One",
    cash=Decimal("100.00"),
    account={"do_not_buy": ["XOM"]},
    holdings=(Holding("KO", Decimal(10)), Holding("PEP", Decimal("2.5"))),
    lots=(LOT,),
)
INPUTS: dict[str, Any] = {
    "position": PORTFOLIO,
    "prices": {"KO": Decimal("63.5"), "PEP": Decimal(180)},
    "rules": {"tax_rules": "US/1989-01-01"},
    "request": {"target_type": "custom", "custom_target": {"KO": 0.5}},
    "pricing_pack_id": "pack",
}


def hashed(**changes: Any) -> PlanHash:
    return plan_hash(**{**INPUTS, **changes})


def changed(**changes: Any) -> Portfolio:
    return replace(PORTFOLIO, **changes)


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "quantity": ("holdings", {"position": changed(holdings=(Holding("KO", Decimal(11)), PORTFOLIO.holdings[1]))}),
    "instrument": ("holdings", {"position": changed(holdings=(Holding("K", Decimal(10)), PORTFOLIO.holdings[1]))}),
    "cash": ("cash", {"position": changed(cash=Decimal("100.01"))}),
    "lot cost": ("lots", {"position": changed(lots=(replace(LOT, cost_per_share=Decimal("55.51")),))}),
    "lot cost unknown": ("lots", {"position": changed(lots=(replace(LOT, cost_per_share=None),))}),
    "lot date": ("lots", {"position": changed(lots=(replace(LOT, acquired_on=date(2021, 3, 2)),))}),
    "lot term": ("lots", {"position": changed(lots=(replace(LOT, held_since=date(2021, 2, 1)),))}),
    "lot gone": ("lots", {"position": changed(lots=())}),
    "restriction": ("account", {"position": changed(account={"do_not_trade": ["XOM"]})}),
    "tax rate": ("account", {"position": changed(short_term_tax_rate=Decimal("0.4"))}),
    "lot method": ("account", {"position": changed(lot_method="hifo")}),
    "price": ("prices", {"prices": {"KO": Decimal("63.51"), "PEP": Decimal(180)}}),
    "pack": ("prices", {"pricing_pack_id": "other"}),
    "rules": ("rules", {"rules": {"tax_rules": "US/2027-01-01"}}),
    "request": ("request", {"request": {"target_type": "custom", "custom_target": {"KO": 0.6}}}),
    "replacement in the household": ("household", {"exposure": {"replacements": {"KO": {"ira": {"KO": "1"}}}}}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_makes_another_hash_and_names_its_part(name: str) -> None:
    part, change = CHANGES[name]
    before, after = hashed(), hashed(**change)
    assert before.value != after.value
    assert [key for key in before.parts if before.parts[key] != after.parts[key]] == [part]


def test_the_same_inputs_written_otherwise_have_the_same_hash() -> None:
    other = changed(
        name="Another name",
        cash=Decimal("1E+2"),
        preferences={"optimization": {"risk_aversion": 3.0}},
        updated_at=datetime(2000, 1, 1, tzinfo=UTC),
        holdings=(Holding("PEP", Decimal("2.500")), Holding("KO", Decimal("10.0")), Holding("XOM", Decimal(0))),
        lots=(replace(LOT, quantity=Decimal("10.000"), cost_per_share=Decimal("55.50")),),
    )
    prices = {"PEP": Decimal("180.00"), "KO": Decimal("63.50")}
    assert hashed(position=other, prices=prices) == hashed()


def test_the_value_can_be_computed_by_anybody_from_the_parts() -> None:
    found = hashed()
    text = json.dumps(dict(sorted(found.parts.items())), separators=(",", ":"))
    assert found.value == hashlib.sha256(text.encode()).hexdigest()
    assert found.parts["cash"] == hashlib.sha256(b'"100"').hexdigest()
    assert found.parts["holdings"] == hashlib.sha256(b'{"KO":"10","PEP":"2.5"}').hexdigest()
    assert position_parts(PORTFOLIO).items() <= found.parts.items()
