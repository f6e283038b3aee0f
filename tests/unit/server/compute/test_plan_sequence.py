"""The trades of a plan on the calendar: context, slices, remarks and the message that says it."""

import dataclasses
import pickle
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from kernel.errors import ProblemError
from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.lots import LotSale, TaxLot, Term
from kernel.rebalancing.request import TradeLimits, TradeRequest
from kernel.rebalancing.trades import plan_trades
from server.compute.inputs import Asset, MarketInputs
from server.compute.sequence import daily_volatilities, sequence_context, sequence_plan
from server.convert.sequence import write_sequence
from server.rebalance_specs import ExecutionSpec
from server.trading_days import Closure

AS_OF = date(2026, 11, 6)
VOLUMES = {"AAA": Decimal(1000), "BBB": Decimal(100_000), "CCC": Decimal(2000)}
TENTH = ExecutionSpec(max_participation=Decimal("0.1"))


def market(volumes=None, days=60):
    chance = np.random.default_rng(5)
    closes = 100.0 * np.cumprod(1.0 + 0.02 * chance.standard_normal((days, 3)), axis=0)
    known = VOLUMES if volumes is None else volumes
    return MarketInputs(
        portfolio_id="P",
        pricing_pack_id="PACK",
        assets=tuple(Asset(name, "", "equity", None, daily_volume=known.get(name)) for name in VOLUMES),
        dates=np.datetime64("2026-01-01") + np.arange(days),
        closes=closes,
        w0=np.zeros(3),
        cash_weight=1.0,
        value=Decimal(1),
    )


def request(cash="0", min_cash="0", **others):
    """All of AAA, 300 shares at 100, into BBB and CCC."""
    return TradeRequest(
        holdings={"AAA": Decimal(300)},
        cash=Decimal(cash),
        prices=dict.fromkeys(VOLUMES, Decimal(100)),
        target_weights={"BBB": Decimal("0.5"), "CCC": Decimal("0.5")},
        limits=TradeLimits(min_cash=Decimal(min_cash)),
        costs=CostModel(commission=Decimal("5.00"), impact_bps=Decimal(15)),
        **others,
    )


def sequenced(asked, execution=TENTH, volumes=None, plan=None, **context):
    options = {"exchange": "XNYS", "as_of": AS_OF, "closures": (), "margin_account": False} | context
    calendar = sequence_context(
        options["exchange"], options["as_of"], execution, options["closures"], margin_account=options["margin_account"]
    )
    made = plan_trades(asked) if plan is None else plan
    calendar, asked = pickle.loads(pickle.dumps((calendar, asked)))
    return made, sequence_plan(made, asked, market(volumes), calendar)


def written(plan, answer):
    message = pb.RebalancePlanResponse(
        trades=[trade_pb2.Trade(instrument_id=trade.instrument_id, priority=trade.priority) for trade in plan.trades]
    )
    write_sequence(message, answer)
    return message


def test_default_start_is_the_first_trading_day_after_the_prices():
    """6 November 2026 is a Friday; on Veterans Day, the 11th, the sale's last slice trades and does not settle."""
    plan, answer = sequenced(request())
    orders = {order.instrument_id: order for order in answer.plan.orders}
    assert [part.day.isoformat() for part in orders["AAA"].slices] == ["2026-11-09", "2026-11-10", "2026-11-11"]
    assert [part.quantity for part in orders["AAA"].slices] == [100, 100, 100]
    assert {part.participation for part in orders["AAA"].slices} == {Decimal("0.1")}
    assert [part.day.isoformat() for part in orders["BBB"].slices] == ["2026-11-11"]
    assert {order.settlement_date.isoformat() for order in orders.values()} == {"2026-11-12"}
    assert [day.isoformat() for day, _ in answer.plan.cash_projection] == ["2026-11-10", "2026-11-12"]
    assert answer.plan.cash_projection[-1][1] == plan.cash_after


def test_message():
    plan, answer = sequenced(request())
    message = written(plan, answer)
    assert [trade.priority for trade in message.trades] == [1, 2, 3]
    sale, *purchases = message.trades
    assert (sale.instrument_id, sale.settlement_date, list(sale.depends_on)) == ("AAA", "2026-11-12", [])
    assert [(part.date, part.quantity, part.participation) for part in sale.slices] == [
        ("2026-11-09", "100", 0.1),
        ("2026-11-10", "100", 0.1),
        ("2026-11-11", "100", 0.1),
    ]
    assert sale.expected_execution_cost_amount == "45.00"  # 15 bps of 30,000
    deviation = np.std(market().closes[1:, 0] / market().closes[:-1, 0], ddof=1)
    assert float(sale.execution_risk_amount) == pytest.approx(deviation * 100 * np.sqrt(200**2 + 100**2), abs=0.006)
    assert all(list(purchase.depends_on) == [1] for purchase in purchases)
    assert message.cash_projection[-1].cash_amount == f"{plan.cash_after:f}"


def test_half_spread_and_impact_are_the_requests():
    execution = ExecutionSpec(
        max_participation=Decimal("0.1"), half_spread=Decimal("0.0002"), impact_coefficient=Decimal(1)
    )
    _, answer = sequenced(request(), execution)
    sale = next(order for order in answer.plan.orders if order.instrument_id == "AAA")
    deviation = np.std(market().closes[1:, 0] / market().closes[:-1, 0], ddof=1)
    wanted = 0.0002 * 30_000 + 3 * deviation * 10_000 * np.sqrt(0.1)
    assert float(sale.execution.expected) == pytest.approx(wanted, rel=1e-9)


def test_without_participation_there_are_no_slices():
    plan, answer = sequenced(request(), ExecutionSpec(), volumes={})
    message = written(plan, answer)
    assert not any(trade.slices or trade.expected_execution_cost_amount for trade in message.trades)
    assert {trade.settlement_date for trade in message.trades} == {"2026-11-10"}
    assert [entry.date for entry in message.cash_projection] == ["2026-11-10"]


@pytest.mark.parametrize("unknown", [None, Decimal(0)])
def test_unknown_volume_is_refused_by_name(unknown):
    with pytest.raises(ProblemError, match="average daily volume") as refused:
        sequenced(request(), volumes=VOLUMES | {"CCC": unknown})
    assert refused.value.field == "constraints.max_participation[CCC]"


def test_unknown_volatility_is_refused_where_it_is_needed():
    asked = request()
    context = sequence_context("XNYS", AS_OF, TENTH, (), margin_account=False)
    young = dataclasses.replace(market(), closes=np.full((3, 3), np.nan))
    assert daily_volatilities(young) == {}
    plan = plan_trades(asked)
    answer = sequence_plan(plan, asked, young, context)
    assert written(plan, answer).trades[0].execution_risk_amount == ""
    impact = dataclasses.replace(context, execution=dataclasses.replace(TENTH, impact_coefficient=Decimal(1)))
    with pytest.raises(ProblemError, match="daily volatility") as refused:
        sequence_plan(plan, asked, young, impact)
    assert refused.value.field.startswith("constraints.impact_coefficient[")


def test_too_many_days():
    with pytest.raises(ProblemError, match="300 days, more than 250") as refused:
        sequenced(request(), volumes=VOLUMES | {"AAA": Decimal(10)})
    assert refused.value.field == "constraints.max_participation[AAA]"


@pytest.mark.parametrize(
    ("asked", "start", "noted"),
    [
        ("2026-11-06", "2026-11-06", False),
        ("2026-11-07", "2026-11-09", True),
        ("2026-11-26", "2026-11-27", True),
        ("2027-11-05", "2027-11-05", False),
    ],
)
def test_asked_start(asked, start, noted):
    execution = dataclasses.replace(TENTH, start=date.fromisoformat(asked))
    _, answer = sequenced(request(), execution)
    assert answer.plan.orders[0].slices[0].day.isoformat() == start
    assert [remark.code for remark in answer.remarks].count("market_closed") == noted


@pytest.mark.parametrize("asked", [date(2026, 11, 5), date(2027, 11, 8), date.min, date.max])
def test_refused_start(asked):
    with pytest.raises(ProblemError, match=r"2026-11-06.*not " + asked.isoformat()) as refused:
        sequence_context("XNYS", AS_OF, dataclasses.replace(TENTH, start=asked), (), margin_account=False)
    assert refused.value.field == "constraints.execution.start_date"


def test_closures_of_the_operator_move_the_start():
    _, answer = sequenced(request(), closures=(Closure(date(2026, 11, 9)), Closure(date(2026, 11, 10), "XLON")))
    assert answer.plan.orders[0].slices[0].day == date(2026, 11, 10)


def test_exchanges_that_cannot_settle():
    for exchange in ("NOPE", "XTKS"):
        with pytest.raises(ProblemError) as refused:
            sequence_context(exchange, AS_OF, TENTH, (), margin_account=False)
        assert refused.value.field == "exchange"


def test_no_trades():
    still = request(cash="30000")
    still = dataclasses.replace(still, target_weights={"AAA": Decimal("0.5")})
    plan, answer = sequenced(still, volumes={})
    assert plan.trades == ()
    message = written(plan, answer)
    assert (len(message.trades), len(message.cash_projection), len(message.notes)) == (0, 0, 0)


def test_an_overdraft_that_cannot_be_met_has_no_trades():
    poor = dataclasses.replace(request(cash="-100"), limits=TradeLimits(do_not_sell=frozenset({"AAA"})))
    plan, answer = sequenced(poor)
    assert (plan.trades, answer.plan.orders, answer.remarks) == ((), (), ())


def test_an_overdraft_is_noted_with_the_day_on_which_it_ends():
    _, answer = sequenced(request(cash="-15000"))
    (remark,) = [remark for remark in answer.remarks if remark.code == "negative_cash"]
    assert remark.message == "cash of -15000 is below 0 until sales settle on 2026-11-12"
    _, answer = sequenced(request(cash="50", min_cash="200"))
    assert "too_little_cash" in {remark.code for remark in answer.remarks}


def test_good_faith():
    """What is bought with proceeds of the same session must be kept until they settle; with margin it need not."""
    _, answer = sequenced(request())
    (remark,) = answer.remarks
    assert (remark.code, remark.instrument_id) == ("good_faith_violation", "")
    assert remark.message.startswith("BBB, CCC: bought with proceeds that settle on 2026-11-12; a sale before that day")
    assert sequenced(request(), margin_account=True)[1].remarks == ()
    rich = dataclasses.replace(request(cash="60000"), target_weights={"BBB": Decimal("0.3"), "CCC": Decimal("0.3")})
    assert sequenced(rich)[1].remarks == ()


@pytest.mark.parametrize(("bought", "noted"), [("2026-11-05", False), ("2026-11-06", True), ("2026-10-01", False)])
def test_sale_of_shares_that_have_not_settled(bought, noted):
    """A sale on Friday of shares bought on the same Friday, which settle on Monday."""
    acquired = date.fromisoformat(bought)
    lot = TaxLot("L1", Decimal(300), Decimal(90), acquired)
    part = LotSale(lot, Decimal(300), Decimal(30_000), Decimal(27_000), Decimal(3000), Term.SHORT)
    plan = dataclasses.replace(plan_trades(request()), lot_sales={"AAA": (part,)})
    on_the_day = dataclasses.replace(TENTH, start=AS_OF)
    remarks = [remark for remark in sequenced(request(), on_the_day, plan=plan)[1].remarks if remark.instrument_id]
    assert [remark.code for remark in remarks] == (["good_faith_violation"] if noted else [])
    if noted:
        assert "lot L1 of AAA, bought on 2026-11-06, settles on 2026-11-09" in remarks[0].message


def test_daily_volatilities_leave_gaps_out():
    closes = market().closes.copy()
    closes[10, 0] = np.nan
    closes[:, 1] = np.nan
    found = daily_volatilities(dataclasses.replace(market(), closes=closes))
    returns = closes[1:, 0] / closes[:-1, 0] - 1.0
    kept = returns[~np.isnan(returns)]
    assert set(found) == {"AAA", "CCC"}
    assert float(found["AAA"]) == pytest.approx(np.sqrt(np.sum((kept - kept.mean()) ** 2) / (len(kept) - 1)))
