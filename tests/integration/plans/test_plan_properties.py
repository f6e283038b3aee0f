"""Any sequence of plans, fills, rejections and repetitions: the books agree with a replay of another kind."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from plan_examples import (
    CANCELLED,
    FILLED,
    REJECTED,
    Clock,
    Order,
    approved,
    ended,
    find_portfolio,
    lot,
    portfolio,
    propose,
    report,
    reports,
    store_portfolio,
)
from portfolio_optimization.v1 import plan_workflow_pb2 as pb

from server.errors import InvalidRequest
from server.plans.positions import Position, position_of, replay
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.errors import Conflict
from storage.plans import PlanRepository
from storage.records import Portfolio

LONG, SHORT = date(2022, 1, 3), date(2026, 5, 4)
OPEN = pb.REBALANCE_PLAN_STATUS_APPROVED


def cents(amount: Fraction) -> int:
    """Whole cents, halves away from zero."""
    sign = -1 if amount < 0 else 1
    return sign * int((abs(amount) * 200 + 1) // 2)


def exact(text: str | Decimal) -> Fraction:
    return Fraction(Decimal(text))


@dataclass
class Shares:
    """Shares of one purchase in the replay: what is left, and what they cost each."""

    name: str
    instrument: str
    left: Fraction
    cost: Fraction
    long_term: bool


@dataclass
class Books:
    """A replay that knows neither the service's ledger nor its lots: fractions, whole cents, one sale after another."""

    cash: int
    lots: list[Shares]
    held: dict[str, Fraction]
    gains: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})

    @classmethod
    def of(cls, stored: Portfolio) -> Books:
        lots = [
            Shares(
                each.id,
                each.instrument_id,
                Fraction(each.quantity),
                Fraction(each.cost_per_share or 0),
                each.acquired_on == LONG,
            )
            for each in stored.lots
        ]
        held = {each.instrument_id: Fraction(each.quantity) for each in stored.holdings}
        return cls(cents(Fraction(stored.cash)), lots, held)

    def buy(self, order: Order, item: pb.ExecutionReport) -> None:
        """Shares for money; their own lots are left out, as no plan sells them."""
        quantity = exact(item.quantity)
        self.cash -= cents(quantity * exact(item.price_amount)) + cents(exact(item.cost_amount))
        self.held[order.instrument_id] = self.held.get(order.instrument_id, Fraction(0)) + quantity

    def sell(self, order: Order, item: pb.ExecutionReport, chosen: list[tuple[str, Fraction]]) -> None:
        """At most so much of the chosen lots, the rest by age.

        Proceeds go to the lots in proportion, rounded as running totals; a part costs what the lot has lost by it.
        """
        quantity, cost = exact(item.quantity), cents(exact(item.cost_amount))
        value = cents(quantity * exact(item.price_amount))
        self.cash += value - cost
        self.held[order.instrument_id] -= quantity
        own = {each.name: each for each in self.lots if each.instrument == order.instrument_id}
        oldest = sorted(own, key=lambda name: (not own[name].long_term, name))
        gone, paid, net = Fraction(0), 0, max(value - cost, 0)
        for name, part in self._parts(quantity, chosen, [own[name] for name in oldest]).items():
            each = own[name]
            cost_of_part = cents(each.left * each.cost) - cents((each.left - part) * each.cost)
            each.left -= part
            gone += part
            upto = cents(Fraction(net, 100) * gone / quantity)
            self.gains[each.long_term] += upto - paid - cost_of_part
            paid = upto
        assert gone == quantity

    @staticmethod
    def _parts(quantity: Fraction, chosen: list[tuple[str, Fraction]], oldest: list[Shares]) -> dict[str, Fraction]:
        parts: dict[str, Fraction] = {}
        for name, most in chosen:
            parts[name] = min(most, quantity)
            quantity -= parts[name]
        for each in oldest:
            part = min(each.left - parts.get(each.name, Fraction(0)), quantity)
            parts[each.name] = parts.get(each.name, Fraction(0)) + part
            quantity -= part
        return {name: part for name, part in parts.items() if part}

    def check(self, stored: Portfolio, initial: Iterable[str]) -> None:
        assert cents(Fraction(stored.cash)) == self.cash
        assert {each.instrument_id: Fraction(each.quantity) for each in stored.holdings} == {
            name: held for name, held in self.held.items() if held
        }
        names = set(initial)
        assert {each.id: Fraction(each.quantity) for each in stored.lots if each.id in names} == {
            each.name: each.left for each in self.lots if each.left
        }
        tax = stored.account.get("tax", {})
        found = {
            term: cents(exact(tax.get(f"realized_{word}_term_amount", "0")))
            for term, word in ((True, "long"), (False, "short"))
        }
        assert found == self.gains


def random_portfolio(chance: random.Random) -> Portfolio:
    lots = [
        lot(
            f"{name}{k}",
            name,
            f"{chance.randint(1, 4000) / 10}",
            chance.choice((LONG, SHORT)),
            f"{chance.randint(1, 30_000_000) / 100_000}",
        )
        for name in ("XOM", "KO")
        for k in range(5)
    ]
    return portfolio(lots=tuple(lots), cash=Decimal(chance.randint(-5000, 50_000)) / 100)


def random_orders(chance: random.Random, books: Books) -> list[Order]:
    """Sales of some lots of both instruments, and a purchase of a third: no wash sales."""
    orders = [Order("buy", "PEP", f"{chance.randint(1, 900) / 10}")]
    for name in ("XOM", "KO"):
        lots = [each for each in books.lots if each.instrument == name and each.left]
        chosen = chance.sample(lots, chance.randint(0, min(3, len(lots))))
        parts = [(each.name, Decimal(chance.randint(1, int(each.left * 10))) / 10) for each in chosen]
        if parts:
            total = sum(quantity for _, quantity in parts)
            # Of some sales the plan names only a part of the lots.
            named = parts[: chance.randint(0, len(parts))]
            orders.append(Order("sell", name, f"{total}", tuple((lot_id, f"{part}") for lot_id, part in named)))
    return orders


def choice_left(order: Order, sold: Fraction) -> list[tuple[str, Fraction]]:
    """The plan's lots, without what went with earlier fills."""
    found = []
    for name, quantity in order.lots:
        gone = min(sold, exact(quantity))
        sold -= gone
        if exact(quantity) > gone:
            found.append((name, exact(quantity) - gone))
    return found


class Chaos:
    """One plan after another, executed in every order of things that can happen."""

    def __init__(self, seed: int, plans: PlanWorkflow, database: Database, books: Books) -> None:
        self.chance, self.plans, self.database, self.books = random.Random(seed), plans, database, books
        self.done = {"fills": 0, "refused": 0, "repeated": 0}

    async def plan(self) -> None:
        """From proposal to its end."""
        orders = random_orders(self.chance, self.books)
        plan = await propose(self.database, orders)
        await approved(self.plans, plan)
        filled = {order: Fraction(0) for order in orders}
        open_orders, sent, number = set(orders), [], 0
        while open_orders and self.chance.random() > 0.02:
            order = self.chance.choice([each for each in orders if each in open_orders])
            number += 1
            left = exact(order.quantity) - filled[order]
            match self.chance.choice(("fill", "fill", "fill", "rest", "end", "too much", "again")):
                case "end" if self.chance.random() < 0.3:
                    status = self.chance.choice((REJECTED, CANCELLED))
                    await self.send(plan, ended(f"{number}", order, status))
                    open_orders.discard(order)
                case "too much":
                    item = self.item(number, order, left + Fraction(1, 10))
                    with pytest.raises(InvalidRequest, match="is more than is left"):
                        await self.send(plan, item)
                    self.done["refused"] += 1
                case "again" if sent:
                    await self.send(plan, self.chance.choice(sent))
                    self.done["repeated"] += 1
                case kind:
                    part = left if kind == "rest" else Fraction(self.chance.randint(1, int(left * 10)), 10)
                    item = self.item(number, order, part)
                    if part == left:
                        item.status = FILLED
                        open_orders.discard(order)
                    await self.send(plan, item)
                    self.fill(order, item, filled[order])
                    filled[order] += part
                    sent.append(item)
        if open_orders:
            await self.plans.cancel(plan, "enough", "boss")
            with pytest.raises(Conflict):
                await self.send(plan, self.item(number + 1, next(iter(open_orders)), Fraction(1, 10)))

    def item(self, number: int, order: Order, quantity: Fraction) -> pb.ExecutionReport:
        price, cost = self.chance.randint(5000, 20_000_000) / 100_000, self.chance.randint(0, 999) / 100
        text = f"{Decimal(quantity.numerator) / quantity.denominator}"
        return report(f"{number}", order, text, price_amount=f"{price}", cost_amount=f"{cost}")

    async def send(self, plan: str, item: pb.ExecutionReport) -> None:
        await self.plans.record(reports(plan, item), "oms")

    def fill(self, order: Order, item: pb.ExecutionReport, before: Fraction) -> None:
        self.done["fills"] += 1
        if order.action == "buy":
            self.books.buy(order, item)
        else:
            self.books.sell(order, item, choice_left(order, before))


@pytest.mark.parametrize("seed", range(6))
async def test_books_agree_with_an_independent_replay(plans: PlanWorkflow, database: Database, seed: int) -> None:
    start = random_portfolio(random.Random(seed))
    await store_portfolio(database, start)
    books = Books.of(start)
    chaos = Chaos(seed, plans, database, books)
    for _ in range(4):
        await chaos.plan()
        books.check(await find_portfolio(database), [each.id for each in start.lots])
    assert chaos.done["fills"] > 0


def basis(stored: Portfolio) -> Decimal:
    """Cost of all lots, each to the cent."""
    cent = Decimal("0.01")
    return sum(
        ((each.quantity * (each.cost_per_share or 0)).quantize(cent, ROUND_HALF_UP) for each in stored.lots), Decimal(0)
    )


@pytest.mark.parametrize("seed", range(6))
async def test_gains_and_bases_add_up_to_the_money_earned_with_wash_sales(
    plans: PlanWorkflow, database: Database, clock: Clock, seed: int
) -> None:
    # What is recognised is the change of cash and of the cost of lots, into which disallowed losses move.
    chance = random.Random(seed)
    start = random_portfolio(chance)
    await store_portfolio(database, start)
    executions = []
    for k in range(6):
        held = await find_portfolio(database)
        sold = chance.choice(("XOM", "KO"))
        quantity = min(int(10 * position_of(held).quantities.get(sold, Decimal(0))), 500)
        orders = [Order("buy", chance.choice(("XOM", "KO")), f"{chance.randint(1, 300) / 10}")]
        if quantity and orders[0].instrument_id != sold:
            orders.append(Order("sell", sold, f"{chance.randint(1, quantity) / 10}"))
        plan = await propose(database, orders, at=clock.now)
        await approved(plans, plan)
        for order in orders:
            price = chance.randint(5_000_000, 20_000_000) / 100_000
            parts = [Decimal(order.quantity) / 2] * 2
            for n, part in enumerate(parts):
                item = report(f"{order.action}{n}", order, f"{part}", price_amount=f"{price}", cost_amount="0.37")
                item.ClearField("executed_at")
                await plans.record(reports(plan, item), "oms")
        async with database.transaction() as connection:
            executions += await PlanRepository(connection).executions(plan)
        clock.forward(days=chance.randint(0, 9), minutes=k)
    stored = await find_portfolio(database)
    tax = stored.account.get("tax", {})
    recognised = sum(Decimal(tax.get(f"realized_{word}_term_amount", "0")) for word in ("short", "long"))
    assert recognised == stored.cash - start.cash + basis(stored) - basis(start)
    check_lots(stored)
    before = Position({each.instrument_id: each.quantity for each in start.holdings}, start.cash)
    assert replay(before, executions) == position_of(stored)


def check_lots(stored: Portfolio) -> None:
    """Lots are above zero and add up to what is held."""
    assert all(each.quantity > 0 for each in stored.lots)
    for holding in stored.holdings:
        own = [each.quantity for each in stored.lots if each.instrument_id == holding.instrument_id]
        assert sum(own) == holding.quantity


async def test_the_wash_sale_rule_is_met_by_such_trades(plans: PlanWorkflow, database: Database) -> None:
    # The property above would say little if no loss were ever disallowed.
    await store_portfolio(database, random_portfolio(random.Random(0)))
    for order in (Order("sell", "XOM", "1"), Order("buy", "XOM", "1")):
        plan = await propose(database, [order])
        await approved(plans, plan)
        await plans.record(reports(plan, report("1", order, price_amount="0.01", cost_amount="0")), "oms")
    assert any(each.replaced_loss for each in (await find_portfolio(database)).lots)
