"""The shared known answers about taxes, posed to the service: accounts stored, sales previewed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1 import taxes_pb2, trade_pb2
from tax_examples import (
    FIFO,
    HIFO,
    IRA,
    LEAST_TAX,
    LONG,
    SHORT,
    SPECIFIC,
    TAXABLE,
    Data,
    Rebalancing,
    day_before,
    named,
    preview,
    put_account,
    sale,
    sold_by_lot,
    tax_lot,
    total,
)

from server.application import Application
from storage.records import TaxRule
from storage.tax_rules import TaxRuleRepository
from tests.unit.kernel.rebalancing.golden_cases import load_cases

PERIODS = load_cases("holding_period")
WASH_SALES = load_cases("wash_sale_irs")
NETTING = load_cases("loss_netting")
CHOICES = load_cases("lot_selection")
TERMS = {"short": SHORT, "long": LONG}
ACQUIRED = {"short": "2025-11-03", "long": "2020-01-02"}
ZERO = Decimal(0)


@pytest.fixture
async def accounts(stocked: Data, application: Application) -> Data:
    """The data service, with the rules of sales before those that the service brings along."""
    old = TaxRule(
        jurisdiction="six months",
        valid_from=date(1954, 1, 1),
        long_term_months=6,
        wash_sale_days=30,
        yearly_loss_limit=Decimal(1000),
        separate_loss_limit=Decimal(1000),
        source="26 USC 1222 (1954)",
    )
    async with application.database.transaction() as connection:
        await TaxRuleRepository(connection).put([old])
    return stocked


def settings(sold_on: str, **changes: Any) -> pb.TaxSettings:
    rates = {"short_term_rate": 0.408, "long_term_rate": 0.238}
    old = {"jurisdiction": "six months"} if sold_on < "1989" else {}
    return pb.TaxSettings(**{**rates, **old, **changes})


@pytest.mark.parametrize("case", [case for case, body in PERIODS.items() if "sold" in body["inputs"]])
async def test_holding_periods(accounts: Data, rebalancing: Rebalancing, case: str) -> None:
    inputs, expected = PERIODS[case]["inputs"], PERIODS[case]["expected"]
    await put_account(accounts, [tax_lot("1", 1, 1, inputs["acquired"])], tax=settings(inputs["sold"]))
    answer = await preview(rebalancing, sale(1, 2), sale_date=inputs["sold"])
    term = expected.get("term") or ("long" if expected["more_than_threshold"] else "short")
    assert [lot.term for lot in answer.chosen.sales] == [TERMS[term]]


async def test_the_first_long_term_day(accounts: Data, rebalancing: Rebalancing) -> None:
    inputs, expected = PERIODS["hp-15"]["inputs"], PERIODS["hp-15"]["expected"]
    await put_account(accounts, [tax_lot("1", 1, 1, inputs["acquired"])])
    first = expected["first_long_term_date"]
    answers = [await preview(rebalancing, sale(1, 2), sale_date=day) for day in (day_before(first), first)]
    assert [answer.chosen.sales[0].term for answer in answers] == [SHORT, LONG]


@dataclass
class Lot:
    """A lot of a case, and what the sales before did to it."""

    shares: Decimal
    total_cost: Decimal
    acquired: str
    account: str
    held_since: str = ""
    replaced: bool = False

    def message(self, lot_id: str) -> pb.TaxLot:
        cost = self.total_cost / self.shares
        return tax_lot(
            lot_id, self.shares, cost, self.acquired, held_since=self.held_since, replaced_loss=self.replaced
        )


class Replay:
    """A case's trades one after the other: every sale is previewed with all purchases stored, and then carried out."""

    def __init__(self, case: dict[str, Any], policies: taxes_pb2.WashSalePolicies | None = None) -> None:
        self.trades, self.policies = case["inputs"]["trades"], policies
        self.bought = {trade["lot"]: self.lot(trade) for trade in self.trades if trade["type"] == "buy"}
        self.held = {lot_id: replace(lot) for lot_id, lot in self.bought.items()}
        self.sold: list[trade_pb2.TaxLotSale] = []
        self.summaries: list[trade_pb2.TaxSummary] = []

    @staticmethod
    def lot(trade: dict[str, Any]) -> Lot:
        shares, cost = Decimal(trade["shares"]), Decimal(trade["total_cost"])
        return Lot(shares, cost, trade["date"], trade.get("account", "taxable"))

    async def run(self, data: Data, rebalancing: Rebalancing) -> Replay:
        for trade in self.trades:
            if trade["type"] == "sell":
                await self.store(data, trade["date"])
                await self.sell(rebalancing, trade)
        return self

    async def store(self, data: Data, day: str) -> None:
        for name, kind in (("taxable", TAXABLE), ("ira", IRA)):
            lots = [lot.message(lot_id) for lot_id, lot in self.held.items() if lot.account == name]
            tax = settings(day, wash_sale_policies=self.policies)
            await put_account(data, lots, portfolio_id=name, account=kind, tax=tax)

    async def sell(self, rebalancing: Rebalancing, trade: dict[str, Any]) -> None:
        price = Decimal(trade["total_proceeds"]) / trade["shares"]
        changes: dict[str, Any] = {"portfolio_id": "taxable", "sale_date": trade["date"]}
        if "from_lot" in trade:
            changes |= {"lot_method": SPECIFIC, "specific_lots": [named(trade["from_lot"])]}
        answer = await preview(rebalancing, sale(trade["shares"], price), **changes)
        self.summaries.append(answer.chosen.summary)
        for part in answer.chosen.sales:
            self.sold.append(part)
            self.held[part.lot_id].total_cost -= Decimal(part.cost_amount)
            self.held[part.lot_id].shares -= Decimal(part.quantity)
            for match in part.wash_sales:
                self.replace(match)
        self.held = {lot_id: lot for lot_id, lot in self.held.items() if lot.shares}

    def replace(self, match: trade_pb2.WashSaleMatch) -> None:
        """The part of the lot that replaces is the lot itself in all cases here, or the rest keeps its name."""
        lot = self.held[match.replacement_lot_id.partition("~")[0]]
        if not match.lost:
            lot.total_cost += Decimal(match.disallowed_loss_amount)
            lot.held_since, lot.replaced = match.holding_period_from, True

    def findings(self) -> dict[str, Any]:
        """What the cases speak of, by their names for it."""
        losses = sum((min(Decimal(part.gain_amount), ZERO) for part in self.sold), ZERO)
        gains = sum((max(Decimal(part.gain_amount), ZERO) for part in self.sold), ZERO)
        disallowed = total(self.sold, "disallowed_loss_amount")
        last, (basis, *_) = self.sold[-1], [*(lot.total_cost for lot in self.held.values()), ZERO]
        of_ira = {lot_id: lot for lot_id, lot in self.held.items() if lot.account == "ira"}
        moved = {lot_id: lot.held_since for lot_id, lot in self.held.items() if lot.held_since}
        return {
            "disallowed_loss": disallowed,
            "realized_loss": -losses,
            "allowed_loss": -losses - disallowed,
            "recognized_gain": gains,
            "net_recognized": sum(
                (Decimal(s.short_term_gain_amount) + Decimal(s.long_term_gain_amount) for s in self.summaries), ZERO
            ),
            "basis": {lot_id: lot.total_cost for lot_id, lot in self.held.items() if lot_id != "A"},
            "remaining_basis": basis,
            "basis_per_share": basis / self.held["B"].shares if "B" in self.held else None,
            "permanently_lost": total(self.sold, "lost_loss_amount"),
            "basis_increase_in_ira": sum(
                (lot.total_cost - self.bought[k].total_cost for k, lot in of_ira.items()), ZERO
            ),
            "effective_acquired": moved,
            "term_of_final_sale": {SHORT: "short", LONG: "long"}[last.term],
            "final_gain": Decimal(last.gain_amount),
        }


def agrees(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        assert found[name] == value, name


PLAIN = [case for case, body in WASH_SALES.items() if not any(key.startswith("policy") for key in body["expected"])]


@pytest.mark.parametrize("case", PLAIN)
async def test_wash_sales(accounts: Data, rebalancing: Rebalancing, case: str) -> None:
    replay = await Replay(WASH_SALES[case]).run(accounts, rebalancing)
    found, expected = replay.findings(), dict(WASH_SALES[case]["expected"])
    if case == "ws-tack":
        (match,) = replay.sold[0].wash_sales
        moved = date.fromisoformat(match.acquired_on) - date.fromisoformat(match.holding_period_from)
        found["days_tacked"] = moved.days
        found["effective_acquired"] = {match.replacement_lot_id: match.holding_period_from}
    found["basis"] = {lot_id: found["basis"].get(lot_id) for lot_id in expected.get("basis", ())}
    agrees(found, expected)


@pytest.mark.parametrize(
    ("reading", "name"),
    [
        (taxes_pb2.WashSalePolicies.SAME_PURCHASE_EXEMPT, "policy_single_purchase_is_not_its_own_replacement"),
        (taxes_pb2.WashSalePolicies.SAME_PURCHASE_UNSPECIFIED, "policy_single_purchase_is_not_its_own_replacement"),
        (taxes_pb2.WashSalePolicies.SAME_PURCHASE_LITERAL, "policy_literal"),
    ],
)
async def test_readings_of_one_purchase(
    accounts: Data, rebalancing: Rebalancing, reading: taxes_pb2.WashSalePolicies.SamePurchase.ValueType, name: str
) -> None:
    policies = taxes_pb2.WashSalePolicies(same_purchase=reading)
    replay = await Replay(WASH_SALES["ws-half"], policies).run(accounts, rebalancing)
    agrees(replay.findings(), WASH_SALES["ws-half"]["expected"][name])


def lots_of(**gains: object) -> list[pb.TaxLot]:
    """A lot of 100 shares for each gain that is not zero, at a price of 1000; names begin with the term."""
    amounts = {name: Decimal(str(gain)) for name, gain in gains.items()}
    return [
        tax_lot(name, 100, 1000 - gain / 100, ACQUIRED["short" if name.startswith("st") else "long"])
        for name, gain in amounts.items()
        if gain
    ]


def posed(inputs: dict[str, Any]) -> tuple[list[pb.TaxLot], pb.TaxSettings]:
    lots = lots_of(
        st_gain=inputs.get("st_gain", 0),
        st_loss=-inputs.get("st_loss", inputs.get("harvest_st_loss", 0)),
        lt_gain=inputs.get("lt_gain", 0),
        lt_loss=-inputs.get("lt_loss", 0),
        st_net=inputs.get("st_net", 0),
        lt_net=inputs.get("lt_net", 0),
    )
    tax = pb.TaxSettings(
        short_term_rate=float(inputs.get("rate_st", "0.37")),
        long_term_rate=float(inputs.get("rate_lt", "0.2")),
        yearly_loss_limit_amount=str(inputs.get("limit", "0")),
        realized_short_term_amount=str(inputs.get("ytd_st_net", "")),
        realized_long_term_amount=str(inputs.get("ytd_lt_net", "")),
        ordinary_rate=float(inputs["ordinary_rate"]) if "ordinary_rate" in inputs else None,
    )
    return lots, tax


@pytest.mark.parametrize("case", NETTING)
async def test_netting(accounts: Data, rebalancing: Rebalancing, case: str) -> None:
    lots, tax = posed(NETTING[case]["inputs"])
    await put_account(accounts, lots, tax=tax)
    answer = await preview(rebalancing, sale(100 * len(lots), 1000))
    summary = answer.chosen.summary
    short, long = Decimal(summary.short_term_gain_amount), Decimal(summary.long_term_gain_amount)
    found = {
        "net": short + long,
        "deduction": Decimal(summary.deducted_loss_amount),
        "carryover_total": Decimal(summary.carried_loss_amount),
        "carry_short": Decimal(summary.carried_short_term_loss_amount),
        "carry_long": Decimal(summary.carried_long_term_loss_amount),
        "tax": Decimal(summary.tax_amount),
        "tax_saved": -Decimal(summary.tax_amount),
        "tax_saved_this_year": -Decimal(summary.tax_amount),
    }
    expected, tolerance = NETTING[case]["expected"], NETTING[case]["tolerance"]
    compared = {name: value for name, value in expected.items() if name in found}
    assert compared
    for name, value in compared.items():
        assert abs(found[name] - value) <= tolerance, name
    assert Decimal(summary.tax_after_amount) - Decimal(summary.tax_before_amount) == found["tax"]


def choice_lots(inputs: dict[str, Any]) -> list[pb.TaxLot]:
    acquired = {"short": "2025-12-01", "long": "2020-01-02"}
    return [
        tax_lot(lot["lot"], lot["shares"], lot["unit_cost"], lot.get("acquired") or acquired[lot["term"]])
        for lot in inputs["lots"]
    ]


@pytest.mark.parametrize("case", ["lot-01", "lot-02", "lot-03", "lot-05"])
async def test_choices_of_lots(accounts: Data, rebalancing: Rebalancing, case: str) -> None:
    inputs, expected = CHOICES[case]["inputs"], CHOICES[case]["expected"]
    await put_account(accounts, choice_lots(inputs))
    method = {"FIFO": FIFO, "HIFO": HIFO, "SPECIFIC": SPECIFIC}[inputs["method"]]
    specific = [named(inputs["lot"])] if method == SPECIFIC else []
    answer = await preview(
        rebalancing, sale(inputs["sell_shares"], inputs["price"]), lot_method=method, specific_lots=specific
    )
    assert total(answer.chosen.sales, "gain_amount") == expected["gain"]
    assert sold_by_lot(answer.chosen) == expected.get("sold", {inputs.get("lot"): inputs["sell_shares"]})


@pytest.mark.parametrize(("name", "method"), [("HIFO", HIFO), ("MIN_TAX", LEAST_TAX)])
async def test_the_highest_cost_is_not_the_least_tax(
    accounts: Data, rebalancing: Rebalancing, name: str, method: trade_pb2.LotMethod.ValueType
) -> None:
    inputs, expected = CHOICES["lot-04"]["inputs"], CHOICES["lot-04"]["expected"][name]
    rates = pb.TaxSettings(short_term_rate=float(inputs["rate_st"]), long_term_rate=float(inputs["rate_lt"]))
    await put_account(accounts, choice_lots(inputs), tax=rates)
    answer = await preview(rebalancing, sale(inputs["sell_shares"], inputs["price"]), lot_method=method)
    assert sold_by_lot(answer.chosen) == expected["sold"]
    assert Decimal(answer.chosen.summary.tax_amount) == expected["tax"]


async def test_a_loss_inside_the_window(accounts: Data, rebalancing: Rebalancing) -> None:
    inputs, expected = CHOICES["lot-09"]["inputs"], CHOICES["lot-09"]["expected"]
    await put_account(accounts, choice_lots(inputs))
    asked = {"lot_method": SPECIFIC, "specific_lots": [named("old")], "sale_date": inputs["today"]}
    answer = await preview(rebalancing, sale(inputs["sell_shares"], inputs["price"]), **asked)
    (part,) = answer.chosen.sales
    disallowed = Decimal(part.disallowed_loss_amount)
    (match,) = part.wash_sales
    assert (-Decimal(part.gain_amount), disallowed) == (expected["realized_loss"], expected["disallowed"])
    assert -Decimal(answer.chosen.summary.short_term_gain_amount) == expected["allowed"]
    assert 40 * 98 + Decimal(match.disallowed_loss_amount) == expected["new_lot_basis"]
    assert match.replacement_lot_id == "new"
    # Selling both lots leaves no replacement and allows the whole loss.
    both = await preview(rebalancing, sale(140, inputs["price"]), sale_date=inputs["today"])
    assert total(both.chosen.sales, "disallowed_loss_amount") == 0
