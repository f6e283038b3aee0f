"""Over the wire: what becomes of plans and of booked losses when others of the household buy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from portfolio_optimization.v1 import instruments_pb2, portfolio_data_pb2, rebalancing_pb2, taxes_pb2

from tests.integration.server.data_examples import instrument
from tests.integration.server.open_service import copied_database, open_service
from tests.integration.server.test_plan_calls import EXECUTED, EXPIRED, PRICES, Desk, tax_lot, whole

HOME = portfolio_data_pb2.AccountSettings(household_id="home")
IRA = portfolio_data_pb2.AccountSettings(household_id="home", account_type=portfolio_data_pb2.ACCOUNT_TYPE_TAX_DEFERRED)
FREE = rebalancing_pb2.RebalanceConstraints(commission_per_trade_amount="0", market_impact_bps=0.0)


@pytest.fixture(scope="module")
def desk(postgres_server: Any, template_database: str) -> Iterator[Desk]:
    with copied_database(postgres_server, template_database) as url, open_service(url, load_sample=False) as service:
        desk = Desk(service)
        active = instruments_pb2.INSTRUMENT_STATUS_ACTIVE
        names = [instrument(name, lot_size="1", status=active) for name in PRICES]
        desk.call(desk.data, "UpsertInstruments", instruments_pb2.UpsertInstrumentsRequest(instruments=names))
        desk.load(PRICES)
        yield desk


def loss_plan(desk: Desk, portfolio_id: str) -> Any:
    """A plan, submitted and approved, that sells 100 KO at 61 that cost 90."""
    lots = [tax_lot("old", "KO", "100", "90", "2024-01-16")]
    desk.put(
        portfolio_id, account=HOME, lots=lots, holdings=[portfolio_data_pb2.Holding(instrument_id="KO", quantity="100")]
    )
    plan = desk.plan(portfolio_id, custom_target={"XOM": 1.0}, constraints=FREE)
    desk.submit(plan.rebalance_id)
    desk.approve(plan.rebalance_id)
    return plan


def bought_after(desk: Desk, portfolio_id: str) -> taxes_pb2.RecordTransactionsResponse:
    """The shares are bought back on the day of their sale, and this is noted."""
    request = taxes_pb2.ListTransactionsRequest(portfolio_id="seller")
    rows = desk.call(desk.data, "ListTransactions", request).transactions
    sold = next(row for row in rows if row.action == "sell")
    bought = taxes_pb2.PortfolioTransaction(
        transaction_id="back",
        instrument_id="KO",
        action="buy",
        quantity="40",
        price_amount="61",
        traded_on=sold.traded_on,
        lot_id="back",
    )
    request = taxes_pb2.RecordTransactionsRequest(portfolio_id=portfolio_id, transactions=[bought])
    return desk.call(desk.data, "RecordTransactions", request)


def test_a_replacement_put_in_an_ira_ends_an_approved_plan(desk: Desk) -> None:
    desk.put("ira", account=IRA, lots=[], holdings=[])
    plan = loss_plan(desk, "waiting")
    desk.put(
        "ira",
        account=IRA,
        lots=[tax_lot("n", "KO", "100", "60", plan.tax.sale_date)],
        holdings=[portfolio_data_pb2.Holding(instrument_id="KO", quantity="100")],
    )
    workflow = desk.find(plan.rebalance_id).workflow
    assert workflow.status == EXPIRED
    assert "account ira holds 100 of KO bought within the window" in workflow.transitions[-1].comment
    desk.put("ira", account=IRA, lots=[], holdings=[])


def test_a_repurchase_outside_is_answered_and_settled(desk: Desk) -> None:
    plan = loss_plan(desk, "seller")
    assert desk.record(plan.rebalance_id, *whole(plan)).status == EXECUTED
    stored = desk.portfolio("seller")
    assert stored.tax.realized_long_term_amount == "-2900.00"
    answer = bought_after(desk, "seller")
    assert (answer.recorded, list(answer.wash_sales)) == (1, [])
    (match,) = answer.pending_wash_sales
    assert (match.replacement_lot_id, match.portfolio_id, match.quantity) == ("back", "seller", "40")
    assert match.disallowed_loss_amount == "1160.00"
    stored.lots.append(tax_lot("back", "KO", "40", "61", match.acquired_on))
    stored.holdings.add(instrument_id="KO", quantity="40")
    put = desk.call(desk.data, "PutPortfolio", portfolio_data_pb2.PutPortfolioRequest(portfolio=stored)).portfolio
    assert put.tax.realized_long_term_amount == "-1740.00"
    (lot,) = (lot for lot in put.lots if lot.lot_id == "back")
    assert (float(lot.cost_per_share_amount), lot.replaced_loss) == (90.0, True)
    assert lot.held_since == match.holding_period_from
    again = bought_after(desk, "seller")
    assert (again.recorded, list(again.wash_sales), list(again.pending_wash_sales)) == (0, [], [])
