"""What rebalance plans say of taxes, and previews of plans."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from math import sqrt
from typing import Any

import grpc
import numpy as np
import pytest
from data_examples import instrument, price_block, price_header
from portfolio_optimization.v1 import instruments_pb2, rebalancing_calls_pb2, rebalancing_pb2, taxes_pb2
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub
from tax_examples import (
    FIFO,
    HIFO,
    LEAST_TAX,
    LIFO,
    SPECIFIC,
    named,
    put_account,
    sold_by_lot,
    tax_lot,
    total,
)

from kernel.rebalancing.household import Account, Household, RealizedLoss, WashPolicies
from kernel.rebalancing.lots import GainRates, LotMethod
from kernel.rebalancing.tax import TaxRules
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.tax_years import TaxYear
from server.compute.tax_context import TaxContext, Traded
from server.compute.taxed_trades import settle_trades
from server.compute.taxes import TaxAssessment
from server.convert.taxes import write_taxes
from tests.integration.server.open_service import OpenService, copied_database, open_service, violations

Plan = rebalancing_pb2.RebalancePlanResponse
Preview = rebalancing_calls_pb2.PreviewTaxResponse
DAYS = [(date(2026, 1, 5) + timedelta(days=k)).isoformat() for k in range(75)]
# The prices end on Friday, 20 March 2026, so plans are for the Monday after.
TRADED_ON = date(2026, 3, 23)
AAPL, KO, XOM = 100.0, 50.0, 80.0
PRICED = {"wash_sales": rebalancing_pb2.WASH_SALE_HANDLING_PRICE}
NUMBERS = count()
LOTS = (
    tax_lot("old", 60, 40, "2020-01-02"),
    tax_lot("soon", 20, 60, "2025-04-01"),
    tax_lot("loss", 20, 130, "2025-09-01"),
    tax_lot("k", 100, 45, "2021-05-03", instrument_id="KO"),
)

LOSS = taxes_pb2.PortfolioTransaction(
    transaction_id="t",
    instrument_id="AAPL",
    action="sell",
    quantity="10",
    price_amount="90",
    traded_on="2026-03-01",
    acquired_on="2025-08-01",
    gain_amount="-300",
)


def walk(last: float, seed: int) -> list[float]:
    steps = np.random.default_rng(seed).normal(0.0, 0.01, len(DAYS) - 1)
    path = np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    return [round(value, 4) for value in (last * path / path[-1]).tolist()]


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    """The service with three instruments in whole shares, and their prices."""
    with copied_database(postgres_server, template_database) as url, open_service(url, load_sample=False) as service:
        service.run(fill(PortfolioDataServiceStub(service.channel)))
        yield service


async def fill(data: PortfolioDataServiceStub) -> None:
    active = {"status": instruments_pb2.INSTRUMENT_STATUS_ACTIVE, "lot_size": "1"}
    rows = [instrument(name, **active) for name in ("AAPL", "KO", "XOM")]
    await data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=rows))
    closes = price_block(AAPL=walk(AAPL, 1), KO=walk(KO, 2), XOM=walk(XOM, 3))
    await data.LoadPricingPack(iter([price_header(DAYS), closes]))


class Desk:
    """An account of a household of its own, and questions about it."""

    def __init__(self, service: OpenService) -> None:
        self.service = service
        self.data = PortfolioDataServiceStub(service.channel)
        self.taxes = RebalancingServiceStub(service.channel)
        self.name = f"account-{next(NUMBERS)}"

    def hold(self, *lots: pb.TaxLot, ira: bool = False, portfolio_id: str = "") -> None:
        kind = pb.ACCOUNT_TYPE_TAX_DEFERRED if ira else pb.ACCOUNT_TYPE_TAXABLE
        account = pb.AccountSettings(household_id=self.name, account_type=kind)
        self.service.run(put_account(self.data, lots, portfolio_id=portfolio_id or self.name, account=account))

    def plan(self, target: dict[str, float], **constraints: Any) -> Plan:
        costs = {"commission_per_trade_amount": "0", "market_impact_bps": 0.0}
        request = rebalancing_pb2.RebalancePlanRequest(
            portfolio_id=self.name, target_type="custom", custom_target=target, constraints={**costs, **constraints}
        )
        return self.service.call("GenerateRebalancePlan", request)

    def preview(self, plan: Plan, **changes: Any) -> Preview:
        request = rebalancing_calls_pb2.PreviewTaxRequest(**{"rebalance_id": plan.rebalance_id, **changes})
        return self.service.run(self._preview(request))

    async def _preview(self, request: rebalancing_calls_pb2.PreviewTaxRequest) -> Preview:
        return await self.taxes.PreviewTax(request)

    def relate(self, *others: str) -> None:
        self.service.run(
            self._relate(taxes_pb2.SetIdenticalInstrumentsRequest(instrument_id="AAPL", identical_ids=others))
        )

    async def _relate(self, request: taxes_pb2.SetIdenticalInstrumentsRequest) -> None:
        await self.data.SetIdenticalInstruments(request)

    def record(self, row: taxes_pb2.PortfolioTransaction) -> None:
        request = taxes_pb2.RecordTransactionsRequest(portfolio_id=self.name, transactions=[row])
        self.service.run(self.send("RecordTransactions", request))

    def trade_daily(self, name: str, shares: float) -> None:
        """The average daily volume of an instrument; 0 = not known."""
        changes = {"lot_size": "1", "status": instruments_pb2.INSTRUMENT_STATUS_ACTIVE, "average_daily_volume": shares}
        request = instruments_pb2.UpsertInstrumentsRequest(instruments=[instrument(name, **changes)])
        self.service.run(self.send("UpsertInstruments", request))

    async def send(self, method: str, request: Any) -> None:
        await getattr(self.data, method)(request)


@pytest.fixture
def desk(service: OpenService) -> Desk:
    return Desk(service)


def sold(answer: Plan) -> dict[str, Decimal]:
    return {trade.instrument_id: Decimal(trade.exact_quantity) for trade in answer.trades if trade.action == "sell"}


def test_a_plan_says_what_its_sales_cost(desk: Desk) -> None:
    desk.hold(*LOTS)
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6})
    quantity = sold(answer)["AAPL"]
    assert quantity > 60
    assert sum(sold_by_lot(answer.tax).values()) == quantity
    assert sold_by_lot(answer.tax)["old"] == 60
    assert answer.tax == answer.tax_alternatives[0]
    assert [estimate.lot_method for estimate in answer.tax_alternatives] == [FIFO, HIFO]
    assert sold_by_lot(answer.tax_alternatives[1])["loss"] == 20
    for estimate in (answer.tax, *answer.tax_alternatives):
        summary = estimate.summary
        gains = Decimal(summary.short_term_gain_amount) + Decimal(summary.long_term_gain_amount)
        assert gains == total(estimate.sales, "gain_amount")
        assert Decimal(summary.tax_after_amount) - Decimal(summary.tax_before_amount) == Decimal(summary.tax_amount)
    assert answer.metrics.tax_amount == answer.tax.summary.tax_amount
    assert answer.metrics.tax_implications == float(answer.metrics.tax_amount)


def test_a_plan_advises_to_wait(desk: Desk) -> None:
    """Bought on 1 April 2025, the lot is long-term from 2 April 2026: 10 days after the trades."""
    desk.hold(*LOTS)
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6})
    (advice,) = answer.lot_advice
    assert (advice.lot_id, advice.instrument_id, advice.long_term_from) == ("soon", "AAPL", "2026-04-02")
    assert advice.days_to_wait == (date(2026, 4, 2) - TRADED_ON).days
    assert Decimal(advice.tax_saved_amount) == 20 * (100 - 60) * (Decimal("0.408") - Decimal("0.238"))
    assert advice.sold == ("soon" in sold_by_lot(answer.tax))
    closes = np.array(walk(AAPL, 1))
    daily = float(np.std(closes[1:] / closes[:-1] - 1.0, ddof=1))
    rough = 20 * 100 * daily * sqrt(252) * sqrt(advice.days_to_wait / 365)
    assert float(advice.risk_amount) == pytest.approx(rough, rel=0.1)


def test_a_loss_locks_purchases(desk: Desk) -> None:
    desk.hold(LOTS[2], LOTS[3])
    desk.relate("XOM")
    answer = desk.plan({"KO": 0.9})
    desk.relate()
    assert sold(answer) == {"AAPL": 20}
    locks = {lock.instrument_id: (lock.until, lock.loss_at_risk_amount) for lock in answer.purchase_locks}
    until = (TRADED_ON + timedelta(days=31)).isoformat()
    assert locks == {"AAPL": (until, "600.00"), "XOM": (until, "600.00")}


def sliced_ko(desk: Desk, cost: int, acquired: str) -> Plan:
    """A sale of 100 KO, of which 10 are traded in a day."""
    desk.hold(tax_lot("k", 100, cost, acquired, instrument_id="KO"))
    desk.trade_daily("KO", 100.0)
    answer = desk.plan({"XOM": 0.5, "AAPL": 0.4}, max_participation=0.1)
    desk.trade_daily("KO", 0.0)
    return answer


def test_a_loss_sold_in_slices_locks_purchases_from_the_last_one_on(desk: Desk) -> None:
    answer = sliced_ko(desk, 90, "2024-05-03")
    (sale,) = [trade for trade in answer.trades if trade.action == "sell"]
    assert len(sale.slices) == 10
    (lock,) = answer.purchase_locks
    assert lock.until == (date.fromisoformat(sale.slices[-1].date) + timedelta(days=31)).isoformat()
    # 100 * (50 - 90), and what the sale costs.
    assert Decimal(lock.loss_at_risk_amount) == 4000 + Decimal(sale.transaction_cost_amount)


@pytest.mark.parametrize(
    ("acquired", "long_term"), [("2025-03-23", "2026-03-24"), ("2025-03-22", ""), ("2025-06-01", "")]
)
def test_slices_on_both_sides_of_the_long_term_day_are_noted(desk: Desk, acquired: str, long_term: str) -> None:
    """The first slice is on 23 March 2026, the tenth on 6 April."""
    answer = sliced_ko(desk, 20, acquired)
    notes = [note for note in answer.notes if note.code == "sliced_term"]
    assert [note.instrument_id for note in notes] == ["KO"] * bool(long_term)
    assert all(f"lot k is long-term from {long_term}" in note.message for note in notes)


def test_a_loss_of_another_account_that_a_purchase_disallows_is_noted(desk: Desk) -> None:
    """It is in the tax of that account, which may have other rates."""
    desk.hold(tax_lot("k", 200, 45, "2021-05-03", instrument_id="KO"), portfolio_id=f"{desk.name}-own")
    desk.hold(tax_lot("k", 200, 50, "2021-05-03", instrument_id="KO"))
    request = taxes_pb2.RecordTransactionsRequest(portfolio_id=f"{desk.name}-own", transactions=[LOSS])
    desk.service.run(desk.send("RecordTransactions", request))
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6}, **PRICED)
    assert answer.tax.summary.disallowed_loss_amount == "300.00"
    assert Decimal(answer.tax.summary.short_term_gain_amount) == 0
    (note,) = [note for note in answer.notes if note.code == "wash_sale"]
    assert "300.00 of the loss of the sale on 2026-03-01 of AAPL is disallowed" in note.message
    assert f"in portfolio {desk.name}-own" in note.message


def test_a_loss_of_last_year_that_a_purchase_takes_back_is_noted() -> None:
    """The return of that year is to be amended."""
    accounts = (Account("own"),)
    open_loss = RealizedLoss(
        "own", "t", "AAPL", "gone", Decimal(10), Decimal(300), date(2025, 12, 20), date(2025, 1, 2)
    )
    context = TaxContext(
        portfolio_id="own",
        household=Household(accounts, losses=(open_loss,)),
        rules=TaxRuleSet("US", date(1989, 1, 1), 12, 30, Decimal(3000), Decimal(1500)),
        policies=WashPolicies(),
        terms=TaxRules(GainRates(Decimal("0.4"), Decimal("0.2")), Decimal(3000)),
        figures=TaxYear(2026),
        method=LotMethod.FIFO,
        sold_on=date(2026, 1, 5),
    )
    taxed = settle_trades(context, LotMethod.FIFO, {}, [], [Traded("AAPL", Decimal(10), Decimal(50))])
    message = Plan()
    write_taxes(message, TaxAssessment(taxed, ()))
    (note,) = message.notes
    assert "300.00 of the loss of the sale on 2025-12-20 of AAPL is disallowed" in note.message
    assert "the return of 2025 is to be amended" in note.message


def test_a_household_of_two_currencies_is_refused(desk: Desk) -> None:
    desk.hold(*LOTS)
    other = pb.Portfolio(portfolio_id=f"{desk.name}-eur", base_currency="EUR")
    other.account.household_id = desk.name
    desk.service.run(desk.send("PutPortfolio", pb.PutPortfolioRequest(portfolio=other)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        desk.plan({"AAPL": 0.2, "KO": 0.6})
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"portfolio {desk.name} is in USD, portfolio {desk.name}-eur in EUR" in (caught.value.details() or "")


def test_plans_make_no_wash_sale_unless_asked_to(desk: Desk) -> None:
    """A loss lot, and a replacement bought 15 days ago in an IRA: a sale of the lot loses its loss for good."""
    desk.hold(LOTS[2], LOTS[3])
    desk.hold(tax_lot("new", 20, 95, "2026-03-05"), ira=True, portfolio_id=f"{desk.name}-ira")
    avoided = desk.plan({"KO": 0.8})
    assert "AAPL" not in sold(avoided)
    assert Decimal(avoided.tax.summary.disallowed_loss_amount) == 0
    priced = desk.plan({"KO": 0.8}, **PRICED)
    assert sold(priced) == {"AAPL": 20}
    assert priced.tax.summary.lost_loss_amount == "600.00"
    (note,) = [note for note in priced.notes if note.code == "wash_sale"]
    assert "600.00 of the loss of the sale of AAPL is disallowed" in note.message
    assert "retirement account" in note.message


def test_a_purchase_that_takes_an_earlier_loss_back(desk: Desk) -> None:
    desk.hold(tax_lot("k", 200, 45, "2021-05-03", instrument_id="KO"))
    desk.record(LOSS)
    avoided = desk.plan({"AAPL": 0.2, "KO": 0.6})
    assert not [trade for trade in avoided.trades if trade.action == "buy"]
    assert [(lock.instrument_id, lock.until) for lock in avoided.purchase_locks] == [("AAPL", "2026-04-01")]
    priced = desk.plan({"AAPL": 0.2, "KO": 0.6}, **PRICED)
    assert {trade.instrument_id for trade in priced.trades if trade.action == "buy"} == {"AAPL"}
    assert priced.tax.summary.disallowed_loss_amount == "300.00"
    assert priced.tax.summary.short_term_gain_amount == "300.00"


@pytest.mark.parametrize("consider", [False, True])
def test_a_preview_of_a_plan_is_the_plans_own_tax(desk: Desk, *, consider: bool) -> None:
    desk.hold(*LOTS)
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6}, consider_tax_implications=consider)
    again = desk.preview(answer)
    assert again.chosen == answer.tax
    assert list(again.alternatives) == list(answer.tax_alternatives)
    assert (again.portfolio_id, again.pricing_pack_id) == (desk.name, answer.pricing_pack_id)
    for method, expected in ((FIFO, 0), (HIFO, 1)):
        assert desk.preview(answer, lot_method=method).chosen == answer.tax_alternatives[expected]
    others = [desk.preview(answer, lot_method=method) for method in (FIFO, LIFO, HIFO)]
    least = desk.preview(answer, lot_method=LEAST_TAX)
    taxes = [Decimal(other.chosen.summary.tax_amount) for other in others]
    assert Decimal(least.chosen.summary.tax_amount) <= min(taxes)
    if consider:
        # The lots that the search chose are the least tax of the same sales.
        assert Decimal(answer.tax.summary.tax_amount) <= Decimal(least.chosen.summary.tax_amount)


def test_a_preview_of_a_plan_on_another_day_and_in_named_lots(desk: Desk) -> None:
    desk.hold(*LOTS)
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6})
    quantity = sold(answer)["AAPL"]
    lots = [named("soon"), named("loss"), named("old")]
    chosen = {"lot_method": SPECIFIC, "specific_lots": lots}
    now = desk.preview(answer, **chosen)
    later = desk.preview(answer, sale_date="2026-04-02", **chosen)
    assert sold_by_lot(now.chosen) == {"soon": 20, "loss": 20, "old": quantity - 40}
    saved = Decimal(now.chosen.summary.short_term_gain_amount) - Decimal(later.chosen.summary.short_term_gain_amount)
    assert saved == 20 * (100 - 60)


def test_a_preview_of_a_plan_whose_lots_are_gone(desk: Desk) -> None:
    desk.hold(*LOTS)
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6})
    desk.hold(tax_lot("other", 100, 40, "2020-01-02"), LOTS[3])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        desk.preview(answer)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"was made from other lots than portfolio {desk.name} has now" in (caught.value.details() or "")
    again = desk.preview(answer, lot_method=FIFO)
    assert sold_by_lot(again.chosen) == {"other": sold(answer)["AAPL"]}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"portfolio_id": "other"}, ["portfolio_id"]),
        ({"sales": [{"instrument_id": "AAPL", "quantity": "1"}]}, ["sales"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("nowhere")]}, ["specific_lots[0].lot_id"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("k")]}, ["specific_lots[0].lot_id"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("old", 1)]}, ["specific_lots"]),
    ],
)
def test_previews_of_plans_that_cannot_be_asked(desk: Desk, changes: dict[str, Any], fields: list[str]) -> None:
    desk.hold(*LOTS)
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        desk.preview(answer, **changes)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violations(caught.value)) == fields


def test_a_plan_in_a_retirement_account_has_no_tax(desk: Desk) -> None:
    desk.hold(*LOTS, ira=True)
    answer = desk.plan({"AAPL": 0.2, "KO": 0.6}, consider_tax_implications=True)
    assert sold(answer)["AAPL"] > 60
    assert answer.metrics.tax_amount == "0.00"
    assert not answer.lot_advice
    assert not answer.purchase_locks


def test_named_lots_that_are_not_there(desk: Desk) -> None:
    desk.hold(*LOTS)
    for lot in (named("nowhere"), named("old", 61)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            desk.plan({"KO": 0.6}, lot_method=SPECIFIC, specific_lots=[lot])
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert f"specific_lots[{lot.lot_id}]" in (caught.value.details() or "")
