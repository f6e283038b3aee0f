"""Restrictions and edge cases through GenerateRebalancePlan, each plan judged by doing its arithmetic again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import grpc
import pytest
from portfolio_optimization.v1 import drift_pb2 as drift
from portfolio_optimization.v1 import optimization_pb2, portfolio_data_pb2, trade_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from storage.embedded import EmbeddedServer
from tests.integration.server.edge_market import (
    FREE,
    HALF,
    HOLIDAY,
    INFEASIBLE,
    NEXT_DAY,
    PRICES,
    SETTLED_DAY,
    TOP_RATES,
    TWO,
    Account,
    Constraints,
    EdgeDesk,
    Lot,
    after,
    cost_of,
    is_best,
    least_objective,
    noted,
    notes,
    reconciled,
    refusal,
    traded,
    worth,
)
from tests.integration.server.open_service import copied_database, open_service, violations


@pytest.fixture(scope="module")
def desk(postgres_server: EmbeddedServer, template_database: str) -> Iterator[EdgeDesk]:
    with (
        copied_database(postgres_server, template_database) as url,
        open_service(url, load_sample=False) as service,
    ):
        yield EdgeDesk(service)


# --- Cash


def test_too_little_cash_is_raised_by_sales(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put(TWO), HALF, constraints=Constraints(min_cash_amount="1000"))
    assert reconciled(plan, TWO) >= 1000
    assert is_best(plan, least_objective(TWO, "0", HALF, floor=Decimal(1000)))
    (note,) = notes(plan, "too_little_cash")
    assert SETTLED_DAY in note.message


def test_cash_that_nothing_may_raise_is_refused_with_the_most_that_can_be_reached(desk: EdgeDesk) -> None:
    limits = Constraints(min_cash_amount="1000", do_not_sell=["BETA"], max_turnover=0.05)
    plan = desk.plan(desk.put(TWO, "20"), HALF, constraints=limits)
    assert (plan.outcome.status, len(plan.trades)) == (INFEASIBLE, 0)
    # 5% of 7,020 are 351: three shares of ALPHA, and half of what they cost counts as well.
    reached = 20 + 300 - Decimal("5.45")
    assert f"{reached:f}" in plan.outcome.message
    assert "min_cash_amount" in plan.infeasibility.conflicting_constraints


def test_cash_that_does_not_pay_for_a_trade_stays(desk: EdgeDesk) -> None:
    """104 buys a share of 100, but not with its commission."""
    plan = desk.plan(desk.put({}, "104"), {"ALPHA": 1.0})
    assert not plan.trades
    assert reconciled(plan, {}, "104") == 104
    assert ("no_trades", "") in noted(plan)
    plan = desk.plan(desk.put({}, "105.15"), {"ALPHA": 1.0})
    assert reconciled(plan, {}, "105.15") == 0
    assert traded(plan) == {"ALPHA": 1}


def test_an_overdraft_is_raised_to_zero(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put(TWO, "-500"), HALF)
    assert reconciled(plan, TWO, "-500") >= 0
    assert is_best(plan, least_objective(TWO, "-500", HALF))
    assert "the account may not borrow" in notes(plan, "negative_cash")[0].message


def test_an_overdraft_is_raised_though_the_strategy_calls_for_no_trade(desk: EdgeDesk) -> None:
    """Of all sales that pay for it and for their own costs, those of the least value."""
    far = drift.DriftSettings(measure=drift.DRIFT_MEASURE_MAX_ABSOLUTE, threshold=0.9)
    plan = desk.plan(desk.put(TWO, "-500"), HALF, strategy=pb.REBALANCE_STRATEGY_THRESHOLD, drift=far)
    assert reconciled(plan, TWO, "-500") >= 0
    sold = [
        (
            100 * a + 250 * b,
            Decimal(100 * a + 250 * b) - sum(cost_of(v) for v in (Decimal(100 * a), Decimal(250 * b)) if v),
        )
        for a in range(10)
        for b in range(4)
    ]
    least = min(value for value, proceeds in sold if proceeds >= 500)
    assert sum(Decimal(trade.exact_quantity) * PRICES[trade.instrument_id] for trade in plan.trades) == least
    assert not notes(plan, "no_trades")


def test_an_overdraft_that_nothing_can_pay_is_refused(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put({"HALTED": 300}, "-500"), {"HALTED": 1.0})
    assert (plan.outcome.status, len(plan.trades)) == (INFEASIBLE, 0)
    assert "the most they reach is -500" in plan.outcome.message
    assert {("halted", "HALTED"), ("negative_cash", "")} <= noted(plan)
    assert not notes(plan, "too_little_cash"), "a plan without sales adds no tax"


@pytest.mark.parametrize(("shares", "worth_now"), [(3, "-200"), (5, "0")])
def test_an_overdraft_that_eats_up_the_portfolio_is_refused(desk: EdgeDesk, shares: int, worth_now: str) -> None:
    error = refusal(desk, desk.put({"ALPHA": shares}, "-500"), {"ALPHA": 1.0})
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"is worth {worth_now}" in (error.details() or "")


# --- Markets and instruments


def test_a_closed_market_means_the_next_session(desk: EdgeDesk) -> None:
    execution = pb.ExecutionSettings(start_date=HOLIDAY)
    plan = desk.plan(desk.put(TWO, "500"), {"ALPHA": 0.7, "BETA": 0.3}, constraints=Constraints(execution=execution))
    reconciled(plan, TWO, "500")
    assert {trade.settlement_date for trade in plan.trades} == {SETTLED_DAY}
    (note,) = notes(plan, "market_closed")
    assert HOLIDAY in note.message
    assert NEXT_DAY in note.message
    usual = desk.plan(desk.put(TWO, "500"), {"ALPHA": 0.7, "BETA": 0.3})
    assert traded(usual) == traded(plan)
    assert [trade.settlement_date for trade in usual.trades] == [trade.settlement_date for trade in plan.trades]
    assert not notes(usual, "market_closed")


def test_what_is_halted_is_not_traded_and_the_rest_is_planned_without_it(desk: EdgeDesk) -> None:
    shares = {"ALPHA": 30, "BETA": 4, "HALTED": 50}
    target = {"ALPHA": 0.5, "BETA": 0.45}
    plan = desk.plan(desk.put(shares, "500"), target)
    reconciled(plan, shares, "500")
    assert "HALTED" not in traded(plan)
    assert is_best(plan, least_objective(shares, "500", target, fixed=frozenset({"HALTED"})))
    assert {note.instrument_id for note in notes(plan, "halted")} == {"HALTED"}


def test_a_halted_target_that_is_not_held_is_not_bought(desk: EdgeDesk) -> None:
    target = {"ALPHA": 0.5, "HALTED": 0.5}
    plan = desk.plan(desk.put({"ALPHA": 30}, "2000"), target)
    reconciled(plan, {"ALPHA": 30}, "2000")
    assert set(traded(plan)) == {"ALPHA"}
    assert is_best(plan, least_objective({"ALPHA": 30}, "2000", target, fixed=frozenset({"HALTED"})))
    assert "HALTED ends 2500.00 below its target" in " ".join(note.message for note in notes(plan, "halted"))


def test_an_optimum_is_found_without_what_may_not_be_bought(desk: EdgeDesk) -> None:
    """Most of the free optimum is in GAMMA; where it may not be bought nothing is sold for its sake."""
    portfolio_id = desk.put({"ALPHA": 30}, "500")
    asked = optimization_pb2.CreateOptimizationRequest(instrument_ids=["ALPHA", "GAMMA"])
    free = desk.plan(portfolio_id, target_type="optimal", optimization=asked)
    assert free.target_allocation["GAMMA"] > 0.5
    limits = Constraints(do_not_buy=["GAMMA"])
    plan = desk.plan(portfolio_id, target_type="optimal", optimization=asked, constraints=limits)
    assert traded(plan) == {"ALPHA": 4}
    assert reconciled(plan, {"ALPHA": 30}, "500") == 500 - 400 - Decimal("5.60")
    assert "no more than is held of GAMMA" in notes(plan, "restricted")[0].message
    barred = Constraints(do_not_buy=["GAMMA", "ALPHA"])
    stuck = desk.plan(portfolio_id, target_type="optimal", optimization=asked, constraints=barred)
    assert dict(stuck.target_allocation) == dict(free.target_allocation), "the whole cannot be held without purchases"


@pytest.mark.parametrize("shares", [{"ALPHA": 30, "UNPRICED": 3}, {"ALPHA": 30}])
def test_no_price_is_refused_and_named(desk: EdgeDesk, shares: dict[str, int]) -> None:
    error = refusal(desk, desk.put(shares), {"ALPHA": 0.5, "UNPRICED": 0.5})
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (error.details() or "").endswith("has none of UNPRICED")


def test_a_stale_price_is_no_price_to_trade_at(desk: EdgeDesk) -> None:
    """Five trading days without a price are allowed, six are not."""
    shares = {"ALPHA": 30, "STALE": 50, "FRESH": 50}
    plan = desk.plan(desk.put(shares), {"ALPHA": 1.0})
    assert reconciled(plan, shares) >= 0
    assert traded(plan)["FRESH"] == -50
    assert "STALE" not in traded(plan)
    assert "6 trading days ago (limit 5)" in notes(plan, "stale_price")[0].message
    assert {note.instrument_id for note in notes(plan, "stale_price")} == {"STALE"}
    wanted = desk.plan(desk.put({"ALPHA": 30}, "1000"), {"ALPHA": 0.5, "STALE": 0.25, "FRESH": 0.25})
    reconciled(wanted, {"ALPHA": 30}, "1000")
    assert traded(wanted) == {"ALPHA": -10, "FRESH": 40}


def test_prices_are_stale_by_the_days_of_the_pack_not_by_those_of_the_portfolio(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put({"STALE": 50}, "10"), {"CASH": 1.0})
    assert not plan.trades
    assert "6 trading days ago" in notes(plan, "stale_price")[0].message


def test_what_is_delisted_stays_at_its_last_price(desk: EdgeDesk) -> None:
    shares = {"ALPHA": 30, "DELISTED": 50}
    plan = desk.plan(desk.put(shares, "100"), HALF)
    reconciled(plan, shares, "100")
    assert Decimal(plan.portfolio_value_amount) == 3000 + 50 * PRICES["DELISTED"] + 100
    assert "DELISTED" not in traded(plan)
    assert is_best(plan, least_objective(shares, "100", HALF, fixed=frozenset({"DELISTED"})))
    assert {note.instrument_id for note in notes(plan, "delisted")} == {"DELISTED"}
    assert not notes(plan, "stale_price")


# --- What is held


@pytest.mark.parametrize("target_type", ["custom", "equal_weight", "optimal"])
def test_one_holding(desk: EdgeDesk, target_type: str) -> None:
    custom = {"ALPHA": 1.0} if target_type == "custom" else None
    plan = desk.plan(desk.put({"ALPHA": 30}, "550"), custom, target_type=target_type)
    # Five shares cost 500 and 5.75.
    assert traded(plan) == {"ALPHA": 5}
    assert reconciled(plan, {"ALPHA": 30}, "550") == Decimal("44.25")


def test_cash_alone_is_invested(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put({}, "5000"), HALF)
    assert reconciled(plan, {}, "5000") >= 0
    assert is_best(plan, least_objective({}, "5000", HALF))


@pytest.mark.parametrize("target_type", ["custom", "equal_weight", "optimal"])
def test_cash_alone_and_nothing_to_buy_is_refused(desk: EdgeDesk, target_type: str) -> None:
    custom = {"CASH": 1.0} if target_type == "custom" else None
    error = refusal(desk, desk.put({}, "5000"), custom, target_type=target_type)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "holds nothing but cash, and the target names nothing to buy" in (error.details() or "")


def test_nothing_at_all_is_refused(desk: EdgeDesk) -> None:
    error = refusal(desk, desk.put({}, "0"), HALF)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "is worth 0 USD" in (error.details() or "")


def test_everything_into_cash(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put(TWO), {"CASH": 1.0})
    assert after(plan, TWO) == {"ALPHA": 0, "BETA": 0}
    assert reconciled(plan, TWO) == 7000 - (5 + Decimal("4.50")) - (5 + 6)


def test_a_fractional_remainder_leaves_with_all_of_it(desk: EdgeDesk) -> None:
    shares = {"ALPHA": "10.5", "BETA": 4}
    plan = desk.plan(desk.put(shares), {"BETA": 1.0})
    reconciled(plan, shares)
    assert traded(plan)["ALPHA"] == Decimal("-10.5")
    assert not notes(plan, "fractional_remainder")


def test_a_fractional_remainder_stays_where_a_part_is_kept(desk: EdgeDesk) -> None:
    shares = {"ALPHA": "10.5", "BETA": 4}
    plan = desk.plan(desk.put(shares), {"ALPHA": 0.3, "BETA": 0.7})
    reconciled(plan, shares)
    assert traded(plan)["ALPHA"] == -4
    (note,) = notes(plan, "fractional_remainder")
    assert note.instrument_id == "ALPHA"
    assert "0.5 of a share" in note.message


def test_fractions_trade_in_their_increment(desk: EdgeDesk) -> None:
    shares = {"FRACTION": "10.123456", "ALPHA": 10}
    plan = desk.plan(desk.put(shares), {"FRACTION": 0.1, "ALPHA": 0.7})
    assert reconciled(plan, shares) >= 0
    sold = -traded(plan)["FRACTION"]
    assert sold % Decimal("0.000001") == 0
    total = worth(shares)
    assert abs((Decimal("10.123456") - sold) * 40 - total / 10) <= Decimal("0.01")
    assert not notes(plan, "fractional_remainder")


# --- Lots


def test_unknown_costs_and_dates_never_understate_the_tax(desk: EdgeDesk) -> None:
    lots = [
        Lot(lot_id="no-cost", instrument_id="ALPHA", quantity="10", acquired_on="2020-01-02"),
        Lot(lot_id="no-date", instrument_id="ALPHA", quantity="10", cost_per_share_amount="60"),
        Lot(lot_id="neither", instrument_id="ALPHA", quantity="10"),
    ]
    plan = desk.plan(desk.put(TWO, lots=lots, tax=TOP_RATES), {"BETA": 1.0}, constraints=FREE)
    assert traded(plan) == {"ALPHA": -30, "BETA": 12}
    assert Decimal(plan.cash_after_amount) == 0
    # 1,000 long-term at no cost; 400 and 1,000 short-term.
    assert Decimal(plan.tax.summary.tax_amount) == Decimal("0.2") * 1000 + Decimal("0.4") * (400 + 1000)
    sold = {sale.lot_id: sale for sale in plan.tax.sales}
    shown = {name: (s.acquired_on, s.cost_amount, s.gain_amount, s.term) for name, s in sold.items()}
    assert shown == {
        "no-cost": ("2020-01-02", "", "", trade_pb2.HOLDING_TERM_LONG),
        "no-date": ("", "600.00", "400.00", trade_pb2.HOLDING_TERM_UNSPECIFIED),
        "neither": ("", "", "", trade_pb2.HOLDING_TERM_UNSPECIFIED),
    }
    said = {
        (note.code, word) for note in plan.notes for word in note.message.split() if word in {x.lot_id for x in lots}
    }
    assert said >= {
        ("unknown_cost", "no-cost"),
        ("unknown_cost", "neither"),
        ("unknown_acquisition_date", "no-date"),
        ("unknown_acquisition_date", "neither"),
    }
    assert not notes(plan, "good_faith_violation")[1:], "no day of purchase is made up"
    (note,) = notes(plan, "too_little_cash")
    assert note.message.startswith("the sales add 760.00 of tax")


def test_a_loss_of_unknown_date_saves_no_more_than_a_long_term_one(desk: EdgeDesk) -> None:
    """Set against gains of both terms it saves what it would if it were long-term."""
    rates = {"short_term_rate": 0.4, "long_term_rate": 0.2}
    gains = {"realized_short_term_amount": "5000", "realized_long_term_amount": "5000"}
    tax = portfolio_data_pb2.TaxSettings(**rates, **gains)
    lots = [Lot(lot_id="no-date", instrument_id="ALPHA", quantity="30", cost_per_share_amount="150")]
    plan = desk.plan(desk.put(TWO, lots=lots, tax=tax), {"BETA": 1.0}, constraints=FREE)
    assert traded(plan)["ALPHA"] == -30
    assert Decimal(plan.tax.summary.tax_amount) == Decimal("0.2") * -1500


def test_no_lots_at_all_are_sold_without_tax(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put(TWO, tax=TOP_RATES), {"BETA": 1.0})
    reconciled(plan, TWO)
    assert Decimal(plan.tax.summary.tax_amount) == 0


# --- Lists


@pytest.mark.parametrize("of_account", [True, False])
def test_do_not_lists_of_account_and_request(desk: EdgeDesk, of_account: bool) -> None:
    lists = {"do_not_sell": ["BETA"], "do_not_buy": ["GAMMA"], "do_not_trade": ["FRACTION"]}
    shares = {"ALPHA": 30, "BETA": 16, "FRACTION": 10}
    target = {"ALPHA": 0.6, "GAMMA": 0.2, "FRACTION": 0.2}
    stored = {"account": Account(**lists)} if of_account else {}
    asked = {} if of_account else {"constraints": Constraints(**lists)}
    plan = desk.plan(desk.put(shares, "1200", **stored), target, **asked)
    reconciled(plan, shares, "1200")
    fixed = frozenset({"BETA", "GAMMA", "FRACTION"})
    assert set(traded(plan)) == {"ALPHA"}
    assert is_best(plan, least_objective(shares, "1200", target, fixed=fixed))
    assert {note.instrument_id for note in notes(plan, "restricted")} == fixed


def test_both_lists_count_together_and_names_may_repeat(desk: EdgeDesk) -> None:
    portfolio_id = desk.put(TWO, "600", account=Account(do_not_sell=["BETA", "BETA"], do_not_trade=["BETA"]))
    limits = Constraints(do_not_buy=["ALPHA"], do_not_trade=["BETA"])
    plan = desk.plan(portfolio_id, {"ALPHA": 0.9}, constraints=limits)
    assert not plan.trades
    assert {("restricted", "ALPHA"), ("restricted", "BETA"), ("no_trades", "")} <= noted(plan)


@pytest.mark.parametrize("name", ["do_not_buy", "do_not_sell", "do_not_trade"])
def test_a_list_with_an_unknown_name_is_refused(desk: EdgeDesk, name: str) -> None:
    error = refusal(desk, desk.put(TWO), HALF, constraints=Constraints(**{name: ["BETA", "NOBODY"]}))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "NOBODY" in (error.details() or "")
    assert "BETA" not in (error.details() or "")


@pytest.mark.parametrize(("level", "bought"), [(0, 0), (2, 0), (3, 88)])
def test_the_option_level_of_the_account_decides_on_purchases(desk: EdgeDesk, level: int, bought: int) -> None:
    shares, target = {"ALPHA": 10, "OPTION": 20}, {"ALPHA": 0.5, "OPTION": 0.5}
    portfolio_id = desk.put(shares, "1000", account=Account(option_approval_level=level))
    plan = desk.plan(portfolio_id, target)
    reconciled(plan, shares, "1000")
    assert traded(plan).get("OPTION", 0) == bought
    assert is_best(
        plan, least_objective(shares, "1000", target, fixed=frozenset() if bought else frozenset({"OPTION"}))
    )
    assert bool(notes(plan, "option_level")) == (not bought)
    sold = desk.plan(portfolio_id, {"ALPHA": 1.0})
    assert traded(sold)["OPTION"] == -20


# --- All of it


def test_everything_at_once(desk: EdgeDesk) -> None:
    """Every restriction on one portfolio: what is free is traded for the best, what is not stays and is named."""
    shares = {
        "ALPHA": 30,
        "BETA": 10,
        "GAMMA": "20.5",
        "HALTED": 40,
        "DELISTED": 50,
        "STALE": 20,
        "OPTION": 10,
        "FRACTION": 10,
        "FRESH": -5,
    }
    target = {"ALPHA": 0.2, "BETA": 0.4, "GAMMA": 0.1, "OPTION": 0.1, "FRESH": 0.1}
    lots = [
        Lot(lot_id="no-cost", instrument_id="ALPHA", quantity="20", acquired_on="2020-01-02"),
        Lot(lot_id="no-date", instrument_id="ALPHA", quantity="10", cost_per_share_amount="60"),
    ]
    portfolio_id = desk.put(shares, "-500", lots=lots, tax=TOP_RATES, account=Account(do_not_sell=["FRACTION"]))
    limits = Constraints(
        max_turnover=0.3, max_trades=4, execution=pb.ExecutionSettings(start_date=HOLIDAY), do_not_buy=["FRESH"]
    )
    plan = desk.plan(portfolio_id, target, constraints=limits)
    assert plan.certificate.duality_gap < 1e-4, plan.outcome.message
    left = reconciled(plan, shares, "-500")
    assert left >= 0
    untouched = {"HALTED", "DELISTED", "STALE", "OPTION", "FRACTION", "FRESH"}
    assert not untouched & set(traded(plan))
    assert len(plan.trades) <= 4
    moved = Decimal(plan.metrics.gross_trade_amount) + abs(left + 500)
    assert moved / 2 <= Decimal("0.3") * (worth(shares) - 500)
    assert plan.metrics.turnover == pytest.approx(float(moved / 2 / (worth(shares) - 500)))
    assert noted(plan) >= {
        ("negative_cash", ""),
        ("halted", "HALTED"),
        ("delisted", "DELISTED"),
        ("stale_price", "STALE"),
        ("option_level", "OPTION"),
        ("restricted", "FRACTION"),
        ("restricted", "FRESH"),
        ("short_position", "FRESH"),
        ("market_closed", ""),
        ("fractional_remainder", "GAMMA"),
        ("unknown_cost", "ALPHA"),
    }


def test_a_target_with_less_than_nothing_of_a_name_is_refused(desk: EdgeDesk) -> None:
    limits = optimization_pb2.OptimizationConstraints(allow_short=True, max_gross_leverage=1.6)
    asked = optimization_pb2.CreateOptimizationRequest(
        optimization_type="mean_variance", objective="maximize_return", constraints=limits
    )
    error = refusal(desk, desk.put({"ALPHA": 30, "BETA": 10, "GAMMA": 50}), target_type="optimal", optimization=asked)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    (fault,) = violations(error).items()
    assert fault[0].startswith("target_weights[")
    assert fault[1] == "is -0.300000000000, and a plan opens no short position"
