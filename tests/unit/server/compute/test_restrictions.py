"""What account, market and data forbid a plan, in exact numbers."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.request import TradeLimits, TradeRequest
from server.compute.restrictions import (
    AccountState,
    InstrumentState,
    PriceAge,
    held_remarks,
    lot_remarks,
    price_ages,
    restrict,
)
from server.errors import NotReady
from server.plans.preparing import account_state
from storage.records import Portfolio, PriceTable, TaxLot

DAY = date(2024, 7, 3)
ONE = Decimal(1)
ACTIVE = InstrumentState("active", ONE)
FRESH = PriceAge(DAY, 0)
MARGIN = AccountState(margin_enabled=True)


def request(holdings, cash="0", targets=None, **limits):
    names = holdings.keys() | (targets or {}).keys()
    return TradeRequest(
        holdings={name: Decimal(quantity) for name, quantity in holdings.items()},
        cash=Decimal(cash),
        prices=dict.fromkeys(names, Decimal(100)),
        target_weights={name: Decimal(weight) for name, weight in (targets or {}).items()},
        limits=TradeLimits(**limits),
        costs=CostModel(commission=Decimal("5.00"), impact_bps=Decimal(15)),
    )


def restricted(trading, account=None, states=None, ages=None, max_age=5):
    names = trading.prices.keys()
    known = {**dict.fromkeys(names, ACTIVE), **(states or {})}
    old = {**dict.fromkeys(names, FRESH), **(ages or {})}
    return restrict(trading, account or AccountState(), known, old, max_age)


def codes(found):
    return [(remark.code, remark.instrument_id) for remark in found.remarks]


def test_nothing_restricts_what_is_free():
    trading = request({"A": 10}, "50", {"A": "0.5", "B": "0.5"})
    found = restricted(trading)
    assert found.trading == trading
    assert (found.remarks, dict(found.frozen)) == ((), {})


@pytest.mark.parametrize("status", ["halted", "delisted"])
def test_a_status_stops_both_sides(status):
    found = restricted(request({"A": 10}, "0", {"B": "1"}), states={"A": InstrumentState(status, ONE)})
    assert found.trading.limits.do_not_buy == found.trading.limits.do_not_sell == {"A"}
    assert codes(found) == [(status, "A")]
    assert found.frozen["A"] == (status, f"is {status}: not traded, and valued at its last price")


def test_what_is_neither_held_nor_wanted_is_frozen_without_a_remark():
    trading = request({"A": 10})
    states = {"A": ACTIVE, "C": InstrumentState("halted", ONE)}
    found = restrict(trading, AccountState(), states, {"A": FRESH, "C": FRESH}, 5)
    assert found.trading.limits.do_not_buy == {"C"}
    assert not found.remarks


@pytest.mark.parametrize(("days", "max_age", "stale"), [(0, 0, False), (1, 0, True), (5, 5, False), (6, 5, True)])
def test_a_price_is_stale_after_the_limit(days, max_age, stale):
    found = restricted(request({"A": 10}), ages={"A": PriceAge(DAY, days)}, max_age=max_age)
    assert found.trading.limits.do_not_sell == ({"A"} if stale else frozenset())
    if stale:
        (remark,) = found.remarks
        assert remark.message == (
            f"A has no price since 2024-07-03, {days} trading days ago (limit {max_age}): not traded"
        )


def test_a_delisted_instrument_is_called_that_however_old_its_price_is():
    states, ages = {"A": InstrumentState("delisted", ONE)}, {"A": PriceAge(DAY, 400)}
    assert codes(restricted(request({"A": 10}), states=states, ages=ages)) == [("delisted", "A")]


@pytest.mark.parametrize(("needed", "has", "barred"), [(0, 0, False), (1, 0, True), (3, 3, False), (5, 4, True)])
def test_an_option_level_stops_purchases_alone(needed, has, barred):
    states = {"A": InstrumentState("active", ONE, needed)}
    found = restricted(request({"A": 10}), AccountState(option_level=has), states)
    assert found.trading.limits.do_not_buy == ({"A"} if barred else frozenset())
    assert not found.trading.limits.do_not_sell
    assert codes(found) == ([("option_level", "A")] if barred else [])


def test_lists_of_account_and_request_are_joined():
    account = AccountState(do_not_buy=frozenset({"A"}), do_not_sell=frozenset({"B"}))
    trading = request({"A": 1, "B": 1}, do_not_buy=frozenset({"C"}), do_not_sell=frozenset({"A"}))
    limits = restricted(trading, account).trading.limits
    assert (limits.do_not_buy, limits.do_not_sell) == ({"A", "C"}, {"A", "B"})


def test_an_overdraft_of_an_account_that_may_not_borrow_has_to_go():
    found = restricted(request({"A": 10}, "-50"))
    assert found.trading.limits.min_cash == 0
    assert codes(found) == [("negative_cash", "")]


@pytest.mark.parametrize(
    ("cash", "asked", "floor", "code"),
    [
        ("100", "0", "0", None),
        ("0", "0", "0", None),
        ("-100", "0", "-100", "negative_cash"),
        ("-100", "20", "20", "negative_cash"),
        ("100", "20", "20", None),
    ],
)
def test_a_margin_loan_may_stay_unless_cash_is_asked_for(cash, asked, floor, code):
    found = restricted(request({"A": 10}, cash, min_cash=Decimal(asked)), MARGIN)
    assert found.trading.limits.min_cash == Decimal(floor)
    assert codes(found) == ([] if code is None else [(code, "")])


@given(
    held=st.integers(1, 10_000),
    owed=st.decimals(0, 1, places=4),
    margin=st.decimals("0.01", 1, places=2),
    names=st.integers(1, 40),
)
def test_a_margin_call_leaves_enough_equity_after_all_costs(held, owed, margin, names):
    """Sales down to the floor, with a commission for every name: equity is the margin of what is left, or more."""
    holdings = {f"N{k}": held for k in range(names)}
    value = Fraction(100 * held * names)
    cash = -(value * Fraction(owed)).limit_denominator(100)
    equity, needed = value + cash, Fraction(margin)
    trading = request(holdings, f"{Decimal(cash.numerator) / Decimal(cash.denominator):.2f}")
    equity, cash = value + Fraction(trading.cash), Fraction(trading.cash)
    found = restricted(trading, AccountState(margin_enabled=True, maintenance_margin=margin))
    floor = Fraction(found.trading.limits.min_cash)
    called = equity < needed * value
    assert [code for code, _ in codes(found) if code == "margin_call"] == (["margin_call"] if called else [])
    if not called:
        assert floor == min(cash, 0)
        return
    assert floor > cash
    sold = floor - cash
    costs = 5 * names + sold * Fraction(15, 10_000)
    if equity > 4 * costs and sold + costs < value:
        left = value - sold - costs
        assert left + floor >= needed * left


def test_a_margin_call_counts_short_positions_as_holdings():
    """1,000 of equity stand behind 9,000 short: 11%, however much cash the short sale brought."""
    found = restricted(request({"A": -90}, "10000"), AccountState(margin_enabled=True, shorting_enabled=True))
    assert codes(found) == [("margin_call", ""), ("short_position", "A")]
    assert "11.11% of the holdings" in found.remarks[0].message
    assert found.remarks[0].message.endswith("what is short must be bought back")
    assert found.trading.limits.min_cash == 0


@pytest.mark.parametrize("margin", ["1E-300", "1"])
def test_a_margin_at_the_end_of_its_range_has_a_floor(margin):
    found = restricted(
        request({"A": 10}, "-900"), AccountState(margin_enabled=True, maintenance_margin=Decimal(margin))
    )
    assert found.trading.limits.min_cash == (0 if margin == "1" else -900)


@pytest.mark.parametrize(
    ("allowed", "words"), [(True, "2 shares; they"), (False, ", which the account may not be; they")]
)
def test_a_short_position_is_named(allowed, words):
    found = restricted(request({"A": 10, "B": -2}), AccountState(shorting_enabled=allowed))
    (remark,) = found.remarks
    assert (remark.code, remark.instrument_id) == ("short_position", "B")
    assert words in remark.message


def test_remainders_of_shares_are_named():
    states = {"A": ACTIVE, "B": InstrumentState("active", Decimal("0.1")), "C": InstrumentState("active", Decimal(10))}
    planned = {"A": Decimal("3.25"), "B": Decimal("3.2"), "C": Decimal(25), "D": Decimal("0.5"), "E": Decimal(0)}
    found = held_remarks(planned, states)
    assert [(r.instrument_id, r.message.split()[2]) for r in found] == [("A", "0.25"), ("C", "5")]
    (short,) = held_remarks({"A": Decimal("-3.25")}, states)
    assert "0.25 of a share short" in short.message


def test_lots_that_are_not_known_are_named_where_they_are_sold():
    lots = [
        TaxLot(id="1", instrument_id="A", quantity=ONE, acquired_on=DAY),
        TaxLot(id="2", instrument_id="A", quantity=ONE, cost_per_share=ONE),
        TaxLot(id="3", instrument_id="B", quantity=ONE),
        TaxLot(id="4", instrument_id="A", quantity=ONE, acquired_on=DAY, cost_per_share=Decimal(0)),
    ]
    found = [(remark.code, remark.message.split()[4]) for remark in lot_remarks(lots, {"A"})]
    assert found == [("unknown_cost", "1"), ("unknown_acquisition_date", "2")]


def test_ages_count_the_days_of_the_pack():
    nan = np.nan
    closes = np.array([[1.0, 1.0, nan], [1.0, nan, 2.0], [nan, nan, 2.0], [nan, nan, 2.0]])
    dates = np.array(["2024-06-27", "2024-06-28", "2024-07-01", "2024-07-03"], dtype="datetime64[D]")
    ages = price_ages(PriceTable(("A", "B", "C"), dates, closes), ["C", "A", "B"])
    assert ages == {
        "A": PriceAge(date(2024, 6, 28), 2),
        "B": PriceAge(date(2024, 6, 27), 3),
        "C": PriceAge(date(2024, 7, 3), 0),
    }


def test_an_account_is_read_with_its_defaults():
    assert account_state(Portfolio(id="P", name="P")) == AccountState()
    lists = {"do_not_buy": ["A"], "do_not_sell": ["B"], "do_not_trade": ["C"]}
    flags = {"margin_enabled": True, "option_approval_level": 2, "maintenance_margin": 0.3}
    found = account_state(Portfolio(id="P", name="P", account={**lists, **flags}))
    assert (found.do_not_buy, found.do_not_sell) == ({"A", "C"}, {"B", "C"})
    assert (found.margin_enabled, found.shorting_enabled, found.option_level) == (True, False, 2)
    assert found.maintenance_margin == Decimal("0.3")


@pytest.mark.parametrize("margin", ["seven", 7, -0.1, "NaN"])
def test_an_account_of_a_file_that_says_something_else_is_refused(margin):
    with pytest.raises(NotReady, match="account of portfolio P"):
        account_state(Portfolio(id="P", name="P", account={"maintenance_margin": margin}))
