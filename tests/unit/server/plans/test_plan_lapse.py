"""When a plan holds no more: exactly beyond its limits, never at them, and with a reason that names the numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from server.plans.hash import position_parts
from server.plans.lapse import Present, reason_to_lapse
from server.plans.positions import position_of, to_stored
from storage.plan_records import PlanState
from storage.records import Holding, Portfolio

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
PORTFOLIO = Portfolio(
    id="one", name="One", cash=Decimal(1000), holdings=(Holding("KO", Decimal(10)), Holding("PEP", Decimal(10)))
)
PRICES = {"KO": Decimal("30.00"), "PEP": Decimal("70.00"), "XOM": Decimal("100.00")}
STATE = PlanState(
    rebalance_id="p",
    portfolio_id="one",
    status="approved",
    gross_amount=Decimal(1),
    approval_limit=Decimal(1),
    validity_hours=24.0,
    expires_at=NOW + timedelta(hours=24),
    max_price_move=Decimal("0.02"),
    max_weight_move=Decimal("0.5"),
    input_hash="",
    input_parts=position_parts(PORTFOLIO),
    prices={name: str(price) for name, price in PRICES.items()},
    position_before=to_stored(position_of(PORTFOLIO)),
    created_at=NOW,
)


def reason(state: PlanState = STATE, **changes: Any) -> str:
    plain = {"now": NOW, "portfolio": PORTFOLIO, "pack_id": "pack", "prices": PRICES}
    return reason_to_lapse(state, Present(**{**plain, **changes}))


def test_a_plan_holds_while_nothing_has_changed() -> None:
    assert reason() == ""
    assert reason(prices={}, pack_id="") == ""


def test_it_lapses_at_its_time_and_not_before() -> None:
    end = NOW + timedelta(hours=24)
    assert reason(now=end - timedelta(microseconds=1)) == ""
    assert "24 hours were over on 2026-11-21T15:00:00+00:00" in reason(now=end)
    assert reason(replace(STATE, expires_at=None), now=NOW + timedelta(days=10_000)) == ""


@pytest.mark.parametrize(
    ("price", "lapses"), [("30.60", False), ("29.40", False), ("30.61", True), ("29.39", True), ("30.6000000001", True)]
)
def test_a_price_may_move_up_to_the_limit_and_no_further(price: str, *, lapses: bool) -> None:
    text = reason(prices={**PRICES, "KO": Decimal(price)})
    assert bool(text) == lapses
    if lapses:
        assert "price of KO moved from 30.00" in text
        assert "max_price_move of 2%" in text


def test_the_largest_move_is_named_also_of_what_is_only_bought() -> None:
    text = reason(prices={"KO": Decimal(31), "PEP": Decimal(70), "XOM": Decimal(110)})
    assert "price of XOM moved from 100.00 to 110" in text
    assert "by 10%" in text


def test_a_weight_may_move_up_to_the_limit_and_no_further() -> None:
    # Of 300 + 700 + 1000 = 2000, PEP at 70 is 35%. At 70 + x it is (700 + 10 x) / (2000 + 10 x): with x = 0.9, 709 of
    # 2009, a move of 0.2912...%.
    move = Decimal(709) / 2009 - Decimal(700) / 2000
    prices = {**PRICES, "PEP": Decimal("70.9")}
    wide = replace(STATE, max_weight_move=move.quantize(Decimal("1e-20")) + Decimal("1e-20"))
    narrow = replace(STATE, max_weight_move=move.quantize(Decimal("1e-20")) - Decimal("1e-20"))
    assert reason(wide, prices=prices) == ""
    text = reason(narrow, prices=prices)
    assert "weight of PEP moved from 35%" in text
    assert "max_weight_move" in text


def test_an_exact_tie_of_weights_holds() -> None:
    portfolio = replace(PORTFOLIO, cash=Decimal(700), holdings=(Holding("KO", Decimal(10)),))
    state = replace(
        STATE,
        max_price_move=Decimal(10),
        max_weight_move=Decimal("0.2"),
        input_parts=position_parts(portfolio),
        position_before=to_stored(position_of(portfolio)),
    )
    # 300 of 1000 in KO, then 700 of 1400: from 30% to 50%, and cash from 70% to 50%.
    assert reason(state, portfolio=portfolio, prices={"KO": Decimal(70)}) == ""
    assert "CASH moved from 70% to 49.9996%" in reason(state, portfolio=portfolio, prices={"KO": Decimal("70.001")})


def test_every_change_of_what_is_held_is_named() -> None:
    sold = replace(PORTFOLIO, cash=Decimal(1300), holdings=(Holding("PEP", Decimal(10)),))
    text = reason(portfolio=sold)
    assert "KO from 10 to 0" in text
    assert "cash from 1000 to 1300" in text
    assert "settings of the account" in reason(portfolio=replace(PORTFOLIO, account={"do_not_trade": ["KO"]}))
    assert reason(portfolio=replace(PORTFOLIO, name="New name", updated_at=NOW)) == ""


def test_a_deposit_that_the_plan_counts_may_come() -> None:
    before = to_stored(position_of(PORTFOLIO), Decimal("500.00"))
    state = replace(STATE, position_before=before)
    assert reason(state) == ""
    assert reason(state, portfolio=replace(PORTFOLIO, cash=Decimal(1500))) == ""
    assert "cash from 1000 to 1499.99" in reason(state, portfolio=replace(PORTFOLIO, cash=Decimal("1499.99")))
    assert "cash from 1000 to 1500" in reason(portfolio=replace(PORTFOLIO, cash=Decimal(1500)))
    sold = replace(PORTFOLIO, cash=Decimal(1500), holdings=PORTFOLIO.holdings[:1])
    text = reason(state, portfolio=sold)
    assert "PEP from 10 to 0" in text
    assert "cash" not in text


def test_a_portfolio_that_is_worth_nothing_lapses() -> None:
    portfolio = replace(PORTFOLIO, cash=Decimal(-900))
    state = replace(
        STATE,
        max_price_move=Decimal(10),
        input_parts=position_parts(portfolio),
        position_before=to_stored(position_of(portfolio)),
    )
    assert "worth nothing" in reason(state, portfolio=portfolio, prices={"KO": Decimal(10), "PEP": Decimal(10)})


@pytest.mark.parametrize("status", ["rejected", "expired", "executed", "cancelled"])
def test_a_plan_at_the_end_of_its_way_does_not_lapse(status: str) -> None:
    assert reason(replace(STATE, status=status), now=NOW + timedelta(days=99)) == ""


def test_a_plan_whose_orders_are_at_the_market_does_not_lapse() -> None:
    executing = replace(STATE, position_after=STATE.position_before)
    assert reason(executing, now=NOW + timedelta(days=99), prices={**PRICES, "KO": Decimal(1)}) == ""
